//! Tests that cross crates, in one binary: one link. The end-to-end ones run the built functions under AWS's Runtime
//! Interface Emulator against the local AWS; every test has one to itself, with a fresh world.

#![expect(
    clippy::indexing_slicing,
    reason = "a member that is missing fails the test, as it should"
)]

mod attack;
mod backup;
mod common;
mod copied_tags;
mod copying;
mod dashboard;
mod default_policies;
mod deliveries;
mod deployed;
mod documents;
mod events;
mod explain;
mod fanout;
mod faults;
mod fleet;
mod full_copies;
mod instance_role;
mod instances;
mod keep;
mod keys;
mod killed;
mod local_aws;
mod main_job;
mod permissions;
mod pre_post_script;
mod presign;
mod protection;
mod readme;
mod regions;
mod rescue;
mod rotation;
mod scale;
mod scopes;
mod scripts;
mod stack;
mod statements;
mod tiers;
mod timed_copies;
mod unshare;
mod vss;
mod wire;
mod within;
