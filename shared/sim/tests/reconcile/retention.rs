//! Weeks of rotation: what stays, what goes, and what is left alone.

use serde_json::{Value, json};
use snapferry_core::ec2::ErrorKind;
use snapferry_core::inventory::State;
use snapferry_core::report::OutcomeName;
use snapferry_core::tags;
use snapferry_sim::Fault;

use crate::support::{
    answer_shares, at, days, every, failure, held, hours, in_state, lines, member, minutes,
    mutations, nightly, policy, read, rotate, rotate_for, sim, slots, target,
};

/// The slots that stay after three weeks of hourly runs under this rule.
fn after_three_weeks(retain: &Value) -> Vec<String> {
    let sim = sim();
    target(&sim);
    rotate_for(&sim, &[nightly(retain)], 21, hours(1));
    rotate(&sim, &[nightly(retain)]);
    slots(&sim, &member())
}

fn nights(from: u32, to: u32) -> Vec<String> {
    (from..=to).map(|day| format!("2026-12-{day:02}T02:00:00Z")).collect()
}

#[test]
fn by_count() {
    // Three that are completed, and the one of this minute, which is pending and counts as nothing.
    assert_eq!(after_three_weeks(&json!({"Count": 3})), nights(10, 13));
}

#[test]
fn by_age() {
    let retain = json!({"Interval": 5, "IntervalUnit": "DAYS"});
    // The one of the 8th was made at 02:01 and is exactly so old.
    assert_eq!(after_three_weeks(&retain), nights(9, 13));
}

#[test]
fn by_both_while_either_keeps_it() {
    let longer_count = json!({"Count": 7, "Interval": 2, "IntervalUnit": "DAYS"});
    assert_eq!(after_three_weeks(&longer_count), nights(6, 13));
    let longer_age = json!({"Count": 2, "Interval": 1, "IntervalUnit": "WEEKS"});
    assert_eq!(after_three_weeks(&longer_age), nights(7, 13));
}

#[test]
fn when_backups_stop_the_minimum_stays() {
    for (minimum, left) in [(None, 1), (Some(3), 3)] {
        let sim = sim();
        let volume = target(&sim);
        let mut retain = json!({"Interval": 2, "IntervalUnit": "DAYS"});
        if let Some(n) = minimum {
            retain["MinimumCount"] = json!(n);
        }
        rotate_for(&sim, &[nightly(&retain)], 4, hours(6));
        sim.change_volume(&volume, |it| it.usable = false);
        rotate_for(&sim, &[nightly(&retain)], 60, hours(6));
        assert_eq!(slots(&sim, &member()).len(), left, "{retain}");
        let run = rotate(&sim, &[nightly(&retain)]);
        let newest = run.report.coverage[0].newest_completed.as_deref();
        assert!(newest.is_some_and(|it| it.starts_with("2026-11-25T")), "{newest:?}");
        assert!(run.report.coverage[0].age_minutes.unwrap() > 59 * 24 * 60);
    }
}

#[test]
fn one_in_error_is_replaced_and_deleted() {
    let sim = sim();
    target(&sim);
    let policy = [nightly(&json!({"Count": 3}))];
    rotate(&sim, &policy);
    let failed = sim.records()[0].snapshot.id.clone();
    sim.change(&failed, |it| {
        it.snapshot.state = State::Error;
        it.snapshot.state_message = Some("the volume was gone".into());
        it.ends = None;
    });
    sim.advance(minutes(1)); // EC2 wants 15 seconds between two of a volume
    let run = rotate(&sim, &policy);
    let created = lines(&run, "CreateSnapshot", OutcomeName::Done);
    assert_eq!(created.len(), 1);
    let reason = format!("no good snapshot for this slot, {failed} ended in error");
    assert_eq!(created[0].reason, reason);
    let deleted = lines(&run, "DeleteSnapshot", OutcomeName::Done);
    assert_eq!(deleted[0].snapshot_id.as_ref(), Some(&failed));
    assert_eq!(deleted[0].reason, "ended in error: the volume was gone");
    assert_eq!(slots(&sim, &member()), ["2026-11-22T02:00:00Z"]);
}

#[test]
fn those_in_error_and_pending_take_no_place() {
    let sim = sim();
    target(&sim);
    let policy = [nightly(&json!({"Count": 2}))];
    rotate_for(&sim, &policy, 2, days(1));
    let good = in_state(&sim, &member(), State::Completed);
    sim.set(|it| it.snapshot_takes = days(365)); // from now on nothing is ever completed
    rotate_for(&sim, &policy, 5, days(1));
    assert_eq!(in_state(&sim, &member(), State::Completed), good);
    assert_eq!(in_state(&sim, &member(), State::Pending).len(), 5);
}

#[test]
fn of_a_deleted_volume_those_by_count_stay_and_those_by_age_go() {
    for (retain, left) in
        [(json!({"Count": 4}), 4), (json!({"Interval": 6, "IntervalUnit": "DAYS"}), 1)]
    {
        let sim = sim();
        let volume = target(&sim);
        rotate_for(&sim, &[nightly(&retain)], 4, days(1));
        sim.delete_volume(&volume);
        rotate_for(&sim, &[nightly(&json!({"Count": 1}))], 0, days(1));
        let count_of_one = nightly(&json!({"Count": 1}));
        let later = if left == 4 { &count_of_one } else { &nightly(&retain) };
        rotate_for(&sim, std::slice::from_ref(later), 30, days(1));
        assert_eq!(slots(&sim, &member()).len(), left, "{retain}");
        let run = rotate(&sim, std::slice::from_ref(later));
        let why = held(&run, &sim.records()[0].snapshot.id).join("");
        let wanted = if left == 4 { "its volume is gone" } else { "the newest completed one" };
        assert!(why.is_empty() || why.contains(wanted), "{why}");
        assert_eq!(failure(&run), "");
    }
}

#[test]
fn of_a_volume_that_is_no_target_any_more_all_stay() {
    let sim = sim();
    let volume = target(&sim);
    rotate_for(&sim, &[nightly(&json!({"Count": 9}))], 5, days(1));
    sim.change_volume(&volume, |it| drop(it.tags.remove("Backup")));
    rotate_for(&sim, &[nightly(&json!({"Count": 1}))], 30, days(1));
    assert_eq!(slots(&sim, &member()).len(), 5);
    let run = rotate(&sim, &[nightly(&json!({"Count": 1}))]);
    let oldest = &sim.records()[0].snapshot.id;
    assert_eq!(held(&run, oldest), ["its volume is no target any more"]);
}

#[test]
fn coinciding_schedules_make_one_snapshot_that_the_longer_rule_keeps() {
    let sim = sim();
    target(&sim);
    let schedules = [
        json!({"Name": "nightly", "CreateRule": every(24), "RetainRule": {"Count": 2}}),
        json!({"Name": "sundays", "CreateRule": {"CronExpression": "cron(0 2 ? * SUN *)"},
               "RetainRule": {"Count": 3}}),
    ];
    let both = policy("daily", &schedules);
    rotate_for(&sim, &[both], 22, hours(1));
    let kept = slots(&sim, &member());
    let sundays = ["2026-11-22", "2026-11-29", "2026-12-06", "2026-12-13"];
    let wanted: Vec<String> = sundays[1..3]
        .iter()
        .chain(&["2026-12-12", "2026-12-13"])
        .map(|day| format!("{day}T02:00:00Z"))
        .collect();
    assert_eq!(kept, wanted, "three Sundays, two nights, and no slot twice");
    let of_sunday = sim.records().pop().unwrap();
    assert_eq!(of_sunday.snapshot.tags[tags::SCHEDULE], "nightly,sundays");
    assert!(of_sunday.snapshot.description.contains("schedule: nightly,sundays slot: "));
}

#[test]
fn a_schedule_that_comes_to_coincide_takes_no_second_place() {
    let sim = sim();
    target(&sim);
    let one =
        |name: &str| json!({"Name": name, "CreateRule": every(24), "RetainRule": {"Count": 2}});
    rotate_for(&sim, &[policy("daily", &[one("a")])], 2, days(1));
    // In the middle of a slot's window the policy gets a second schedule, and loses the first for one run.
    let both = [policy("daily", &[one("a"), one("b")])];
    rotate_for(&sim, &both, 1, hours(12));
    rotate_for(&sim, &[policy("daily", &[one("b")])], 1, days(1));
    rotate_for(&sim, &both, 4, hours(1));
    let mut kept = slots(&sim, &member());
    kept.dedup();
    assert_eq!(kept.len(), 2, "{kept:?}");
}

#[test]
fn of_a_policy_that_is_gone_only_what_has_expired_goes() {
    let sim = sim();
    target(&sim);
    let aged = policy(
        "aged",
        &[json!({"Name": "s", "CreateRule": every(24),
                 "RetainRule": {"Interval": 5, "IntervalUnit": "DAYS"}})],
    );
    let counted = policy(
        "counted",
        &[json!({"Name": "s", "CreateRule": every(24), "RetainRule": {"Count": 3}})],
    );
    rotate_for(&sim, &[aged, counted], 3, days(1));
    let stays = nightly(&json!({"Count": 1}));
    let of_policy = |name: &str| {
        let records = sim.records().into_iter();
        records.filter(|it| it.snapshot.tags[tags::POLICY] == name).count()
    };
    // Not while a document cannot be read: it could be theirs.
    sim.advance(days(10));
    let broken = json!({"Name": "aged", "PolicyDetails": {"PolicyType": "WHAT"}});
    let run = rotate(&sim, &[stays.clone(), broken.clone()]);
    assert!(failure(&run).starts_with("InvalidPolicy: "), "{}", failure(&run));
    assert_eq!(read(&[stays.clone(), broken]).policies.len(), 1);
    assert_eq!((of_policy("aged"), of_policy("counted")), (3, 3));
    sim.advance(hours(1));
    let run = rotate(&sim, std::slice::from_ref(&stays));
    assert_eq!(failure(&run), "");
    assert_eq!((of_policy("aged"), of_policy("counted")), (0, 3));
    let mut reasons: Vec<_> = lines(&run, "DeleteSnapshot", OutcomeName::Done)
        .iter()
        .map(|line| line.reason.clone())
        .collect();
    reasons.sort();
    assert_eq!(reasons[0], "its policy or rule is gone, and it expired at 2026-11-27T02:01:00Z");
    rotate_for(&sim, &[stays], 400, days(10));
    assert_eq!(of_policy("counted"), 3, "nothing says when those expire");
}

#[test]
fn of_a_schedule_that_is_renamed_only_what_has_expired_goes() {
    let sim = sim();
    target(&sim);
    let named = |name: &str| {
        let retain = json!({"Interval": 5, "IntervalUnit": "DAYS"});
        [policy("daily", &[json!({"Name": name, "CreateRule": every(24), "RetainRule": retain})])]
    };
    rotate_for(&sim, &named("old"), 3, days(1));
    rotate_for(&sim, &named("new"), 2, days(1));
    assert_eq!(slots(&sim, &member()).len(), 5);
    rotate_for(&sim, &named("new"), 20, hours(5));
    rotate(&sim, &named("new"));
    let left = sim.records();
    assert!(left.iter().all(|it| it.snapshot.tags[tags::SCHEDULE] == "new"));
    assert_eq!(left.len(), 5);
}

#[test]
fn what_is_served_late_is_served_once() {
    let sim = sim();
    target(&sim);
    sim.advance(hours(20));
    let policy = [nightly(&json!({"Count": 3}))];
    rotate(&sim, &policy);
    rotate(&sim, &policy);
    assert_eq!(slots(&sim, &member()), ["2026-11-22T02:00:00Z"]);
    assert!(sim.records()[0].snapshot.start_time > at("2026-11-22T22:00:00Z"));
}

#[test]
fn a_default_key_is_told_from_the_first_run_on_and_everything_else_is_done() {
    let sim = sim();
    let open = target(&sim);
    let sealed = target(&sim);
    let key = "arn:aws:kms:eu-central-1:333333333333:key/ebs";
    sim.key(key, &[]);
    sim.change_key(key, |it| it.key.aws_managed = true);
    sim.change_volume(&sealed, |it| it.kms_key_id = Some(key.into()));
    let sharing = [policy(
        "daily",
        &[json!({"Name": "nightly", "CreateRule": every(24), "RetainRule": {"Count": 2},
                 "ShareRules": [{"TargetAccounts": [crate::support::VAULT]}]})],
    )];
    for _ in 0..3 {
        let run = rotate(&sim, &sharing);
        let told = failure(&run);
        assert!(told.starts_with("ActionsFailed: ModifySnapshotAttribute of "), "{told}");
        for wanted in [sealed.as_str(), key, "Remedies: ", "customer managed key"] {
            assert!(told.contains(wanted), "{wanted}: {told}");
        }
        assert!(!told.contains(open.as_str()), "{told}");
        let failed = lines(&run, "ModifySnapshotAttribute", OutcomeName::Failed);
        assert_eq!(failed.len(), 1, "once per volume");
        sim.advance(days(1));
    }
    let shares = sim.take_shares();
    assert!(!shares.is_empty());
    for share in shares {
        assert_eq!(sim.record(&share.snapshot).unwrap().snapshot.volume_id, open);
    }
}

#[test]
fn a_share_that_somebody_took_back_is_given_again() {
    let sim = sim();
    target(&sim);
    let sharing = [policy(
        "daily",
        &[json!({"Name": "nightly", "CreateRule": every(24), "RetainRule": {"Count": 2},
                 "ShareRules": [{"TargetAccounts": [crate::support::VAULT]}]})],
    )];
    rotate(&sim, &sharing);
    sim.advance(minutes(30));
    rotate(&sim, &sharing);
    let snapshot = sim.records()[0].snapshot.id.clone();
    sim.change(&snapshot, |it| it.shared_with.clear());
    assert_eq!(failure(&rotate(&sim, &sharing)), "");
    assert_eq!(sim.record(&snapshot).unwrap().shared_with.len(), 1);
    // And a record that somebody removed is written again, without sharing twice.
    sim.change(&snapshot, |it| {
        it.snapshot.tags.remove(tags::SHARED_WITH);
    });
    drop(sim.take_journal());
    rotate(&sim, &sharing);
    assert_eq!(mutations(&sim), [format!("CreateTags {snapshot}")]);
    assert!(answer_shares(&sim, &[]).iter().all(|run| failure(run).is_empty()));
}

#[test]
fn a_volume_that_is_snapshotted_too_often_waits() {
    let sim = sim();
    target(&sim);
    sim.set(|it| it.snapshot_every = hours(1));
    let one =
        |name: &str| json!({"Name": name, "CreateRule": every(24), "RetainRule": {"Count": 2}});
    let two = [policy("daily", &[one("a")]), policy("weekly", &[one("a")])];
    let run = rotate(&sim, &two);
    assert_eq!(lines(&run, "CreateSnapshot", OutcomeName::Done).len(), 1);
    let waiting = lines(&run, "CreateSnapshot", OutcomeName::Deferred);
    let why = &waiting[0].error.as_ref().unwrap().message;
    assert!(why.contains("SnapshotCreationPerVolumeRateExceeded"), "{why}");
    assert_eq!(failure(&run), "");
    sim.advance(hours(1));
    rotate(&sim, &two);
    assert_eq!(slots(&sim, &member()).len(), 2);
}

#[test]
fn two_policies_for_one_volume_take_the_time_that_ec2_wants_in_between() {
    let sim = sim();
    target(&sim);
    target(&sim);
    let one =
        |name: &str| json!({"Name": name, "CreateRule": every(24), "RetainRule": {"Count": 2}});
    let three = ["a", "b", "c"].map(|name| policy(name, &[one("s")]));
    let began = sim.now();
    let run = rotate(&sim, &three);
    assert_eq!(lines(&run, "CreateSnapshot", OutcomeName::Done).len(), 6);
    assert_eq!(run.report.actions.len(), 6, "{:?}", run.report.actions);
    let took = sim.now().duration_since(began).as_secs();
    assert_eq!(took, 30, "two pauses, however many volumes");
}

#[test]
fn a_record_of_shares_that_fails_is_told_and_written_by_the_next_run() {
    let sim = sim();
    target(&sim);
    target(&sim);
    let sharing = [policy(
        "daily",
        &[json!({"Name": "nightly", "CreateRule": every(24), "RetainRule": {"Count": 2},
                 "ShareRules": [{"TargetAccounts": [crate::support::VAULT]}]})],
    )];
    rotate(&sim, &sharing);
    sim.advance(minutes(30));
    sim.on_call(|call| match call.operation {
        "CreateTags" => Fault::Refuse(ErrorKind::AccessDenied, "UnauthorizedOperation"),
        _ => Fault::None,
    });
    let run = rotate(&sim, &sharing);
    let shares = lines(&run, "ModifySnapshotAttribute", OutcomeName::Done);
    assert_eq!(shares.len(), 2);
    assert_eq!(failure(&run).matches("ActionsFailed: CreateTags of snap-").count(), 1);
    sim.no_faults();
    drop(sim.take_journal());
    assert_eq!(failure(&rotate(&sim, &sharing)), "");
    assert_eq!(mutations(&sim).len(), 1, "one call for both");
}
