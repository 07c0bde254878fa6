//! Fuzz targets over everything that comes from outside: events, policies, descriptions, tags, identifiers, and the
//! whole decision.
//!
//! A target is a plain function of bytes. It returns whether the input was taken, and panics where a rule is broken.
//! Two drivers run the very same functions:
//!
//! * `cargo test -p snapferry-fuzz` tries a fixed number of inputs, the same in every run, made of the published fixtures
//!   by [`mutate`]. With `-- --nocapture` it tells how many were taken. More, or others, of any target:
//!   `cargo run -p snapferry-fuzz -- run all 100000 7`, where 7 is the seed.
//! * `cargo fuzz` tries inputs by the coverage they reach, on the stable toolchain too:
//!
//! ```sh
//! cargo run -p snapferry-fuzz -- seeds policies tests/fuzz/libfuzzer/corpus/policies
//! cargo fuzz run --fuzz-dir tests/fuzz/libfuzzer --sanitizer none policies -- -max_total_time=120
//! ```
//!
//! An input that failed is printed as a literal, with the command that tries it again:
//! `cargo run -p snapferry-fuzz -- <target> '<literal>'`; of `cargo fuzz`, `… <target> @<file>`.
#![expect(
    clippy::missing_panics_doc,
    clippy::expect_used,
    reason = "a broken rule, and a mistake in a target, end the run"
)]

pub mod check;
pub mod corpus;
pub mod decide;
pub mod descriptions;
pub mod events;
pub mod literal;
pub mod mutate;
pub mod policies;
pub mod random;
pub mod run;
pub mod tags;
pub mod texts;

/// What became of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// It was read, or decided upon.
    Accepted,
    /// It was refused, and told why.
    Refused,
}

impl Verdict {
    /// Accepted, if so.
    pub fn of(accepted: bool) -> Self {
        if accepted { Self::Accepted } else { Self::Refused }
    }
}

/// One thing to attack.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// What it is called in commands.
    pub name: &'static str,
    /// Tries one input.
    pub run: fn(&[u8]) -> Verdict,
    /// What mutation begins with.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// How many inputs `cargo test` tries.
    pub executions: u32,
}

/// Every target.
pub const TARGETS: [Target; 8] = [
    Target { name: "events", run: events::run, seeds: corpus::events, executions: 8_000 },
    Target { name: "policies", run: policies::run, seeds: corpus::policies, executions: 2_500 },
    Target {
        name: "descriptions",
        run: descriptions::run,
        seeds: corpus::descriptions,
        executions: 8_000,
    },
    Target { name: "tags", run: tags::run, seeds: corpus::tags, executions: 8_000 },
    Target { name: "texts", run: texts::run, seeds: corpus::texts_of_all_kinds, executions: 8_000 },
    Target { name: "rotation", run: decide::rotation, seeds: corpus::choices, executions: 1_000 },
    Target { name: "vault", run: decide::vault, seeds: corpus::choices, executions: 600 },
    Target { name: "within", run: decide::within, seeds: corpus::choices, executions: 1_000 },
];

/// The target of that name.
#[must_use]
pub fn target(name: &str) -> Option<Target> {
    TARGETS.into_iter().find(|target| target.name == name)
}
