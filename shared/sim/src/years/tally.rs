//! What was played, added up.

use std::collections::BTreeMap;
use std::fmt;

/// Of one story, or of many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Stories.
    pub stories: usize,
    /// Simulated hours.
    pub hours: u64,
    /// Invocations, those that died included.
    pub runs: usize,
    /// Calls of AWS.
    pub calls: usize,
    /// Snapshots and copies that were made.
    pub snapshots: usize,
    /// Deletions, each of which was judged.
    pub deletions: usize,
    /// How often the world was at rest, and right.
    pub rests: usize,
    /// By kind: how often it happened, and in how many runs.
    pub faults: BTreeMap<&'static str, (usize, usize)>,
}

impl Tally {
    /// One run, or event, met with something.
    pub(super) fn note(&mut self, kind: &'static str, n: usize) {
        if n > 0 {
            let (times, runs) = self.faults.entry(kind).or_default();
            *times += n;
            *runs += 1;
        }
    }

    /// One run whose calls went wrong so often.
    pub(super) fn survived(&mut self, seen: &BTreeMap<&'static str, usize>) {
        for (kind, n) in seen {
            self.note(kind, *n);
        }
    }

    /// Adds another's.
    pub fn add(&mut self, other: &Self) {
        self.stories += other.stories;
        self.hours += other.hours;
        self.runs += other.runs;
        self.calls += other.calls;
        self.snapshots += other.snapshots;
        self.deletions += other.deletions;
        self.rests += other.rests;
        for (kind, (times, runs)) in &other.faults {
            let sum = self.faults.entry(kind).or_default();
            sum.0 += times;
            sum.1 += runs;
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<28} {:>12} {:>12}", "what went wrong", "times", "in runs")?;
        for (kind, (times, runs)) in &self.faults {
            writeln!(f, "{kind:<28} {times:>12} {runs:>12}")?;
        }
        write!(
            f,
            "\n{} stories, {} simulated years, {} runs, {} calls of AWS, {} snapshots and copies made, {} deletions \
             judged, {} times at rest and right",
            self.stories,
            self.hours / (24 * 365),
            self.runs,
            self.calls,
            self.snapshots,
            self.deletions,
            self.rests
        )
    }
}
