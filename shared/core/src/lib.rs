//! The decisions of snapferry: what to snapshot, share, copy, keep and delete, and why.
//!
//! Every invocation **observes** the world, **plans** purely, **audits** the plan with independent code, **executes**
//! what survived, and **reports**. Nothing is remembered except in tags.
//!
//! Architecture invariants:
//!
//! 1. This crate knows no AWS SDK, no async runtime, no clock and no environment. SDK types live in `snapferry-aws`.
//! 2. [`plan`] and [`audit`] are sync, take `now` as a value, use ordered collections, never fail and never log.
//! 3. [`execute`](execute::execute) accepts only [`AuditedPlan`](audit::AuditedPlan), and only [`audit`] makes one. The
//!    one deletion beside it, [`settle`], takes back what the same run made, and proves that each time.
//! 4. [`audit`] imports none of [`plan`]'s helpers.
//! 5. Nothing is written to the world that is not read back by the next run.
//!
//! In reading order: [`ids`], [`policy`], [`schedule`], [`documents`], [`event`], [`tags`], [`description`],
//! [`inventory`], [`commands`], [`ec2`], [`observe`], [`action`], [`plan`], [`audit`], [`execute`], [`settle`], [`report`], [`run`],
//! [`reconcile`].

pub mod action;
pub mod audit;
pub mod chain;
pub mod commands;
pub mod description;
pub mod documents;
pub mod ec2;
pub mod event;
pub mod execute;
pub mod ids;
pub mod inventory;
pub mod observe;
pub mod plan;
pub mod policy;
pub mod reconcile;
pub mod report;
pub mod run;
pub mod schedule;
pub mod settle;
pub mod strict_json;
pub mod tags;
#[cfg(test)]
mod testing;
