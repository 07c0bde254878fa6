//! Running futures without a runtime: nothing here waits for anything but its turn.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Random numbers that a seed repeats (splitmix64).
#[derive(Clone, Copy, Debug)]
pub struct Rng(pub u64);

impl Rng {
    /// The next number.
    pub fn any(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number less than `n`, or 0.
    pub fn below(&mut self, n: usize) -> usize {
        let n = u64::try_from(n).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.any() % n).unwrap_or(0)
    }
}

/// Notes that its future can go on.
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs one future to its end; `None` when it never goes on, because its process died.
pub fn drive<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let woken = Arc::new(Woken(AtomicBool::new(true)));
    let waker = Waker::from(Arc::clone(&woken));
    while woken.0.swap(false, Ordering::Relaxed) {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(output);
        }
    }
    None
}

/// Runs futures side by side, in an order that `seed` decides; `None` for those whose process died.
#[must_use]
pub fn interleave<T>(
    seed: u64,
    futures: Vec<Pin<Box<dyn Future<Output = T> + '_>>>,
) -> Vec<Option<T>> {
    let mut rng = Rng(seed);
    let mut outputs: Vec<Option<T>> = futures.iter().map(|_| None).collect();
    let mut running: Vec<_> = futures.into_iter().enumerate().collect();
    let woken = Arc::new(Woken(AtomicBool::new(false)));
    let waker = Waker::from(Arc::clone(&woken));
    while !running.is_empty() {
        let (index, mut future) = running.swap_remove(rng.below(running.len()));
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => {
                if let Some(place) = outputs.get_mut(index) {
                    *place = Some(output);
                }
            }
            Poll::Pending if woken.0.swap(false, Ordering::Relaxed) => {
                running.push((index, future));
            }
            Poll::Pending => {} // it died
        }
    }
    outputs
}

/// Lets the others go first, so many times.
pub(crate) async fn turns(n: usize) {
    let mut left = n;
    std::future::poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
