//! `Targets[].OrganizationalUnits`: accounts come and go with the organization, and what cannot be read of it stops
//! nobody else.

use std::num::NonZeroUsize;

use serde_json::{Value, json};
use snapferry_core::documents::Documents;
use snapferry_core::event::RotateEvent;
use snapferry_core::ids::{AccountId, UnitId};
use snapferry_core::reconcile::{self, Listing};
use snapferry_core::report::OutcomeName;
use snapferry_core::run::Run;
use snapferry_sim::{Sim, drive};

use crate::support::{
    HOME, MEMBER, OTHER, account, days, every, failure, limits, lines, read, role, rotate, scope,
    sim, slots, vault,
};

const ROOT: &str = "r-ab12";
const WORKLOADS: &str = "ou-ab12-workloads";
const THIRD: &str = "555555555555";

fn unit(id: &str) -> UnitId {
    id.parse().unwrap()
}

/// Root: `OTHER` and the unit; in the unit `MEMBER` and a third.
fn world() -> Sim {
    let sim = sim();
    sim.organize(&unit(ROOT), |it| {
        it.accounts = [account(OTHER)].into();
        it.units = [unit(WORKLOADS)].into();
    });
    sim.organize(&unit(WORKLOADS), |it| it.accounts = [MEMBER, THIRD].map(account).into());
    for account in [MEMBER, OTHER, THIRD] {
        sim.volume(&scope(account, HOME), &[("Backup", "daily")]);
    }
    sim
}

fn policy(name: &str, targets: &Value) -> Value {
    json!({
        "Name": name, "Targets": targets,
        "PolicyDetails": {
            "TargetTags": [{"Key": "Backup", "Value": "daily"}],
            "Schedules": [{"Name": "nightly", "CreateRule": every(24), "RetainRule": {"Count": 2}}],
        },
    })
}

fn of_units(units: &[&str]) -> Value {
    json!([{"OrganizationalUnits": units, "RoleArn": "arn:aws:iam::*:role/snapferry-member", "Regions": [HOME]}])
}

fn accounts_of(run: &Run) -> Vec<String> {
    let made = run.report.actions.iter().filter(|it| it.outcome == OutcomeName::Done);
    made.filter(|it| it.action == "CreateSnapshot").map(|it| it.account.to_string()).collect()
}

#[test]
fn a_unit_is_all_accounts_in_it_and_below_it() {
    let sim = world();
    let run = rotate(&sim, &[policy("daily", &of_units(&[WORKLOADS]))]);
    assert_eq!(
        (failure(&run).as_str(), accounts_of(&run)),
        ("", vec![MEMBER.into(), THIRD.into()])
    );
    let run = rotate(&sim, &[policy("daily", &of_units(&[ROOT, WORKLOADS]))]);
    assert_eq!((failure(&run).as_str(), accounts_of(&run)), ("", vec![OTHER.into()]));
    let calls = sim.take_journal();
    let looks = calls.iter().filter(|it| it.operation == "ListAccountsForParent").count();
    assert_eq!(looks, 1 + 2, "every unit once in a run");
}

#[test]
fn accounts_can_be_left_out_and_named_targets_come_first() {
    let sim = world();
    let mut targets = of_units(&[ROOT]);
    targets[0]["ExcludeAccounts"] = json!([THIRD]);
    targets[0]["ExternalId"] = json!("for-all");
    let own = json!({"RoleArn": role(MEMBER), "Regions": [HOME], "ExternalId": "for-one"});
    targets.as_array_mut().unwrap().push(own);
    let run = rotate(&sim, &[policy("daily", &targets)]);
    assert_eq!(
        (failure(&run).as_str(), accounts_of(&run)),
        ("", vec![MEMBER.into(), OTHER.into()])
    );
}

#[test]
fn an_account_that_leaves_keeps_its_snapshots() {
    let sim = world();
    let documents = [policy("daily", &of_units(&[WORKLOADS]))];
    for _ in 0..4 {
        rotate(&sim, &documents);
        sim.advance(days(1));
    }
    let before = slots(&sim, &scope(THIRD, HOME));
    assert!(before.len() >= 2, "{before:?}");
    sim.organize(&unit(WORKLOADS), |it| it.accounts = [account(MEMBER)].into());
    for _ in 0..10 {
        assert_eq!(failure(&rotate(&sim, &documents)), "");
        sim.advance(days(1));
    }
    assert_eq!(slots(&sim, &scope(THIRD, HOME)), before);
}

#[test]
fn what_cannot_be_read_of_the_organization_is_told_and_stops_nobody_else() {
    let sim = world();
    sim.organize(&unit(WORKLOADS), |it| it.units = [unit("ou-ab12-goneforever")].into());
    let both = [
        policy("daily", &of_units(&[WORKLOADS])),
        policy("other", &json!([{"RoleArn": role(OTHER), "Regions": [HOME]}])),
    ];
    let run = rotate(&sim, &both);
    let told = failure(&run);
    for part in [
        "ScopesUnreadable: organizational unit ou-ab12-workloads: AWS refused ListAccountsForParent: ",
        "ParentNotFoundException",
    ] {
        assert!(told.contains(part), "{told}");
    }
    assert_eq!(accounts_of(&run), [MEMBER, OTHER, THIRD], "what was read is done");
    assert_eq!(run.metrics("f", &[], 0)[0]["ScopesUnreadable"], 1);
    let mut disabled = both[0].clone();
    disabled["State"] = json!("DISABLED");
    assert_eq!(failure(&rotate(&sim, &[disabled, both[1].clone()])), "", "not worth an alarm");
}

#[test]
fn nothing_is_said_of_volumes_that_may_be_where_nobody_could_look() {
    let sim = world();
    let mut policy = policy("daily", &of_units(&[WORKLOADS, "ou-ab12-goneforever"]));
    policy["PolicyDetails"]["TargetVolumeIds"] = json!(["vol-0123456789abcdef0"]);
    let run = rotate(&sim, &[policy.clone()]);
    assert!(lines(&run, "CreateSnapshot", OutcomeName::Failed).is_empty(), "{}", failure(&run));
    sim.organize(&unit("ou-ab12-goneforever"), |_| ());
    let run = rotate(&sim, &[policy]);
    assert_eq!(lines(&run, "CreateSnapshot", OutcomeName::Failed).len(), 1, "now it is");
}

fn list(sim: &Sim, documents: Documents, per_item: usize) -> Listing {
    let event = RotateEvent::default();
    let per_item = NonZeroUsize::new(per_item).unwrap();
    let aws = sim.aws(&vault());
    drive(reconcile::list_scopes(&aws, documents, &event, per_item)).unwrap().unwrap()
}

#[test]
fn a_list_is_worked_off_as_one_run_would() {
    let mut wrong = policy("wrong", &json!([]));
    wrong["PolicyDetails"]["Schedules"] = json!([]);
    let documents = [policy("daily", &of_units(&[ROOT, "ou-ab12-goneforever"])), wrong.clone()];
    let at_once = world();
    let told = failure(&rotate(&at_once, &documents));
    assert!(told.starts_with("InvalidPolicy: "), "{told}");

    let sim = world();
    let listing = list(&sim, read(&documents), 2);
    let sizes: Vec<usize> = listing.items.iter().map(|it| it.scopes.len()).collect();
    assert_eq!((listing.scopes, sizes), (3, vec![2, 1]));
    let told: Vec<&str> = listing.failures.iter().map(|it| it.error_type).collect();
    assert_eq!(told, ["InvalidPolicy", "ScopesUnreadable"]);
    let answer = serde_json::to_value(&listing).unwrap();
    assert_eq!(answer["Items"][1]["Listed"], json!({ROOT: [THIRD]}));

    let _ = sim.take_journal();
    for item in answer["Items"].as_array().unwrap() {
        let event = RotateEvent::parse(item).unwrap();
        let pause = sim.pause();
        let aws = sim.aws(&vault());
        let limits = limits(&pause);
        let run = drive(reconcile::rotate(&aws, read(&documents), &event, sim.now(), &limits))
            .unwrap()
            .unwrap();
        assert_eq!(failure(&run), "", "what the list has told is not told again");
    }
    let calls = sim.take_journal();
    assert!(calls.iter().all(|it| !it.operation.starts_with("ListAcc")), "nor looked up");
    for account in [MEMBER, OTHER, THIRD] {
        let place = scope(account, HOME);
        assert_eq!(slots(&sim, &place), slots(&at_once, &place), "{account}");
    }
}

#[test]
fn listing_changes_nothing_and_obeys_scopes() {
    let sim = world();
    let documents = [policy("daily", &of_units(&[ROOT]))];
    let only: [AccountId; 1] = [account(OTHER)];
    let event = RotateEvent {
        scopes: only.iter().map(|it| scope(it.as_str(), HOME)).collect(),
        ..RotateEvent::default()
    };
    let aws = sim.aws(&vault());
    let one = NonZeroUsize::MIN;
    let listing =
        drive(reconcile::list_scopes(&aws, read(&documents), &event, one)).unwrap().unwrap();
    assert_eq!(listing.scopes, 1);
    assert_eq!(sim.records().len(), 0);
}

#[test]
fn what_a_long_list_reaches_late_serves_the_slot_of_now() {
    let mut hourly = policy("hourly", &json!([{"RoleArn": role(MEMBER), "Regions": [HOME]}]));
    let create = json!({"Interval": 1, "IntervalUnit": "HOURS", "Times": ["02:00"]});
    hourly["PolicyDetails"]["Schedules"][0]["CreateRule"] = create;
    for (listed, late, slot) in [(true, 10, "02:00"), (true, 181, "05:00"), (false, 181, "02:00")] {
        let sim = world();
        let event = RotateEvent {
            scheduled_time: Some(sim.now()),
            listed: listed.then(Default::default),
            ..RotateEvent::default()
        };
        sim.advance(jiff::SignedDuration::from_mins(late));
        let pause = sim.pause();
        let aws = sim.aws(&vault());
        let (documents, now) = (read(std::slice::from_ref(&hourly)), sim.now());
        drive(reconcile::rotate(&aws, documents, &event, now, &limits(&pause))).unwrap().unwrap();
        let made = format!("{:?}", slots(&sim, &scope(MEMBER, HOME)));
        assert!(made.contains(&format!("T{slot}")), "{listed} {late}: {made}");
    }
}
