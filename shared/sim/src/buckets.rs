//! Token buckets: how many requests EC2 takes of an account in a Region
//! ([request throttling](https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html)). The account is that
//! of the credentials: after `AssumeRole` the member's.

use jiff::Timestamp;
use snapferry_core::ids::Scope;

use crate::world::World;

/// What is left of one bucket, in thousandths of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    thousandths: i64,
    since: Timestamp,
}

/// The bucket of an operation, its capacity, and how much comes back each second. `None`: not EC2's, or not limited here.
pub(crate) fn limits(operation: &'static str) -> Option<(&'static str, i64, i64)> {
    Some(match operation {
        "CreateSnapshot" | "CreateSnapshots" | "DeleteSnapshot" | "ModifySnapshotAttribute" => {
            (operation, 100, 5)
        }
        "CreateTags" => (operation, 100, 10),
        "CopySnapshot"
        | "LockSnapshot"
        | "ModifySnapshotTier"
        | "EnableFastSnapshotRestores"
        | "DisableFastSnapshotRestores" => ("mutating", 50, 5),
        it if it.starts_with("Describe") && it != "DescribeKey" => ("describing", 100, 20),
        _ => return None,
    })
}

impl World {
    /// Whether EC2 takes one more request of this kind now.
    pub(crate) fn has_token(&mut self, scope: &Scope, operation: &'static str) -> bool {
        let (Some(divisor), Some((name, capacity, refill))) =
            (self.settings.buckets, limits(operation))
        else {
            return true;
        };
        let divisor = i64::from(divisor.max(1));
        let full = (1000 * capacity / divisor).max(1000);
        let now = self.now;
        let bucket = self
            .buckets
            .entry((scope.clone(), name))
            .or_insert(Bucket { thousandths: full, since: now });
        let waited_ms = i64::try_from(now.duration_since(bucket.since).as_millis());
        let back = waited_ms.unwrap_or(i64::MAX).saturating_mul(refill) / divisor;
        bucket.thousandths = bucket.thousandths.saturating_add(back).min(full);
        bucket.since = now;
        let is_there = bucket.thousandths >= 1000;
        bucket.thousandths -= if is_there { 1000 } else { 0 };
        is_there
    }
}
