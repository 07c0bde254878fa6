//! The vault: what is shared is copied once per rule, told when it cannot be, and expires.

use serde_json::{Value, json};
use snapferry_core::ec2::ErrorKind;
use snapferry_core::event::{CopyEvent, CopyScope};
use snapferry_core::ids::{SnapshotId, VolumeId};
use snapferry_core::inventory::State;
use snapferry_core::report::{OutcomeName, Status};
use snapferry_core::run::Run;
use snapferry_core::{reconcile, tags};
use snapferry_sim::{Fault, Lock, Record, Sim, drive, id};

use crate::support::{
    HOME, MEMBER, OTHER, VAULT, account, answer_shares, at, calls, copy, days, every, failure,
    held, hours, in_state, limits, lines, member, minutes, mutations, policy, read_good, rotate,
    scope, sim, sweep, target, vault,
};

const REGIONS: [&str; 2] = ["eu-west-1", "us-west-2"];

fn key(region: &str) -> String {
    format!("arn:aws:kms:{region}:{VAULT}:key/of-the-vault")
}

/// Copies into both Regions under the vault's keys, kept for three days.
fn copies() -> Value {
    let rule = |region| {
        json!({
            "Target": region,
            "EncryptionConfiguration": {"Encrypted": true, "CmkArn": key(region)},
            "RetainRule": {"Interval": 3, "IntervalUnit": "DAYS"}
        })
    };
    json!({
        "Name": "vault",
        "PolicyDetails": {
            "PolicyType": "EVENT_BASED_POLICY",
            "EventSource": {"Type": "MANAGED_CWE", "Parameters": {
                "EventType": "shareSnapshot", "SnapshotOwner": [MEMBER],
                "DescriptionRegex": "^Created for policy: .*$"}},
            "Actions": [{"Name": "copy", "CrossRegionCopy": REGIONS.map(rule)}]
        }
    })
}

fn sharing() -> Value {
    policy(
        "daily",
        &[json!({"Name": "nightly", "CreateRule": every(24), "RetainRule": {"Count": 2},
                 "ShareRules": [{"TargetAccounts": [VAULT]}]})],
    )
}

fn world() -> Sim {
    let sim = sim();
    for region in REGIONS {
        sim.key(&key(region), &[]);
    }
    sim
}

/// A snapshot that the member shares with the vault.
fn shared(sim: &Sim, change: impl FnOnce(&mut Record)) -> SnapshotId {
    let volume: VolumeId = id("vol-0123456789abcdef0");
    sim.snapshot(&member(), &volume, |it| {
        it.snapshot.description =
            "Created for policy: daily schedule: nightly slot: 2026-11-22T02:00:00Z \
             volume: vol-0123456789abcdef0"
                .into();
        it.shared_with.insert(account(VAULT));
        change(it);
    })
}

fn told_of(sim: &Sim, snapshot: &SnapshotId, owner: &str) -> CopyScope {
    let record = sim.record(snapshot);
    CopyScope::One {
        region: record.map_or(id(HOME), |it| it.region),
        snapshot: snapshot.clone(),
        owner: Some(account(owner)),
    }
}

fn copies_of(sim: &Sim, source: &SnapshotId) -> Vec<Record> {
    let records = sim.records().into_iter();
    records.filter(|it| it.copy_of.as_ref() == Some(source)).collect()
}

fn done(run: &Run, operation: &str) -> usize {
    lines(run, operation, OutcomeName::Done).len()
}

#[test]
fn a_share_becomes_one_copy_per_rule() {
    let sim = world();
    let volume = target(&sim);
    rotate(&sim, &[sharing()]);
    sim.advance(minutes(30));
    rotate(&sim, &[sharing()]);
    let source = sim.records()[0].clone();
    let runs = answer_shares(&sim, &[copies()]);
    assert_eq!(runs.len(), 1);
    assert_eq!((failure(&runs[0]).as_str(), done(&runs[0], "CopySnapshot")), ("", 2));
    for copy in copies_of(&sim, &source.snapshot.id) {
        let region = copy.region.to_string();
        let tags = &copy.snapshot.tags;
        assert_eq!(copy.snapshot.kms_key_id.as_deref(), Some(key(&region).as_str()));
        for (tag, value) in [
            (tags::POLICY, "vault"),
            (tags::RULE, region.as_str()),
            (tags::SOURCE_SNAPSHOT, source.snapshot.id.as_str()),
            (tags::SOURCE_ACCOUNT, MEMBER),
            (tags::SOURCE_REGION, HOME),
            (tags::SOURCE_VOLUME, volume.as_str()),
            (tags::SOURCE_START_TIME, &tags::instant(source.snapshot.start_time)),
            (tags::SLOT, "2026-11-22T02:00:00Z"),
            (tags::EXPIRES_AT, "2026-11-25T02:31:00Z"),
        ] {
            assert_eq!(tags.get(tag).map(String::as_str), Some(value), "{tag}");
        }
    }
    sim.advance(hours(1));
    drop(sim.take_journal());
    let again = copy(&sim, &[copies()], told_of(&sim, &source.snapshot.id, MEMBER));
    assert_eq!(again.report.status, Status::Succeeded);
    let settled = sweep(&sim, &[copies()]);
    assert_eq!(settled.report.status, Status::Succeeded);
    assert_eq!(mutations(&sim), Vec::<String>::new());
    let coverage = &settled.report.coverage;
    assert_eq!(coverage.len(), 2, "one line per Region");
    assert!(coverage.iter().all(|it| it.volume_id == volume && it.age_minutes == Some(90)));
}

#[test]
fn an_event_asks_for_what_it_names_and_no_more() {
    let sim = world();
    let source = shared(&sim, |_| {});
    for _ in 0..5 {
        shared(&sim, |_| {});
    }
    let run = copy(&sim, &[copies()], told_of(&sim, &source, MEMBER));
    assert_eq!(done(&run, "CopySnapshot"), 2);
    let journal = sim.take_journal();
    // The source, in either Region the copies of it and what is in progress, the former again after copying; both keys.
    assert_eq!(calls(&journal, "DescribeSnapshots"), 1 + 4 + 2);
    assert_eq!(calls(&journal, "DescribeKey"), 2);
    assert_eq!(journal.len(), 1 + 7 + 2 + 2, "{journal:?}");
}

#[test]
fn what_no_policy_wants_is_held_with_the_reason() {
    let sim = world();
    let stranger = sim.snapshot(&scope(OTHER, HOME), &id("vol-01234567"), |it| {
        it.shared_with.insert(account(VAULT));
    });
    let undescribed = shared(&sim, |it| it.snapshot.description = "by hand".into());
    let unshared = shared(&sim, |it| it.shared_with.clear());
    let gone: SnapshotId = id("snap-0123456789abcdef0");
    let own = sim.snapshot(&vault(), &id("vol-01234567"), |_| {});
    for (snapshot, owner, why) in [
        (&stranger, OTHER, "no policy names 444444444444 as SnapshotOwner"),
        (&undescribed, MEMBER, "no policy's DescriptionRegex matches its description"),
        (&unshared, MEMBER, "not shared with this account, or not any more"),
        (&gone, MEMBER, "not shared with this account, or not any more"),
        (&own, VAULT, "this account's own snapshot, not a shared one"),
        // The event is a hint: EC2 says whose it is.
        (&stranger, MEMBER, "not shared with this account, or not any more"),
    ] {
        let run = copy(&sim, &[copies()], told_of(&sim, snapshot, owner));
        assert_eq!((failure(&run).as_str(), held(&run, snapshot)), ("", vec![why.to_owned()]));
    }
    let run = sweep(&sim, &[copies()]);
    assert_eq!(failure(&run), "");
    assert_eq!(mutations(&sim), Vec::<String>::new());
}

#[test]
fn a_hostile_description_decides_nothing() {
    for description in [
        "Created for policy: \u{0}\r\n\"}]}{{${jndi}} slot: 9999-12-31T23:59:59Z volume: vol-0123456789abcdef0",
        "Created for policy: x slot: 2026-11-22T02:00:00Z volume: vol-ffffffff name: ../../etc",
        "Created for policy: x slot: yesterday volume: vol-1 snapferry:expires-at: 9999-01-01T00:00:00Z",
        &format!("Created for policy: {}", "é".repeat(255)),
        &format!("Created for policy: {}", " slot: volume: ".repeat(30)),
    ] {
        let sim = world();
        let mut policy = copies();
        let parameters = &mut policy["PolicyDetails"]["EventSource"]["Parameters"];
        parameters["DescriptionRegex"] = json!("^Created for policy: ");
        let source = shared(&sim, |it| it.snapshot.description = description.into());
        let run = sweep(&sim, &[policy]);
        assert_eq!((failure(&run).as_str(), done(&run, "CopySnapshot")), ("", 2), "{description}");
        for copy in copies_of(&sim, &source) {
            let tags = &copy.snapshot.tags;
            assert_eq!(tags[tags::EXPIRES_AT], "2026-11-25T02:01:00Z");
            assert_eq!(tags[tags::SOURCE_VOLUME], "vol-0123456789abcdef0");
            assert_eq!(tags[tags::POLICY], "vault");
        }
    }
}

#[test]
fn a_forged_slot_does_not_pass_for_fresh_data_nor_expire_the_honest() {
    let sim = world();
    shared(&sim, |_| {});
    sweep(&sim, &[copies()]);
    sim.advance(days(1));
    shared(&sim, |it| {
        it.snapshot.description = it.snapshot.description.replace("2026-11-22", "2099-11-22");
    });
    sweep(&sim, &[copies()]);
    sim.advance(hours(1));
    let run = sweep(&sim, &[copies()]);
    assert!(
        run.report.coverage.iter().all(|it| it.age_minutes == Some(60)),
        "{:?}",
        run.report.coverage
    );
}

#[test]
fn a_pending_source_waits() {
    let sim = world();
    let source = shared(&sim, |it| it.snapshot.state = State::Pending);
    for what in [told_of(&sim, &source, MEMBER), CopyScope::Sweep] {
        let run = copy(&sim, &[copies()], what);
        let waiting = lines(&run, "CopySnapshot", OutcomeName::Deferred);
        assert_eq!(waiting.len(), 2);
        assert_eq!(waiting[0].error.as_ref().unwrap().message, format!("{source} is pending"));
        assert_eq!((failure(&run).as_str(), run.report.status), ("", Status::Incomplete));
    }
    sim.change(&source, |it| it.snapshot.state = State::Completed);
    assert_eq!(done(&sweep(&sim, &[copies()]), "CopySnapshot"), 2);
}

#[test]
fn a_failed_source_is_held() {
    let sim = world();
    let source = shared(&sim, |it| it.snapshot.state = State::Error);
    let run = sweep(&sim, &[copies()]);
    assert_eq!(failure(&run), "");
    let why = run.report.held.iter().map(|it| it.reason.as_str());
    assert_eq!(why.collect::<Vec<_>>(), ["the source is error"; 2]);
    assert_eq!(copies_of(&sim, &source).len(), 0);
}

#[test]
fn a_failed_copy_is_told_once_and_made_again() {
    let sim = world();
    let sealed = format!("arn:aws:kms:{HOME}:{MEMBER}:key/of-the-member");
    sim.key(&sealed, &[]);
    let source = shared(&sim, |it| {
        it.snapshot.encrypted = true;
        it.snapshot.kms_key_id = Some(sealed.as_str().into());
    });
    assert_eq!(failure(&sweep(&sim, &[copies()])), "", "EC2 has said yes");
    sim.advance(hours(1));
    assert_eq!(in_state(&sim, &scope(VAULT, REGIONS[0]), State::Error).len(), 1);
    sim.change_key(&sealed, |it| it.users.extend([account(VAULT)])); // the remedy
    let failed = copies_of(&sim, &source)[0].snapshot.id.clone();
    let run = sweep(&sim, &[copies()]);
    let told = failure(&run);
    for wanted in [
        "ActionsFailed: CopySnapshot of ",
        failed.as_str(),
        source.as_str(),
        "ended in error: Given key ID is not accessible",
        "kms:CreateGrant",
    ] {
        assert!(told.contains(wanted), "{wanted}: {told}");
    }
    assert_eq!((done(&run, "CopySnapshot"), done(&run, "DeleteSnapshot")), (2, 0));
    sim.advance(hours(1));
    let run = sweep(&sim, &[copies()]);
    assert_eq!((failure(&run).as_str(), done(&run, "DeleteSnapshot")), ("", 2), "cleared away");
    drop(sim.take_journal());
    assert_eq!(failure(&sweep(&sim, &[copies()])), "");
    assert_eq!(mutations(&sim), Vec::<String>::new());
    let left = copies_of(&sim, &source);
    assert!(left.len() == 2 && left.iter().all(|it| it.snapshot.state == State::Completed));
}

#[test]
fn a_failed_copy_event_repairs_that_copy() {
    let sim = world();
    let source = shared(&sim, |_| {});
    sweep(&sim, &[copies()]);
    sim.advance(hours(1));
    let failed = in_state(&sim, &scope(VAULT, REGIONS[0]), State::Completed)[0].clone();
    sim.change(&failed, |it| it.snapshot.state = State::Error);
    let event = json!({"detail-type": "EBS Snapshot Notification", "region": REGIONS[0],
        "source": "aws.ec2", "detail": {"event": "copySnapshot", "result": "failed",
        "source": format!("arn:aws:ec2::{HOME}:snapshot/{source}"),
        "snapshot_id": format!("arn:aws:ec2::{}:snapshot/{failed}", REGIONS[0])}});
    let event = CopyEvent::parse(&event).unwrap();
    let run = copy(&sim, &[copies()], event.what);
    assert_eq!((done(&run, "CopySnapshot"), done(&run, "DeleteSnapshot")), (1, 0));
    sim.advance(hours(1));
    sweep(&sim, &[copies()]);
    assert!(sim.record(&failed).is_none(), "cleared away once there is a good one");
}

#[test]
fn a_copy_that_keeps_failing_is_tried_once_an_hour_and_told_every_time() {
    let sim = world();
    let source = shared(&sim, |_| {});
    sweep(&sim, &[copies()]);
    let mut copied = 0;
    for _ in 0..30 {
        sim.advance(minutes(10));
        for copy in copies_of(&sim, &source) {
            sim.change(&copy.snapshot.id, |it| it.snapshot.state = State::Error);
        }
        let run = sweep(&sim, &[copies()]);
        copied += done(&run, "CopySnapshot");
        assert!(failure(&run).starts_with("ActionsFailed: "), "never quiet");
        assert!(copies_of(&sim, &source).len() <= 2 * 3, "no heap of failed ones");
    }
    assert!((2 * 4..=2 * 6).contains(&copied), "{copied} copies in five hours to two Regions");
}

/// What a run says when the key of the first Region is as `change` makes it. The other Region is served.
fn with_key(change: impl FnOnce(&Sim, &mut Value)) -> String {
    let sim = world();
    let source = shared(&sim, |_| {});
    let mut policy = copies();
    change(&sim, &mut policy);
    let run = sweep(&sim, &[policy]);
    assert_eq!(done(&run, "CopySnapshot"), 1, "the other Region is served");
    let made = copies_of(&sim, &source);
    assert_eq!(made[0].region.as_str(), REGIONS[1]);
    let failed = lines(&run, "CopySnapshot", OutcomeName::Failed);
    assert_eq!(failed[0].source_snapshot_id.as_ref(), Some(&source));
    let told = failure(&run);
    let start = format!("ActionsFailed: CopySnapshot of {source} in {VAULT}/{}: ", REGIONS[0]);
    assert!(told.starts_with(&start), "{told}");
    assert_eq!(calls(&sim.take_journal(), "CopySnapshot"), 1, "EC2 is not even asked");
    told[start.len()..].to_owned()
}

fn with_key_as(change: impl FnOnce(&mut snapferry_sim::SimKey)) -> String {
    with_key(|sim, _| sim.change_key(&key(REGIONS[0]), change))
}

#[test]
fn a_key_that_cannot_be_used_is_named_with_the_remedy() {
    assert_eq!(
        with_key_as(|it| it.key.state = "Disabled".into()),
        "key arn:aws:kms:eu-west-1:222222222222:key/of-the-vault is disabled: enable it with kms:EnableKey"
    );
    assert_eq!(
        with_key_as(|it| it.key.state = "PendingDeletion".into()),
        "key arn:aws:kms:eu-west-1:222222222222:key/of-the-vault is pending deletion: cancel that with kms:CancelKeyDeletion and enable it, or name another key; copies under it become unreadable when it goes"
    );
    assert_eq!(
        with_key_as(|it| it.key.state = "PendingImport".into()),
        "key arn:aws:kms:eu-west-1:222222222222:key/of-the-vault is in state PendingImport, want Enabled"
    );
    assert_eq!(
        with_key_as(|it| it.key.usage = "SIGN_VERIFY".into()),
        "key arn:aws:kms:eu-west-1:222222222222:key/of-the-vault is for SIGN_VERIFY with SYMMETRIC_DEFAULT: EBS wants a symmetric key, ENCRYPT_DECRYPT with SYMMETRIC_DEFAULT"
    );
    assert_eq!(
        with_key_as(|it| it.key.spec = "RSA_2048".into()),
        "key arn:aws:kms:eu-west-1:222222222222:key/of-the-vault is for ENCRYPT_DECRYPT with RSA_2048: EBS wants a symmetric key, ENCRYPT_DECRYPT with SYMMETRIC_DEFAULT"
    );
}

#[test]
fn a_key_that_cannot_be_read_is_named_with_the_remedy() {
    let named = |arn: String| {
        move |_: &Sim, policy: &mut Value| {
            let rules = &mut policy["PolicyDetails"]["Actions"][0]["CrossRegionCopy"];
            rules[0]["EncryptionConfiguration"]["CmkArn"] = json!(arn);
        }
    };
    let missing = format!("arn:aws:kms:{}:{VAULT}:key/missing", REGIONS[0]);
    assert_eq!(
        with_key(named(missing)),
        "key arn:aws:kms:eu-west-1:222222222222:key/missing does not exist: correct CmkArn, or create the key in that account and Region"
    );
    let others = format!("arn:aws:kms:{}:{OTHER}:key/others", REGIONS[0]);
    let told = with_key(|sim, policy| {
        sim.key(&others, &[]);
        named(others.clone())(sim, policy);
    });
    let begins = "key arn:aws:kms:eu-west-1:444444444444:key/others cannot be read: AWS refused DescribeKey: not authorized to perform kms:DescribeKey (AccessDeniedException, request ID request-6); the policy of key arn:aws:kms:eu-west-1:444444444444:key/others lacks [{\"Action\":[\"kms:DescribeKey\",";
    assert!(told.starts_with(begins), "{told}");
    assert!(told.contains(", or arn:aws:iam::222222222222:role/function lacks ["), "{told}");
}

#[test]
fn a_key_of_another_region_is_refused_before_anything_runs() {
    let mut policy = copies();
    let rules = &mut policy["PolicyDetails"]["Actions"][0]["CrossRegionCopy"];
    rules[0]["EncryptionConfiguration"]["CmkArn"] = json!(key(REGIONS[1]));
    let sim = world();
    shared(&sim, |_| {});
    let told = failure(&sweep(&sim, &[policy]));
    assert!(told.contains(REGIONS[0]) && told.contains(&key(REGIONS[1])), "{told}");
    let copied = sim.records().into_iter().filter(|it| it.copy_of.is_some());
    assert_eq!(copied.filter(|it| it.region.as_str() == REGIONS[0]).count(), 0);
}

#[test]
fn a_key_that_kms_does_not_tell_about_now_is_waited_for() {
    let sim = world();
    shared(&sim, |_| {});
    sim.on_call(|call| match call.operation {
        "DescribeKey" => Fault::Refuse(ErrorKind::Throttled, "ThrottlingException"),
        _ => Fault::None,
    });
    let run = sweep(&sim, &[copies()]);
    assert_eq!(lines(&run, "CopySnapshot", OutcomeName::Deferred).len(), 2);
    assert_eq!(failure(&run), "");
}

/// A night's share and sweep, for `nights` nights from the first.
fn nights(sim: &Sim, nights: usize) {
    for _ in 0..nights {
        rotate(sim, &[sharing()]);
        sim.advance(minutes(30));
        rotate(sim, &[sharing()]);
        let run = sweep(sim, &[copies()]);
        assert_eq!(failure(&run), "");
        sim.advance(days(1) - minutes(30));
    }
}

#[test]
fn copies_expire_but_never_the_newest_of_a_volume() {
    let sim = world();
    let volumes = [target(&sim), target(&sim)];
    nights(&sim, 6);
    let there = |region| in_state(&sim, &scope(VAULT, region), State::Completed);
    // Three days are three nights.
    for region in REGIONS {
        assert_eq!(there(region).len(), 2 * 3, "{region}");
    }
    // One volume dies: its snapshots go or stay, its newest copies stay for good.
    sim.delete_volume(&volumes[0]);
    nights(&sim, 10);
    let newest = |volume: &VolumeId| {
        let records = sim.records().into_iter();
        records
            .filter(|it| it.snapshot.tags.get(tags::SOURCE_VOLUME) == Some(&volume.to_string()))
            .map(|it| it.snapshot.tags[tags::SLOT].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(newest(&volumes[0]), ["2026-11-27T02:00:00Z"; 2]);
    assert_eq!(newest(&volumes[1]).len(), 2 * 3);
    let run = sweep(&sim, &[copies()]);
    assert_eq!(failure(&run), "");
    assert_eq!(run.n_withheld, 0);
}

#[test]
fn a_copy_past_its_retention_is_not_made_again_while_the_source_is_still_shared() {
    let sim = world();
    let old = shared(&sim, |_| {});
    sweep(&sim, &[copies()]);
    sim.advance(days(2));
    let young = shared(&sim, |_| {});
    sweep(&sim, &[copies()]);
    sim.advance(days(2));
    let run = sweep(&sim, &[copies()]);
    assert_eq!((done(&run, "DeleteSnapshot"), done(&run, "CopySnapshot")), (2, 0));
    let run = sweep(&sim, &[copies()]);
    assert_eq!((copies_of(&sim, &old).len(), copies_of(&sim, &young).len()), (0, 2));
    let why: Vec<_> = run.report.held.iter().map(|it| it.reason.as_str()).collect();
    assert_eq!(why, ["past its retention, which ended at 2026-11-25T02:01:00Z"; 2]);
    assert_eq!(run.report.status, Status::Succeeded);
    // Nor by the event, should it come again.
    let run = copy(&sim, &[copies()], told_of(&sim, &old, MEMBER));
    assert_eq!(done(&run, "CopySnapshot"), 0);
}

#[test]
fn a_source_that_goes_changes_nothing_in_the_vault() {
    let sim = world();
    let deleted = shared(&sim, |_| {});
    let unshared = shared(&sim, |_| {});
    sweep(&sim, &[copies()]);
    sim.advance(hours(1));
    sweep(&sim, &[copies()]); // the second of the volume, once there is a first
    sim.advance(hours(1));
    sim.remove(&deleted);
    sim.change(&unshared, |it| it.shared_with.clear());
    drop(sim.take_journal());
    let run = sweep(&sim, &[copies()]);
    assert_eq!((failure(&run).as_str(), run.report.status), ("", Status::Succeeded));
    assert_eq!(mutations(&sim), Vec::<String>::new());
    assert_eq!(copies_of(&sim, &deleted).len(), 2);
    assert_eq!(copies_of(&sim, &unshared).len(), 2);
}

#[test]
fn copies_beyond_the_limit_of_a_region_wait() {
    let sim = world();
    for n in 0..25 {
        shared(&sim, |it| it.snapshot.volume_id = id(&format!("vol-{n:08x}")));
    }
    let run = sweep(&sim, &[copies()]);
    assert_eq!(done(&run, "CopySnapshot"), 40);
    let waiting = lines(&run, "CopySnapshot", OutcomeName::Deferred);
    assert_eq!(waiting.len(), 10);
    let why = &waiting[0].error.as_ref().unwrap().message;
    assert_eq!(why, "20 copies are in progress in eu-west-1");
    assert_eq!((failure(&run).as_str(), run.report.status), ("", Status::Incomplete));
    assert_eq!(calls(&sim.take_journal(), "CopySnapshot"), 40, "EC2 is not even asked");
    // Nor by an event's run, which looks at what is in progress as well.
    let source = shared(&sim, |_| {});
    let run = copy(&sim, &[copies()], told_of(&sim, &source, MEMBER));
    assert_eq!(lines(&run, "CopySnapshot", OutcomeName::Deferred).len(), 2);
    assert_eq!(calls(&sim.take_journal(), "CopySnapshot"), 0);
    assert_eq!(failure(&run), "");
    sim.advance(hours(1));
    let run = sweep(&sim, &[copies()]);
    assert_eq!((done(&run, "CopySnapshot"), run.report.status), (12, Status::Succeeded));
}

#[test]
fn a_dry_run_plans_and_does_nothing() {
    let sim = world();
    shared(&sim, |_| {});
    sweep(&sim, &[copies()]);
    sim.advance(hours(1));
    shared(&sim, |_| {});
    drop(sim.take_journal());
    let mut event = CopyEvent::default();
    event.common.dry_run = true;
    event.common.now = Some(at("2026-11-30T00:00:00Z"));
    let documents = read_good(&[copies()]);
    let aws = sim.aws(&vault());
    let pause = sim.pause();
    let run = drive(reconcile::copy(&aws, documents, &event, sim.now(), &limits(&pause)));
    let run = run.unwrap().unwrap();
    assert_eq!(mutations(&sim), Vec::<String>::new());
    assert_eq!(run.report.status, Status::Planned);
    assert!(run.report.actions.iter().all(|it| it.outcome != OutcomeName::Done));
    assert_eq!(failure(&run), "");
}

#[test]
fn a_target_region_that_is_shut_stops_no_other() {
    let sim = world();
    let source = shared(&sim, |_| {});
    sim.disable_region(&scope(VAULT, REGIONS[0]), true);
    let run = sweep(&sim, &[copies()]);
    assert_eq!(done(&run, "CopySnapshot"), 1);
    let told = failure(&run);
    assert!(told.starts_with("ScopesUnreadable: 222222222222/eu-west-1: "), "{told}");
    assert_eq!(told.matches("eu-west-1: AWS refused").count(), 1, "told once: {told}");
    sim.disable_region(&scope(VAULT, REGIONS[0]), false);
    assert_eq!(failure(&sweep(&sim, &[copies()])), "");
    assert_eq!(copies_of(&sim, &source).len(), 2);
}

#[test]
fn nothing_expires_while_its_guards_cannot_be_read() {
    let sim = world();
    target(&sim);
    nights(&sim, 3);
    sim.advance(days(10));
    sim.on_call(|call| match call.operation {
        "DescribeImages" => Fault::Refuse(ErrorKind::AccessDenied, "UnauthorizedOperation"),
        _ => Fault::None,
    });
    drop(sim.take_deletions());
    let fresh = shared(&sim, |_| {});
    let run = sweep(&sim, &[copies()]);
    assert_eq!((sim.take_deletions().len(), done(&run, "CopySnapshot")), (0, 2));
    assert_eq!(copies_of(&sim, &fresh).len(), 2);
    assert!(run.report.held.iter().any(|it| it.reason.starts_with("cannot tell whether an AMI")));
}

#[test]
fn a_copy_that_something_needs_does_not_expire() {
    let changes: [fn(&mut Record); 4] = [
        |it| it.image = Some("ami-1".into()),
        |it| it.lock = Some(Lock::forever()),
        |it| {
            it.snapshot.tags.insert("aws:backup:source-resource".into(), "x".into());
        },
        |it| drop(it.snapshot.tags.remove(tags::SOURCE_VOLUME)),
    ];
    for change in changes {
        let sim = world();
        target(&sim);
        nights(&sim, 3);
        let oldest = in_state(&sim, &scope(VAULT, REGIONS[0]), State::Completed)[0].clone();
        sim.change(&oldest, change);
        sim.advance(days(10));
        let run = sweep(&sim, &[copies()]);
        assert_eq!(run.n_withheld, 0);
        assert!(sim.record(&oldest).is_some());
        assert!(!sim.take_deletions().is_empty(), "others of its age do");
    }
}

#[test]
fn of_a_policy_that_is_gone_or_disabled_what_is_left() {
    let sim = world();
    target(&sim);
    nights(&sim, 3);
    sim.advance(days(10));
    drop(sim.take_deletions());
    let mut disabled = copies();
    disabled["State"] = json!("DISABLED");
    sweep(&sim, &[disabled]);
    assert_eq!(sim.take_deletions().len(), 0, "a disabled policy does nothing");
    let mut other = copies();
    other["Name"] = json!("other");
    other["PolicyDetails"]["EventSource"]["Parameters"]["SnapshotOwner"] = json!([OTHER]);
    let run = sweep(&sim, &[other.clone(), json!({"PolicyDetails": 1})]);
    assert!(failure(&run).starts_with("InvalidPolicy"));
    assert_eq!(sim.take_deletions().len(), 0, "the broken document could be theirs");
    let run = sweep(&sim, &[other]);
    assert_eq!(failure(&run), "");
    assert_eq!(sim.take_deletions().len(), 2 * 2, "all but the newest in each Region");
}
