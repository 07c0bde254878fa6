//! The journal, and what can go wrong with a call.

use jiff::SignedDuration;
use snapferry_core::ec2::{Ec2Error, ErrorKind};
use snapferry_core::ids::Scope;

/// One call as AWS saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// From 0, since the journal was last taken.
    pub number: usize,
    /// The caller's account, and the Region.
    pub scope: Scope,
    /// The API operation.
    pub operation: &'static str,
    /// The id that it is about, where it is about one.
    pub object: String,
    /// Whether it did what was asked.
    pub happened: bool,
}

impl Call {
    /// Whether it could change something.
    #[must_use]
    pub fn mutates(&self) -> bool {
        !["Describe", "Get", "List"].iter().any(|it| self.operation.starts_with(it))
            && self.operation != "AssumeRole"
    }
}

/// What goes wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// AWS says no, with this code; nothing has happened.
    Refuse(ErrorKind, &'static str),
    /// The request is lost.
    NoAnswer,
    /// It happens, and the answer is lost.
    DoButNoAnswer,
    /// What is told of snapshots is as of before the last so many writes, as far as [`crate::Settings::remember`] goes.
    StaleRead(usize),
    /// A page of what is listed is missing; which, the number decides.
    MissingPage(u64),
    /// It happens, and takes so much longer.
    Slow(SignedDuration),
    /// There is no answer after so long, whether or not it has happened.
    TimeOut {
        /// How long was waited.
        after: SignedDuration,
        /// Whether it has happened.
        happened: bool,
    },
}

pub(crate) type Faults = Box<dyn FnMut(&Call) -> Fault + Send>;

/// AWS's no.
pub(crate) struct Refusal {
    pub(crate) kind: ErrorKind,
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

pub(crate) fn refuse<T>(
    kind: ErrorKind,
    code: &'static str,
    message: impl Into<String>,
) -> Result<T, Refusal> {
    let message = message.into();
    Err(Refusal { kind, code, message })
}

impl Refusal {
    pub(crate) fn of(self, operation: &'static str, number: usize) -> Ec2Error {
        Ec2Error::Refused {
            operation,
            kind: self.kind,
            code: self.code.to_owned(),
            message: self.message,
            request_id: format!("request-{number}"),
        }
    }
}

pub(crate) fn no_answer(operation: &'static str) -> Ec2Error {
    Ec2Error::NoAnswer { operation, source: "the connection was closed".into() }
}
