//! The five steps in order: observe → plan → audit → execute → report. What both handlers call.

use std::collections::{BTreeMap, BTreeSet};

use tracing::debug;

use crate::action::{Plan, Planned};
use crate::audit::{AuditedPlan, Violation};
use crate::ec2::Ec2;
use crate::execute::{Executed, Limits, Outcome, execute};
use crate::ids::{Region, VolumeId};
use crate::observe::Unreadable;
use crate::settle::settle;

pub use copy::copy;
pub use listing::{Item, Listing, ListingFailure, list_scopes};
pub use rotate::rotate;

mod aimless;
mod copy;
mod full_copy;
mod gathered;
mod listing;
mod places;
mod rotate;
mod vaults;
mod within;

/// What became of what was looked at together.
#[derive(Default)]
struct Done {
    plan: Plan,
    executed: Vec<Executed>,
    withheld: Vec<Planned>,
    violations: Vec<Violation>,
    unreadable: Vec<Unreadable>,
    out_of_time: bool,
    /// The scope was read, and these of the volumes that policies name were seen, themselves or a snapshot.
    seen: Option<BTreeSet<VolumeId>>,
}

async fn carry_out<E: Ec2>(
    mut audited: AuditedPlan,
    violations: Vec<Violation>,
    clients: &BTreeMap<Region, E>,
    limits: &Limits<'_>,
    dry_run: bool,
) -> Done {
    log_plan(&audited);
    let executed = if dry_run {
        let planned = audited.take_actions().into_iter();
        planned.map(|planned| Executed { planned, outcome: Outcome::Planned }).collect()
    } else {
        let mut executed = execute(&mut audited, clients, limits).await;
        for (region, ec2) in clients {
            let (mut here, elsewhere): (Vec<_>, Vec<_>) =
                executed.into_iter().partition(|done| done.planned.scope.region == *region);
            let taken_back =
                if (limits.out_of_time)() { Vec::new() } else { settle(ec2, &mut here).await };
            executed = elsewhere;
            executed.extend(here);
            executed.extend(taken_back);
        }
        executed
    };
    let (plan, withheld) = audited.into_parts();
    Done { plan, executed, withheld, violations, ..Done::default() }
}

/// The history: what was decided goes to the log before it is done.
fn log_plan(audited: &AuditedPlan) {
    for planned in audited.actions() {
        let subject = &planned.subject;
        debug!(
            action = planned.action.operation(),
            account = %planned.scope.account,
            region = %planned.scope.region,
            policy = subject.policy,
            volume_id = subject.volume.as_ref().map(tracing::field::display),
            snapshot_id = subject.snapshot.as_ref().map(tracing::field::display),
            reason = %planned.reason,
            "planned"
        );
    }
}
