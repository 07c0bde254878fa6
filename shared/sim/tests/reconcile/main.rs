//! The whole of both functions, short of the SDK: events in, calls and reports out, over EC2 in memory.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that finds something else than it looks for stops there"
)]

mod both_functions;
mod broken_sets;
mod capacity;
mod default_policies;
mod full_copies;
mod instances;
mod isolation;
mod keep;
mod never;
mod protection;
mod rescue;
mod retention;
mod scripts;
mod servers;
mod sharing;
mod support;
mod tiers;
mod timed_copies;
mod twice;
mod units;
mod unshare;
mod vault;
mod vault_attacks;
mod vault_counts;
mod vault_events;
mod vault_floods;
mod vault_keys;
mod vault_killed;
mod vault_queue;
mod vault_refused;
mod vault_storm;
mod vault_tags;
mod vault_wakes;
mod within;
mod worlds;
