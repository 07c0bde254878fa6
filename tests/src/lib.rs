//! What the demo, the benchmark and the end-to-end tests stand on: the local AWS, and the built functions under AWS's
//! Runtime Interface Emulator.

pub mod cloud;
pub mod lambda;
pub mod local_aws;
pub mod machine;
pub mod proof;
pub mod roles;
pub mod scale;
pub mod stage;
pub mod template;

use std::error::Error;

/// Whatever went wrong while setting up or looking; the text is for the person who runs it.
pub type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;
