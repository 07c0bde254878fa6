//! So many inputs for a target, the same in every run.

use std::panic::{self, AssertUnwindSafe};

use crate::literal::escaped;
use crate::mutate::Mutator;
use crate::{Target, Verdict};

/// What a run came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Inputs that were taken.
    pub accepted: u32,
    /// Inputs that were refused.
    pub refused: u32,
}

impl Tally {
    /// All inputs.
    #[must_use]
    pub fn executions(&self) -> u32 {
        self.accepted + self.refused
    }
}

/// Tries every seed, and mutations of them up to so many inputs. `Err` has the first input that broke a rule.
///
/// # Errors
/// How to try that input again.
pub fn run(target: &Target, executions: u32, seed: u64) -> Result<Tally, String> {
    let seeds = (target.seeds)();
    let mut mutator = Mutator::new(seeds.clone(), seed);
    let mut tally = Tally::default();
    let mut seeds = seeds.into_iter();
    while tally.executions() < executions {
        let input = seeds.next().unwrap_or_else(|| mutator.next_input());
        let tried = panic::catch_unwind(AssertUnwindSafe(|| (target.run)(&input)));
        match tried {
            Ok(Verdict::Accepted) => {
                tally.accepted += 1;
                mutator.keep(input);
            }
            Ok(Verdict::Refused) => tally.refused += 1,
            Err(_) => return Err(failed(target, &input)),
        }
    }
    Ok(tally)
}

/// The literal, and the command that tries it again.
fn failed(target: &Target, input: &[u8]) -> String {
    let (name, text) = (target.name, escaped(input));
    format!("{name} failed on b\"{text}\"\ncargo run -p snapferry-fuzz -- {name} '{text}'")
}

/// A line for people.
#[must_use]
pub fn line(target: &Target, tally: Tally) -> String {
    let Tally { accepted, refused } = tally;
    let n = tally.executions();
    format!("{:<12} {n:>8} executions, {accepted:>8} accepted, {refused:>8} refused", target.name)
}
