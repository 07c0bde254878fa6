//! The whole decision: policies and a world made of bytes, the plan, and the audit of it.
//!
//! Every choice takes some bytes, so that an input is a world, and a mutation of it another one much like it. What
//! [`rules`] asks of a plan is written without any of the planner's or the auditor's code.

use arbitrary::Unstructured;

use crate::Verdict;

mod copying;
mod documents;
mod rotation;
mod rules;
mod snapshots;

/// What the rest of the input says.
#[derive(Debug)]
pub struct Choices<'a>(Unstructured<'a>);

impl<'a> Choices<'a> {
    /// All of an input.
    #[must_use]
    pub fn new(data: &'a [u8]) -> Self {
        Self(Unstructured::new(data))
    }

    /// 0 to `n`; 0 at the input's end.
    pub fn upto(&mut self, n: i64) -> i64 {
        self.0.int_in_range(0..=n).unwrap_or(0)
    }

    /// Once in `n` times; never at the input's end.
    pub fn once_in(&mut self, n: i64) -> bool {
        self.upto(n - 1) == n - 1 && n > 0
    }

    /// One of these, which are some; the first at the input's end.
    pub fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        *self.0.choose(items).unwrap_or(items.first().expect("something to choose"))
    }

    /// Short text of any characters.
    pub fn text(&mut self) -> String {
        let n = usize::try_from(self.upto(12)).unwrap_or(0);
        let bytes = self.0.bytes(n.min(self.0.len())).unwrap_or_default();
        String::from_utf8_lossy(bytes).into_owned()
    }

    /// As many as come to mind, `max` at the most.
    pub fn many<T>(&mut self, max: i64, mut one: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let n = self.upto(max);
        (0..n).map(|_| one(self)).collect()
    }
}

/// What `rotate-snapshots` decides in one account and Region.
pub fn rotation(data: &[u8]) -> Verdict {
    rotation::run(&mut Choices::new(data))
}

/// What `copy-shared-snapshots` decides in the vault.
pub fn vault(data: &[u8]) -> Verdict {
    copying::run(&mut Choices::new(data), false)
}

/// What `rotate-snapshots` decides about copies within an account.
pub fn within(data: &[u8]) -> Verdict {
    copying::run(&mut Choices::new(data), true)
}
