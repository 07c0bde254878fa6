//! EC2, STS and KMS in memory, for tests: a store that really stores, not a list of expected calls.
//!
//! [`Sim`] is the world: accounts, Regions, volumes, instances, snapshots, keys and a clock that only the test moves,
//! or a process that pauses ([`Sim::pause`]). [`Sim::aws`] gives what the functions get: an
//! [`Ec2Provider`](snapferry_core::ec2::Ec2Provider) with the credentials of one account. Every call is written into a
//! journal, can be made to fail ([`Fault`]), and waits for its turn, so that runs side by side can be interleaved call
//! by call ([`interleave`]); a process can be made to die after any call ([`Sim::aws_dying_after`]). Where calls take time
//! ([`Sim::calls_take`]), the clock moves by itself ([`drive_timed`]).
//!
//! What EC2 does is taken from its reference; the end-to-end tests hold the same expectations against the local AWS, so
//! that the two keep each other honest.

mod agents;
mod aws;
mod buckets;
mod calls;
pub mod capacity;
mod effects;
mod organization;
mod port;
mod record;
#[cfg(test)]
mod tests;
mod timed;
mod turns;
mod world;
pub mod years;
mod zones;

pub use agents::{Agent, Ending, Sent};
pub use aws::{Aws, Waiting};
pub use calls::{Call, Fault};
pub use organization::Unit;
pub use port::Client;
pub use record::{Deletion, InstanceState, Lock, Record, Settings, Share, SimInstance, SimKey};
pub use timed::drive_timed;
pub use turns::{Rng, drive, interleave};
pub use world::{Sim, id};
pub use zones::zones;
