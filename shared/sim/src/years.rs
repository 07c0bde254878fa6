//! Years under faults: stories of months, each from a seed, in which everything that can go wrong does. While it does,
//! nothing is deleted that should stay; when it ends, everything is there that should be, once; and a world at rest gets
//! no more calls. Who says what should be is a judge that shares nothing with the planner.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use jiff::SignedDuration;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use play::Play;
use story::Story;
pub use tally::Tally;

mod judge;
mod places;
mod play;
mod rest;
mod stage;
mod story;
mod tally;
mod telling;
mod weather;
#[expect(clippy::indexing_slicing, reason = "JSON objects that are written down beside it")]
mod wishes;

/// How many replays shortening a story may take.
const REPLAYS: usize = 200;

/// A seed whose story ended badly.
#[derive(Clone, Debug)]
pub struct Failed {
    /// Which.
    pub seed: u64,
    /// What was wrong.
    pub why: String,
}

/// Plays the story of a seed, of about so many days.
///
/// # Errors
/// What was wrong.
pub fn play(seed: u64, days: i64) -> Result<Tally, Failed> {
    tell(&tree(seed, days).current()).map_err(|why| Failed { seed, why })
}

/// A shorter story that ends badly too, and how.
#[must_use]
pub fn shorten(seed: u64, days: i64) -> String {
    let mut story = tree(seed, days).current();
    let Err(mut why) = tell(&story) else {
        return format!("seed {seed} ends well");
    };
    let mut replays = REPLAYS;
    let mut at_once = story.events.len();
    while at_once > 0 && replays > 0 {
        let mut from = 0;
        while from < story.events.len() && replays > 0 {
            replays -= 1;
            let shorter = story.without(from, at_once);
            match tell(&shorter) {
                Err(now) => (why, story) = (now, shorter),
                Ok(_) => from += at_once,
            }
        }
        at_once /= 2;
    }
    format!("seed {seed}: {why}\n\n{story}")
}

fn tree(seed: u64, days: i64) -> impl ValueTree<Value = Story> {
    let mut bytes = [0_u8; 32];
    for (at, byte) in bytes.iter_mut().zip(seed.to_le_bytes().into_iter().cycle()) {
        *at = byte;
    }
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    #[expect(clippy::expect_used, reason = "no strategy of ours rejects anything")]
    story::story(seed, days).new_tree(&mut runner).expect("a story")
}

/// A panic is a bad end as well.
fn tell(story: &Story) -> Result<Tally, String> {
    catch_unwind(AssertUnwindSafe(|| to_its_end(story))).unwrap_or_else(|panic| Err(said(&*panic)))
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    format!("panicked: {}", text.unwrap_or("no message"))
}

fn to_its_end(story: &Story) -> Result<Tally, String> {
    let mut play = Play::begin(story);
    let begun = play.sim.now();
    let at = |play: &Play<'_>, why: String| format!("{} {why}", play.sim.now());
    for (hours, event) in &story.events {
        let until = play.sim.now() + SignedDuration::from_hours(*hours);
        play.live_until(until).map_err(|why| at(&play, why))?;
        play.happens(event).map_err(|why| at(&play, why))?;
    }
    play.calm().map_err(|why| at(&play, why))?;
    let hours = play.sim.now().duration_since(begun).as_hours();
    Ok(Tally { stories: 1, hours: hours.unsigned_abs(), ..play.tally })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_one_story() {
        for seed in [1, 2, 3] {
            let [first, again] = [0; 2].map(|_| play(seed, 6).unwrap());
            assert_eq!(first, again);
            assert_eq!((first.stories, first.rests > 0), (1, true));
            assert!(first.runs > 50 && first.snapshots > 0 && first.hours > 34, "{first}");
        }
        assert_ne!(play(1, 6).unwrap(), play(2, 6).unwrap());
    }

    #[test]
    fn a_story_can_be_cut_and_what_is_left_happens_when_it_did() {
        let story = tree(5, 20).current();
        let when = |story: &Story| -> Vec<i64> {
            let hours = story.events.iter().map(|(hours, _)| *hours);
            hours
                .scan(0, |sum, hours| {
                    *sum += hours;
                    Some(*sum)
                })
                .collect()
        };
        let (all, cut) = (when(&story), when(&story.without(1, 3)));
        assert_eq!(cut[0], all[0]);
        assert_eq!(cut[1..], all[4..]);
    }

    #[test]
    fn a_panic_is_a_bad_end() {
        assert_eq!(said(&String::from("so")), "panicked: so");
        assert_eq!(said(&"so"), "panicked: so");
    }
}
