//! What rotation never deletes: each twice, by the whole function, and by the auditor against a plan that would.

use serde_json::{Value, json};
use snapferry_core::action::{Action, Plan, Planned, Reason, Subject};
use snapferry_core::audit;
use snapferry_core::ec2::{Access, Ec2Provider, ErrorKind};
use snapferry_core::ids::SnapshotId;
use snapferry_core::inventory::State;
use snapferry_core::observe;
use snapferry_core::tags;
use snapferry_sim::{Call, Fault, Lock, Sim, drive, id};

use crate::support::{
    OTHER, account, days, failure, held, in_state, limits, lines, member, minutes, nightly,
    read_good, rotate, rotate_for, scope, target,
};
use snapferry_core::report::OutcomeName;

/// Six nights of one volume, with two kept by count from now on: four could go.
struct Nights {
    sim: Sim,
    policy: Value,
    /// The four, oldest first.
    old: Vec<SnapshotId>,
}

impl Nights {
    fn new() -> Self {
        let sim = crate::support::sim();
        target(&sim);
        rotate_for(&sim, &[nightly(&json!({"Count": 100}))], 6, days(1));
        let old = in_state(&sim, &member(), State::Completed);
        let old = old.into_iter().take(4).collect();
        sim.advance(minutes(-60)); // before the next slot
        let policy = nightly(&json!({"Count": 2}));
        drop(sim.take_deletions());
        drop(sim.take_journal());
        Self { sim, policy, old }
    }

    fn first(&self) -> SnapshotId {
        self.old[0].clone()
    }

    /// By the function: `snapshot` stays, and the `others` go.
    fn stays(&self, snapshot: &SnapshotId, others: usize) -> snapferry_core::run::Run {
        let run = rotate(&self.sim, std::slice::from_ref(&self.policy));
        assert_eq!(run.violations, []);
        let asked =
            |call: &Call| call.operation == "DeleteSnapshot" && call.object == snapshot.as_str();
        assert!(!self.sim.take_journal().iter().any(asked));
        assert!(self.sim.record(snapshot).is_some());
        assert_eq!(self.sim.take_deletions().len(), others, "{:?}", run.report);
        run
    }

    /// By the auditor: what it says to a plan that deletes `snapshot`. The deletion is withheld.
    fn refused(&self, snapshot: &SnapshotId) -> String {
        let documents = read_good(std::slice::from_ref(&self.policy));
        let policies = documents.snapshot_policies();
        let scope = member();
        let client = drive(self.sim.aws(&scope).connect(&Access::default(), &scope.region));
        let inventory = drive(observe::scope(&client.unwrap().unwrap(), &policies, self.sim.now()));
        let plan = Plan { actions: vec![delete(snapshot)], ..Plan::default() };
        let facts = audit::rotate::Facts {
            scope: &scope,
            policies: &policies,
            in_force: &documents.in_force(),
            inventory: &inventory.unwrap().unwrap(),
            now: self.sim.now(),
            delete_limit: None,
        };
        let (audited, violations) = audit::rotate::audit(plan, facts);
        assert_eq!(audited.actions(), [], "the deletion would be done");
        let rules: Vec<_> = violations.into_iter().map(|it| it.rule).collect();
        rules.join("; ")
    }
}

fn delete(snapshot: &SnapshotId) -> Planned {
    Planned {
        scope: member(),
        access: Access::default(),
        action: Action::DeleteSnapshot(snapshot.clone()),
        subject: Subject { snapshot: Some(snapshot.clone()), ..Subject::default() },
        reason: Reason::NoCopy,
    }
}

#[test]
fn without_a_reason_to_stay_it_goes() {
    let nights = Nights::new();
    let run = rotate(&nights.sim, std::slice::from_ref(&nights.policy));
    let gone: Vec<_> = nights.sim.take_deletions();
    assert_eq!(gone.len(), 4, "{:?}", run.report);
    assert!(gone.iter().all(|it| nights.old.contains(&it.record.snapshot.id)));
}

#[test]
fn a_snapshot_without_our_tags() {
    let nights = Nights::new();
    let first = nights.first();
    nights.sim.change(&first, |it| it.snapshot.tags.clear());
    assert_eq!(nights.refused(&first), "it was not seen in this run");
    nights.stays(&first, 3);
}

#[test]
fn a_snapshot_with_an_incomplete_set_of_tags() {
    for tag in [tags::SCHEDULE, tags::SLOT] {
        let nights = Nights::new();
        let first = nights.first();
        nights.sim.change(&first, |it| drop(it.snapshot.tags.remove(tag)));
        let complaint = "it does not carry our complete set of tags";
        assert_eq!(nights.refused(&first), complaint, "{tag}");
        nights.stays(&first, 3);
    }
}

#[test]
fn another_policys() {
    let nights = Nights::new();
    let first = nights.first();
    let rename = |it: &mut snapferry_sim::Record| {
        it.snapshot.tags.insert(tags::POLICY.into(), "other".into());
    };
    nights.sim.change(&first, rename);
    let complaint = "its policy is gone and its own expiry is not over";
    assert_eq!(nights.refused(&first), complaint);
    let run = nights.stays(&first, 3);
    assert_eq!(held(&run, &first), ["policy other is gone, and nothing says when it expires"]);
}

#[test]
fn one_in_use_by_an_ami() {
    let nights = Nights::new();
    let first = nights.first();
    nights.sim.change(&first, |it| it.image = Some("ami-1".into()));
    assert_eq!(nights.refused(&first), "ami-1 uses it");
    let run = nights.stays(&first, 3);
    assert_eq!(held(&run, &first), ["in use by ami-1"]);
}

#[test]
fn a_locked_one() {
    let nights = Nights::new();
    let first = nights.first();
    nights.sim.change(&first, |it| it.lock = Some(Lock::forever()));
    assert_eq!(nights.refused(&first), "it is locked");
    let run = nights.stays(&first, 3);
    assert_eq!(held(&run, &first), ["locked"]);
}

#[test]
fn one_that_another_service_manages() {
    for (key, service) in [
        ("aws:backup:source-resource", "AWS Backup"),
        ("aws:dlm:lifecycle-policy-id", "Data Lifecycle Manager"),
        ("dlm:managed", "Data Lifecycle Manager"),
    ] {
        let nights = Nights::new();
        let first = nights.first();
        nights.sim.change(&first, |it| {
            it.snapshot.tags.insert(key.into(), "x".into());
        });
        let complaint = format!("its tag {key} says that another service manages it");
        assert_eq!(nights.refused(&first), complaint);
        let run = nights.stays(&first, 3);
        assert_eq!(held(&run, &first), [format!("managed by {service}")]);
    }
}

#[test]
fn a_pending_one() {
    let nights = Nights::new();
    let first = nights.first();
    nights.sim.change(&first, |it| it.snapshot.state = State::Pending);
    assert_eq!(nights.refused(&first), "it is pending");
    nights.stays(&first, 3);
}

#[test]
fn one_in_the_recycle_bin() {
    let nights = Nights::new();
    let first = nights.first();
    nights.sim.change(&first, |it| it.snapshot.state = State::Other);
    assert!(nights.refused(&first).starts_with("it is neither"));
    nights.stays(&first, 3);
}

#[test]
fn the_last_completed_one() {
    let mut nights = Nights::new();
    nights.policy = nightly(&json!({"Interval": 1, "IntervalUnit": "DAYS"}));
    nights.sim.advance(days(400));
    let all = in_state(&nights.sim, &member(), State::Completed);
    let (last, others) = all.split_last().unwrap();
    // Younger ones that are not good yet, or never will be, do not count.
    let states = [State::Pending, State::Error];
    for (snapshot, state) in others.iter().zip(states.into_iter().cycle()) {
        nights.sim.change(snapshot, |it| {
            it.snapshot.state = state;
            it.snapshot.start_time += days(300);
        });
    }
    assert_eq!(nights.refused(last), "nothing newer of its volume would stay");
    nights.stays(last, 2); // those in error
}

#[test]
fn those_that_minimum_count_wants() {
    let mut nights = Nights::new();
    let retain = json!({"Interval": 1, "IntervalUnit": "DAYS", "MinimumCount": 3});
    nights.policy = nightly(&retain);
    nights.sim.advance(days(400));
    let all = in_state(&nights.sim, &member(), State::Completed);
    let third = &all[all.len() - 3];
    assert_eq!(nights.refused(third), "schedule nightly still keeps it");
    nights.stays(third, all.len() - 3);
}

#[test]
fn what_a_rule_still_keeps() {
    let nights = Nights::new();
    let all = in_state(&nights.sim, &member(), State::Completed);
    let second = &all[all.len() - 2];
    assert_eq!(nights.refused(second), "schedule nightly still keeps it");
    nights.stays(second, 4);
}

#[test]
fn another_accounts() {
    let nights = Nights::new();
    let theirs = nights.sim.record(&nights.first()).unwrap();
    let there = scope(OTHER, "eu-central-1");
    let volume = theirs.snapshot.volume_id.clone();
    let shared = nights.sim.snapshot(&there, &volume, |it| {
        it.snapshot.tags = theirs.snapshot.tags;
        it.snapshot.start_time = theirs.snapshot.start_time;
        it.shared_with.insert(member().account);
    });
    assert_eq!(nights.refused(&shared), "it was not seen in this run");
    nights.stays(&shared, 4);
    assert_eq!(nights.sim.record(&shared).unwrap().snapshot.owner, account(OTHER));
}

#[test]
fn a_disabled_policys() {
    let mut nights = Nights::new();
    nights.policy["State"] = json!("DISABLED");
    let first = nights.first();
    assert_eq!(nights.refused(&first), "its policy is disabled");
    nights.stays(&first, 0);
}

#[test]
fn one_that_is_not_there() {
    let nights = Nights::new();
    let stranger = id("snap-0123456789abcdef0");
    assert_eq!(nights.refused(&stranger), "it was not seen in this run");
}

#[test]
fn anything_while_its_guards_cannot_be_read() {
    for operation in ["DescribeImages", "DescribeLockedSnapshots"] {
        let nights = Nights::new();
        nights.sim.advance(days(1)); // the next slot is due
        nights.sim.on_call(move |call| {
            if call.operation == operation {
                return Fault::Refuse(ErrorKind::AccessDenied, "UnauthorizedOperation");
            }
            Fault::None
        });
        let first = nights.first();
        let refused = nights.refused(&first);
        assert!(refused.starts_with("its guards are unknown: AWS refused"), "{refused}");
        drop(nights.sim.take_journal());
        let run = nights.stays(&first, 0);
        let why = held(&run, &first).join("");
        assert!(why.starts_with("cannot tell whether an AMI or a lock needs it"), "{why}");
        assert!(why.contains(operation), "{why}");
        let created = lines(&run, "CreateSnapshot", OutcomeName::Done);
        assert_eq!(created.len(), 1, "creations go on");
        assert_eq!(failure(&run), "");
    }
}

#[test]
fn more_than_the_limit_of_one_run() {
    let nights = Nights::new();
    let pause = nights.sim.pause();
    let limits = snapferry_core::execute::Limits { deletions: Some(3), ..limits(&pause) };
    nights.sim.advance(days(1));
    let run = drive(snapferry_core::reconcile::rotate(
        &nights.sim.aws(&member()),
        read_good(std::slice::from_ref(&nights.policy)),
        &snapferry_core::event::RotateEvent::default(),
        nights.sim.now(),
        &limits,
    ));
    let run = run.unwrap().unwrap();
    assert_eq!(nights.sim.take_deletions().len(), 0);
    assert_eq!(run.n_withheld, 4);
    let told = failure(&run);
    assert!(told.starts_with("PlanRefused: ") && told.contains("raise DELETE_LIMIT"), "{told}");
    assert_eq!(lines(&run, "CreateSnapshot", OutcomeName::Done).len(), 1);
}
