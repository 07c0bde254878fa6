//! What goes wrong with calls, and how often.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::SignedDuration;
use snapferry_core::ec2::ErrorKind;

use super::story::Weather;
use crate::calls::{Call, Fault};
use crate::turns::Rng;

/// Every kind of fault of a call, by name.
pub(super) const KINDS: [&str; 11] = [
    "throttled",
    "refused",
    "5xx",
    "request lost",
    "done, answer lost",
    "time-out, not done",
    "time-out, done",
    "stale read",
    "page missing",
    "slow",
    "credentials expired",
];

/// How many calls of the run that is under way went wrong, by kind.
#[derive(Clone, Default)]
pub(super) struct Seen(Arc<Mutex<BTreeMap<&'static str, usize>>>);

impl Seen {
    pub(super) fn note(&self, kind: &'static str) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *seen.entry(kind).or_default() += 1;
    }

    pub(super) fn take(&self) -> BTreeMap<&'static str, usize> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What goes wrong in one run. `run` makes each another one.
pub(super) fn faults(
    weather: &Weather,
    run: u64,
    seen: Seen,
) -> impl FnMut(&Call) -> Fault + Send + 'static {
    let mut rng = Rng(weather.seed ^ run.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let (chance, kinds) = (weather.faults, weather.kinds);
    move |call| {
        if rng.any() % 1000 >= chance {
            return Fault::None;
        }
        let which = rng.below(KINDS.len());
        let minutes = SignedDuration::from_mins(1 + i64::try_from(rng.below(3)).unwrap_or(0));
        let number = rng.any();
        let lists = call.operation.starts_with("Describe") && call.operation != "DescribeKey";
        if kinds & (1 << which) == 0 || (matches!(which, 7 | 8) && !lists) {
            return Fault::None;
        }
        if let Some(kind) = KINDS.get(which) {
            seen.note(kind);
        }
        match which {
            0 => Fault::Refuse(ErrorKind::Throttled, "RequestLimitExceeded"),
            1 => Fault::Refuse(ErrorKind::AccessDenied, "UnauthorizedOperation"),
            2 => Fault::Refuse(ErrorKind::Internal, "InternalError"),
            3 => Fault::NoAnswer,
            4 => Fault::DoButNoAnswer,
            5 => Fault::TimeOut { after: minutes, happened: false },
            6 => Fault::TimeOut { after: minutes, happened: true },
            7 => Fault::StaleRead(1 + usize::try_from(number % 4).unwrap_or(0)),
            8 => Fault::MissingPage(number),
            9 => Fault::Slow(minutes),
            _ => Fault::Refuse(ErrorKind::AccessDenied, "RequestExpired"),
        }
    }
}
