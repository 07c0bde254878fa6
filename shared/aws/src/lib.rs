//! The port of `snapferry-core` over the AWS SDK.
//!
//! Architecture invariant: no other crate names an SDK type. What AWS answers is translated here, requests and
//! errors alike, and every call has a time-out, a retry class and an end before the invocation's deadline.

mod bounded;
mod classify;
mod convert;
mod deadline;
mod ec2;
mod function;
mod in_time;
mod job;
mod only_refused;
mod organization;
mod pages;
mod parameters;
mod presign;
mod provider;
#[cfg(test)]
mod testing;
mod whole;

pub use deadline::Deadline;
pub use ec2::AwsEc2;
pub use function::{Function, Invocation};
pub use job::{Answer, Call, Job};
#[doc(hidden)]
pub use presign::{Endpoints, Signing, presigned_url};
pub use provider::Aws;
