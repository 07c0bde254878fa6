//! Requests as EC2 and KMS get them, and what becomes of their answers.

use snapferry_core::chain::Chain;
use snapferry_core::ec2::{Ec2Error, ErrorKind};

mod archive;
mod changing;
mod codes;
mod commands;
mod copying;
mod creating;
mod encryption;
mod fast_restores;
mod guards;
mod instances;
mod keys;
mod locking;
mod presigning;
mod sets;
mod sharing;
mod snapshots;
mod volumes;
mod wire;

/// The error has the kind, AWS's code, and the text an operator reads.
fn assert_refused(err: &Ec2Error, kind: ErrorKind, text: &str) {
    assert!(matches!(err, Ec2Error::Refused { .. }), "{err:?}");
    assert_eq!(err.kind(), kind);
    assert_eq!(Chain(err).to_string(), text);
}

/// It may have happened.
fn assert_no_answer(err: &Ec2Error, operation: &str, text: &str) {
    assert_eq!(err.kind(), ErrorKind::NoAnswer, "{err:?}");
    assert_eq!(err.code(), None);
    let said = Chain(err).to_string();
    assert!(said.starts_with(&format!("no answer to {operation}: ")), "{said}");
    assert!(said.contains(text), "{said}");
}
