//! Grandfather, father, son, and counts in the vault: what stays of a long history, and that it is the same next time.

use std::collections::BTreeSet;

use jiff::civil::date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan, Zoned};
use serde_json::{Value, json};
use snapferry_tests::Result;
use snapferry_tests::local_aws::Place;
use snapferry_tests::stage::{HOME, Stage, TARGETS, VAULT};

use crate::common::{MEMBER, count, night, nightly, of_volumes, only_looked, run, vault_policy};

/// A volume of the member with these snapshots of ours, made a minute after their slots.
fn history(stage: &Stage, policy: &str, slots: &[Timestamp]) -> Result<(String, Vec<String>)> {
    let made = stage.aws.post(
        "seed",
        &json!({
            "account": MEMBER.account, "region": MEMBER.region, "tags": {"Backup": policy},
            "snapshots": slots.len(),
        }),
    )?;
    let list = |name: &str| -> Vec<String> {
        let ids = made[name].as_array().into_iter().flatten();
        ids.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let (volume, snapshots) = (list("volumes").remove(0), list("snapshots"));
    for (id, slot) in snapshots.iter().zip(slots) {
        let start = *slot + SignedDuration::from_mins(1);
        stage.aws.post("snapshot", &json!({
            "id": id, "start_time": start.to_string(),
            "description":
                format!("Created for policy: {policy} schedule: nightly slot: {slot} volume: {volume}"),
            "tags": {
                "snapferry:policy": policy, "snapferry:schedule": "nightly",
                "snapferry:slot": slot.to_string(),
            },
        }))?;
    }
    Ok((volume, snapshots))
}

/// The newest of each period, for the newest `n` periods, of nights that come newest first.
fn newest_of<P: PartialEq>(
    nights: &[Zoned],
    n: usize,
    period: impl Fn(&Zoned) -> P,
) -> BTreeSet<usize> {
    let mut seen: Vec<P> = Vec::new();
    let mut stays = BTreeSet::new();
    for (index, night) in nights.iter().enumerate() {
        let this = period(night);
        if seen.len() < n && !seen.contains(&this) {
            seen.push(this);
            stays.insert(index);
        }
    }
    stays
}

#[test]
fn of_sixty_days_exactly_what_keep_says_stays() -> Result<()> {
    let stage = Stage::new("keep")?;
    // Half past midnight in Berlin is the day before in UTC; the clock goes back in between, and some nights are missing.
    let berlin = TimeZone::get("Europe/Berlin")?;
    let newest = date(2025, 11, 16).at(0, 30, 0, 0).to_zoned(berlin)?;
    let nights: Vec<Zoned> = (0..60)
        .filter(|day| ![1, 9, 10, 30].contains(day))
        .map(|day| newest.checked_sub(day.days()))
        .collect::<std::result::Result<_, _>>()?;
    let slots: Vec<Timestamp> = nights.iter().map(Zoned::timestamp).collect();
    let (_, ids) = history(&stage, "gfs", &slots)?;

    let mut stays = newest_of(&nights, 5, Zoned::date);
    let iso_week = |night: &Zoned| {
        let week = night.date().iso_week_date();
        (week.year(), week.week())
    };
    stays.extend(newest_of(&nights, 4, iso_week));
    stays.extend(newest_of(&nights, 6, |night| (night.year(), night.month())));
    let stays: BTreeSet<&str> = stays.into_iter().map(|index| ids[index].as_str()).collect();
    assert!((8..=11).contains(&stays.len()), "{stays:?}");

    let mut policy = of_volumes(
        "gfs",
        &json!({
            "CreateRule": {"CronExpression": "cron(30 0 * * ? *)", "TimeZone": "Europe/Berlin"},
            "RetainRule": {"Keep": {"Daily": 5, "Weekly": 4, "Monthly": 6}},
        }),
    );
    let rotate = stage.function("rotate-snapshots", &policy)?;
    let event = json!({"ScheduledTime": slots[0].to_string()});
    let report = run(&stage, &rotate, &event)?;
    assert_eq!(count(&report, "CreateSnapshot"), 0, "the slot is served: {report}");
    assert_eq!(count(&report, "DeleteSnapshot"), u64::try_from(ids.len() - stays.len())?);
    let left = stage.aws.snapshots()?;
    assert_eq!(left.iter().map(|it| it.id.as_str()).collect::<BTreeSet<_>>(), stays);
    let reason = report["Actions"][0]["Reason"].as_str().unwrap_or_default();
    assert_eq!(reason, "not the newest of any period that Keep wants");
    stage.aws.clear("calls")?;
    assert_eq!(run(&stage, &rotate, &event)?["Actions"], json!([]));
    assert!(only_looked(&stage.aws)?);

    // A smaller Keep, from then on.
    policy["PolicyDetails"]["Schedules"][0]["RetainRule"] = json!({"Keep": {"Monthly": 2}});
    let mut smaller = event.clone();
    smaller["Policies"] = policy;
    run(&stage, &rotate, &smaller)?;
    let left = stage.aws.snapshots()?;
    let months = newest_of(&nights, 2, |night| (night.year(), night.month()));
    let months: BTreeSet<&str> = months.into_iter().map(|index| ids[index].as_str()).collect();
    assert_eq!(left.iter().map(|it| it.id.as_str()).collect::<BTreeSet<_>>(), months);
    Ok(())
}

#[test]
fn the_vault_keeps_the_newest_copies_and_comes_to_rest() -> Result<()> {
    let stage = Stage::new("vault-count")?;
    let nights: Vec<Timestamp> = ["2026-02-24", "2026-02-25", "2026-02-26", "2026-02-27"]
        .iter()
        .map(|day| format!("{day}T02:00:00Z").parse())
        .collect::<std::result::Result<_, _>>()?;
    let (_, ids) = history(&stage, "daily", &nights)?;
    let keys = [0, 1].map(|n| stage.key(Place { account: VAULT, region: TARGETS[n] }));
    let [count_key, lock_key] = keys;
    let mut policy = vault_policy(&[(TARGETS[0], &count_key?), (TARGETS[1], &lock_key?)]);
    let rules = &mut policy["PolicyDetails"]["Actions"][0]["CrossRegionCopy"];
    rules[0]["RetainRule"] = json!({"Count": 2});
    rules[1]["RetainRule"] = json!({"Keep": {"Daily": 2}});
    rules[1]["LockRule"] = json!({"Mode": "GOVERNANCE", "DurationDays": 5});
    let rotate = stage.function("rotate-snapshots", &nightly(&[HOME], &json!({"Count": 9})))?;
    let copy = stage.function("copy-shared-snapshots", &policy)?;
    let sources = |region: &str| -> Result<Vec<String>> {
        let copies =
            stage.aws.snapshots()?.into_iter().filter(|it| it.copied && it.region == region);
        Ok(copies.map(|it| it.tag("snapferry:source-snapshot").to_owned()).collect())
    };

    // Today's run shares what was there already, and a second one what it has made itself.
    run(&stage, &rotate, &night(1))?;
    let report = run(&stage, &copy, &json!({}))?;
    let first =
        (count(&report, "CopySnapshot"), count(&report, "Deferred"), count(&report, "Held"));
    assert_eq!(first, (2, 2, 4), "the first of the volume, and then the others: {report}");
    let why = report["Held"][0]["Reason"].as_str().unwrap_or_default();
    assert_eq!(why, "newer ones are all that the rule's retention keeps");
    let report = run(&stage, &copy, &json!({}))?;
    assert_eq!(
        (count(&report, "CopySnapshot"), count(&report, "LockSnapshot")),
        (2, 1),
        "{report}"
    );
    for region in TARGETS {
        let found = sources(region)?;
        assert_eq!(found.iter().collect::<BTreeSet<_>>(), ids[2..].iter().collect(), "{region}");
    }
    let report = run(&stage, &copy, &json!({}))?;
    assert_eq!(count(&report, "LockSnapshot"), 1, "{report}");
    run(&stage, &rotate, &night(1))?;
    let newest = stage.aws.snapshots()?.into_iter().rfind(|it| !it.copied).ok_or("nothing")?.id;

    // One comes and, as soon as it is complete, one goes, unless it is locked.
    let report = run(&stage, &copy, &json!({}))?;
    assert_eq!((count(&report, "CopySnapshot"), count(&report, "DeleteSnapshot")), (2, 0));
    let report = run(&stage, &copy, &json!({}))?;
    assert_eq!((count(&report, "LockSnapshot"), count(&report, "DeleteSnapshot")), (1, 1));
    let wanted = BTreeSet::from([ids[3].clone(), newest.clone()]);
    assert_eq!(sources(TARGETS[0])?.into_iter().collect::<BTreeSet<_>>(), wanted);
    let with_locked = BTreeSet::from([ids[2].clone(), ids[3].clone(), newest]);
    assert_eq!(sources(TARGETS[1])?.into_iter().collect::<BTreeSet<_>>(), with_locked);
    for _ in 0..2 {
        stage.aws.clear("calls")?;
        assert_eq!(run(&stage, &copy, &json!({}))?["Actions"], json!([]));
        assert!(only_looked(&stage.aws)?, "a fixed point");
    }
    Ok(())
}
