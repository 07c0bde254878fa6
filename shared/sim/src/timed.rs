//! Runs in the world's own time: calls side by side take so long, and what EC2 throttles is sent again as the SDK does
//! it. Elsewhere no time passes in a run but for its pauses, and a throttled call is refused at once.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use jiff::{SignedDuration, Timestamp};
use snapferry_core::ids::Scope;

use crate::world::Sim;

/// How often the functions send a call at the most (`retries` in `shared/aws`).
const ATTEMPTS: u32 = 5;

#[derive(Default)]
pub(crate) struct Clock {
    latency: SignedDuration,
    sleepers: BTreeMap<(Timestamp, u64), Waker>,
    n_sleepers: u64,
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Sim {
    /// From now on every call takes so long, and [`drive_timed`] has to be used.
    pub fn calls_take(&self, latency: SignedDuration) {
        self.world().clock = Some(Clock { latency, ..Clock::default() });
    }

    pub(crate) async fn sleep(&self, by: SignedDuration) {
        let until = self.world().after(by);
        let mut number = None;
        std::future::poll_fn(|context| {
            let mut world = self.world();
            if world.now >= until {
                return Poll::Ready(());
            }
            if let Some(clock) = &mut world.clock {
                let number = *number.get_or_insert(clock.n_sleepers);
                clock.n_sleepers = clock.n_sleepers.max(number + 1);
                clock.sleepers.insert((until, number), context.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    /// The way of a call to AWS: whether EC2 takes it in the end. `None`: time does not count.
    pub(crate) async fn is_taken(&self, scope: &Scope, operation: &'static str) -> Option<bool> {
        let latency = self.world().clock.as_ref()?.latency;
        for attempt in 0..ATTEMPTS {
            self.sleep(latency).await;
            let longest = i64::from(1_000_u32 << attempt);
            let wait = {
                let mut world = self.world();
                let is_taken = world.has_token(scope, operation);
                let wait = world.rng.below(usize::try_from(longest).unwrap_or(0));
                if is_taken || attempt + 1 == ATTEMPTS {
                    return Some(is_taken);
                }
                i64::try_from(wait).unwrap_or(0)
            };
            self.sleep(SignedDuration::from_millis(wait)).await;
        }
        Some(false)
    }
}

/// Runs one future to its end; whenever it waits, the clock is moved on to what it waits for.
pub fn drive_timed<F: Future>(sim: &Sim, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let woken = Arc::new(Woken(AtomicBool::new(true)));
    let waker = Waker::from(Arc::clone(&woken));
    loop {
        while woken.0.swap(false, Ordering::Relaxed) {
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return Some(output);
            }
        }
        let mut world = sim.world();
        let ((at, _), next) = world.clock.as_mut()?.sleepers.pop_first()?;
        world.pass_until(at);
        drop(world);
        next.wake();
    }
}
