//! What a snapshot or copy has to be when it is made.

use std::collections::BTreeSet;

use super::{Copied, DAY, Own, Seconds, about, expires_at};
use crate::record::Record;
use crate::years::places::VAULT;
use crate::years::wishes::Wishes;

/// The tag tells the time that the run took for now, which clocks and slow calls make another than EC2's.
const ABOUT: Seconds = 45 * 60;

/// Whether these, which one run made, are marked as ours from their first moment, tell when they expire, and none is
/// there twice.
///
/// # Errors
/// What is wrong.
pub(in crate::years) fn are_right(
    born: &[Record],
    wishes: &Wishes,
    runs: usize,
) -> Result<(), String> {
    let mut made = BTreeSet::new();
    for record in born {
        let (expiry, purpose) = if let Some(own) = Own::read(record) {
            let days: Option<Vec<i64>> = wishes.policy(own.policy).and_then(|policy| {
                policy.present(&own.schedules).iter().map(|it| it.retain.days).collect()
            });
            let purpose =
                format!("{} {} {} {:?}", own.volume(), own.policy, own.slot, own.schedules);
            (days.and_then(|days| days.into_iter().max()), purpose)
        } else if let Some(copy) = Copied::read(record) {
            let rule =
                wishes.vault.rule(copy.rule).filter(|_| record.snapshot.owner.as_str() == VAULT);
            let scope = record.scope();
            (rule.and_then(|it| it.retain.days), format!("{scope} {} {}", copy.rule, copy.source))
        } else {
            return Err(format!("it was made without all of our tags: {}", about(record)));
        };
        let start = record.snapshot.start_time.as_second();
        let is_right = match (expiry.map(|days| start + days * DAY), expires_at(record)) {
            (None, None) => true,
            (Some(wanted), Some(told)) => (wanted - ABOUT..=wanted + ABOUT).contains(&told),
            _ => false,
        };
        if !is_right {
            return Err(format!("it does not tell when it expires: {}", about(record)));
        }
        if !made.insert(purpose) && runs == 1 {
            return Err(format!("one run made two of the same: {}", about(record)));
        }
    }
    Ok(())
}
