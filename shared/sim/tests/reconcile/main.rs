//! The whole of both functions, short of the SDK: events in, calls and reports out, over EC2 in memory.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that finds something else than it looks for stops there"
)]

mod isolation;
mod never;
mod retention;
mod servers;
mod support;
mod twice;
mod vault;
mod worlds;
