//! The watch for full copies: an event says that a copy was one, and it is told where an incremental one was due. It
//! plans nothing and changes nothing.

use tracing::warn;

use super::Done;
use crate::action::{Held, Hold, Plan};
use crate::ec2::{Access, Ec2Error, Ec2Provider};
use crate::ids::{Region, Scope, SnapshotId};
use crate::inventory::Snapshot;
use crate::observe::{self, Unreadable};
use crate::plan;

/// What there is to tell: nothing, or one line.
///
/// # Errors
/// When the own account cannot be told.
pub(super) async fn full_copy<P: Ec2Provider>(
    provider: &P,
    region: &Region,
    copy: &SnapshotId,
) -> Result<Done, Ec2Error> {
    let scope = Scope { account: provider.account().await?, region: region.clone() };
    match look(provider, region, copy).await {
        Ok(seen) => {
            let held = seen.and_then(|(copy, of_volume)| told(scope, &copy, &of_volume));
            let plan = Plan { held: held.into_iter().collect(), ..Plan::default() };
            Ok(Done { plan, ..Done::default() })
        }
        Err(error) => Ok(Done { unreadable: vec![Unreadable { scope, error }], ..Done::default() }),
    }
}

async fn look<P: Ec2Provider>(
    provider: &P,
    region: &Region,
    copy: &SnapshotId,
) -> Result<Option<(Snapshot, Vec<Snapshot>)>, Ec2Error> {
    let ec2 = provider.connect(&Access::default(), region).await?;
    observe::copies_of_volume(&ec2, copy).await
}

fn told(scope: Scope, copy: &Snapshot, of_volume: &[Snapshot]) -> Option<Held> {
    let (subject, base) = plan::full_copy::judge(copy, of_volume)?;
    let why = Hold::FullCopy(base.id.clone());
    // Nobody reads the answer to an event, so the log says it as well.
    warn!(
        account = %scope.account,
        region = %scope.region,
        policy = subject.policy,
        schedule = subject.schedule,
        volume_id = subject.volume.as_ref().map(tracing::field::display),
        snapshot_id = %copy.id,
        source_snapshot_id = subject.source.as_ref().map(tracing::field::display),
        reason = %why,
        "full copy"
    );
    Some(Held { scope, subject, why })
}
