//! What strangers and owners can do to the vault: strangers nothing, and owners nothing to anybody else's copies by what
//! they write.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use proptest::prelude::*;
use serde_json::json;
use snapferry_core::event::CopyScope;
use snapferry_core::ids::{Scope, SnapshotId, VolumeId};
use snapferry_core::report::{CoverageLine, OutcomeName, Status};
use snapferry_core::{description, tags};
use snapferry_sim::{Record, Sim, id};

use crate::support::attacks::{
    REGIONS, honest, hostile, hostile_share, ids, live, of_owner, policy, world,
};
use crate::support::vaults::{
    Copied, assert_quiet, copies, for_days, good_copies, shared, told, volume,
};
use crate::support::{
    HOME, OTHER, copy, days, held, hours, lines, minutes, mutations, scope, sim, sweep,
};

const STRANGER: &str = "999999999999";

#[test]
fn a_stranger_who_shares_a_thousand_gets_nothing_and_costs_next_to_nothing() {
    let sim = world(&for_days(30), 3);
    let policies = [policy(&for_days(30))];
    let before = copies(&sim).len();
    assert_quiet(&sweep(&sim, &policies), "");
    let calls_before = sim.take_journal().len();
    let stranger = scope(STRANGER, HOME);
    let strange: Vec<_> = (0..1000).map(|n| shared(&sim, &stranger, &volume(n), |_| {})).collect();
    let run = sweep(&sim, &policies);
    assert_quiet(&run, "");
    assert_eq!(run.report.status, Status::Succeeded);
    assert_eq!(sim.take_journal().len(), calls_before, "a sweep does not even ask for them");
    for source in &strange {
        let run = copy(&sim, &policies, told(&sim, source));
        assert_quiet(&run, "");
        assert_eq!(run.report.status, Status::Succeeded);
        let why = format!("no policy names {STRANGER} as SnapshotOwner");
        assert_eq!(held(&run, source), [why]);
    }
    let journal = sim.take_journal();
    assert!(journal.iter().all(|call| !call.mutates()));
    assert!(journal.len() <= 3 * strange.len(), "{} calls for {}", journal.len(), strange.len());
    assert_eq!(copies(&sim).len(), before);
}

#[test]
fn a_stranger_among_the_named_keeps_no_one_from_being_copied() {
    let sim = world(&for_days(30), 1);
    let strange = shared(&sim, &scope(STRANGER, HOME), &volume(9), |_| {});
    let mine = shared(&sim, &honest(), &volume(0), |_| {});
    let ids = CopyScope::Ids([strange.clone(), mine.clone()].into());
    let run = copy(&sim, &[policy(&for_days(30))], ids);
    assert_quiet(&run, "");
    assert_eq!(lines(&run, "CopySnapshot", OutcomeName::Done).len(), 2);
    assert_eq!(held(&run, &strange), ["not shared with this account, or not any more"]);
    assert!(copies(&sim).iter().all(|it| it.claim.source_snapshot != strange));
}

/// Descriptions of every kind of ill will.
fn hostile_descriptions() -> Vec<String> {
    let victim = volume(0);
    let forged = |slot: &str, volume: &str| {
        format!("Created for policy: daily schedule: nightly slot: {slot} volume: {volume} name: x")
    };
    let mut texts = vec![
        String::new(),
        "a".repeat(254) + "!",
        "a".repeat(255),
        "\u{0}\u{1}\u{7}\u{1b}[2J\r\n\t\u{7f}\u{85}".repeat(28),
        "\u{1F4A9}".repeat(255),
        "\u{202e}\u{feff}\u{d7ff}\u{e000}\u{fffd}".repeat(51),
        "ab\u{301}\u{4e2d}".repeat(63),
        "snapferry:expires-at=2000-01-01T00:00:00Z,snapferry:policy=vault,snapferry:rule=eu-west-1"
            .into(),
        r#"{"snapferry:expires-at": "2000-01-01T00:00:00Z"}"#.into(),
        "Copied snap-0123456789abcdef0 of 333333333333 from eu-central-1. ".repeat(3),
        "Created for policy: vault schedule: eu-west-1 slot: ".into(),
        "slot: 2026-11-22T02:00:00Z volume: ".into(),
        "Created for policy: x schedule: y slot: 2026-13-45T99:99:99Z volume: vol-0".into(),
        "${jndi:ldap://example.com/a} '; DROP TABLE snapshots; -- <script> %s%n $(reboot) `id`"
            .into(),
        "arn:aws:kms:eu-west-1:444444444444:key/mine Encrypted=false CmkArn=none Target=us-east-1"
            .into(),
    ];
    for slot in [
        "2026-11-22T02:00:00Z",
        "0001-01-01T00:00:00Z",
        "-009999-01-01T00:00:00Z",
        "9999-12-30T21:59:59Z",
        "+012345-01-01T00:00:00Z",
        "2038-01-19T03:14:08Z",
    ] {
        texts.push(forged(slot, victim.as_str()));
        texts.push(forged(slot, "vol-ffffffff"));
        texts.push(forged(slot, "vol-00000000000000000000000000000000000000000000000000000000"));
    }
    texts
}

/// What the copy of a source has to say, whatever the source says of itself.
fn assert_tells_the_truth(copy: &Copied, source: &Record) {
    let (record, claim) = (&copy.record, &copy.claim);
    assert_eq!(claim.source_account, source.snapshot.owner);
    assert_eq!(claim.source_snapshot, source.snapshot.id);
    assert_eq!((claim.policy.as_str(), claim.rule.as_str()), ("vault", record.region.as_str()));
    assert!(claim.schedules.is_empty());
    let start = claim.source_start.unwrap();
    let told = source.snapshot.start_time;
    assert!(start <= told && told.duration_since(start) < SignedDuration::from_secs(1));
    if !source.snapshot.volume_id.is_placeholder() {
        assert_eq!(claim.source_volume, source.snapshot.volume_id, "EC2 told");
    }
    let expires_at = tags::expires_at(&record.snapshot.tags).unwrap();
    let lives = expires_at.duration_since(record.snapshot.start_time);
    assert!((lives - days(30)).abs() <= minutes(1), "{lives:?}");
    let text = &record.snapshot.description;
    assert!(text.chars().count() <= description::MAX_CHARS);
    assert!(text.bytes().all(|it| (b' '..=b'~').contains(&it)), "{text:?}");
    for (key, value) in &record.snapshot.tags {
        assert!(key.starts_with("snapferry:"), "{key}");
        assert!(value.len() <= 256 && value.bytes().all(|it| (b' '..=b'~').contains(&it)));
    }
}

#[test]
fn hostile_descriptions_are_copied_and_change_nothing_else() {
    let retain = for_days(30);
    let sim = world(&retain, 3);
    let honest_before = of_owner(&sim, &honest());
    let before = of_owner(&sim, &hostile());
    let mut sources = Vec::new();
    for text in hostile_descriptions() {
        sources.push(hostile_share(&sim, &text, false));
        sources.push(hostile_share(&sim, &text, true));
    }
    live(&sim, &policy(&retain), 3);
    let all = copies(&sim);
    for source in &sources {
        let of_it: Vec<_> = all.iter().filter(|it| it.claim.source_snapshot == *source).collect();
        assert_eq!(of_it.len(), 2, "one in each Region");
        let source = sim.record(source).unwrap();
        for copy in of_it {
            assert_tells_the_truth(copy, &source);
        }
    }
    assert_eq!(sim.take_deletions().len(), 0);
    assert_eq!(of_owner(&sim, &honest()), honest_before);
    assert!(ids(&before).is_subset(&ids(&of_owner(&sim, &hostile()))));
    // A month later everything goes by its own time, and what is newest by EC2's clock stays.
    live(&sim, &policy(&retain), 40);
    for (region, of) in REGIONS.iter().flat_map(|region| [(region, 0), (region, 1)]) {
        let left: Vec<_> = of_owner(&sim, &honest())
            .into_values()
            .filter(|it| it.region.as_str() == *region)
            .filter(|it| it.snapshot.tags[tags::SOURCE_VOLUME] == volume(of).as_str())
            .collect();
        assert_eq!(left.len(), 1, "the newest of each volume of the honest one");
        assert_eq!(left[0].snapshot.tags[tags::SOURCE_START_TIME], "2026-11-24T02:01:00Z");
    }
}

#[test]
fn a_pattern_that_explodes_elsewhere_and_a_text_made_for_it() {
    for pattern in ["^(a+)+$", "^(a|aa)+$", "^(a|a?)+$", "(.*.*)*x$", "^(([a-z])+.)+[A-Z]([a-z])+$"]
    {
        let sim = sim();
        let mut document = policy(&for_days(30));
        document["PolicyDetails"]["EventSource"]["Parameters"]["DescriptionRegex"] = json!(pattern);
        let bomb = hostile_share(&sim, &("a".repeat(254) + "!"), false);
        let honest = shared(&sim, &honest(), &volume(0), |it| {
            it.snapshot.description = if pattern.contains('x') { "ax" } else { "aaaaAaa" }.into();
            if pattern.contains("a+") || pattern.contains("aa") || pattern.contains("a?") {
                it.snapshot.description = "aaaa".into();
            }
        });
        let run = sweep(&sim, &[document]);
        assert_quiet(&run, pattern);
        let good = good_copies(&sim);
        let copied = |source: &SnapshotId| good.keys().filter(|(it, _)| it == source).count();
        assert_eq!((copied(&honest), copied(&bomb)), (2, 0), "{pattern}");
        assert_eq!(held(&run, &bomb), ["no policy's DescriptionRegex matches its description"]);
    }
}

#[test]
fn a_forged_slot_makes_nothing_newer_or_older() {
    let retain = json!({"Count": 2});
    let sim = world(&retain, 3);
    let forged = |slot: &str| {
        format!("Created for policy: daily schedule: nightly slot: {slot} volume: {}", volume(1))
    };
    // The newest says that it is old, the next one that it is of the year 9999.
    let future = hostile_share(&sim, &forged("9999-12-30T00:00:00Z"), false);
    sim.advance(hours(1));
    let past = hostile_share(&sim, &forged("0001-01-01T00:00:00Z"), false);
    live(&sim, &policy(&retain), 1);
    let newest = hostile_share(&sim, &forged("1970-01-01T00:00:00Z"), false);
    live(&sim, &policy(&retain), 1);
    let left: BTreeSet<_> = copies(&sim)
        .into_iter()
        .filter(|it| it.claim.source_account == hostile().account)
        .filter(|it| it.claim.source_volume == volume(1))
        .map(|it| it.claim.source_snapshot)
        .collect();
    assert_eq!(left, BTreeSet::from([past, newest]), "and not {future}");
}

#[test]
fn another_accounts_volume_cannot_be_crowded_out() {
    let retain = json!({"Count": 2});
    let sim = world(&retain, 4);
    let before = of_owner(&sim, &honest());
    assert_eq!(before.len(), 2 * 2 * 2);
    // Copies of copies that say that they are of the honest one's volume, later than anything.
    for _ in 0..30 {
        let text = format!(
            "Created for policy: daily schedule: nightly slot: 9999-12-30T00:00:00Z volume: {}",
            volume(0)
        );
        hostile_share(&sim, &text, true);
        sim.advance(minutes(1));
    }
    live(&sim, &policy(&retain), 3);
    assert_eq!(of_owner(&sim, &honest()), before, "not even changed");
    for deletion in sim.take_deletions() {
        let tags = &deletion.record.snapshot.tags;
        assert_eq!(tags[tags::SOURCE_ACCOUNT], OTHER);
    }
}

/// Another snapshot of the account, copied within it, that says that it is of this one's volume.
fn forged_copy(sim: &Sim, owner: &Scope, of: &VolumeId) -> SnapshotId {
    shared(sim, owner, &id("vol-ffffffff"), |it| {
        it.snapshot.description =
            format!("Created for policy: x schedule: y slot: 2026-11-22T02:00:00Z volume: {of} ");
    })
}

#[test]
fn a_forged_volume_pushes_no_copy_of_that_volume_out() {
    for retain in [json!({"Count": 2}), for_days(3)] {
        let sim = world(&retain, 3);
        // The volume is gone: what the vault has is all that is left of it.
        for _ in 0..3 {
            forged_copy(&sim, &hostile(), &volume(1));
        }
        live(&sim, &policy(&retain), 10);
        let newest = copies(&sim).into_iter().filter(|it| {
            it.claim.source_account == hostile().account
                && it.claim.source_volume == volume(1)
                && it.record.snapshot.tags[tags::SOURCE_START_TIME] == "2026-11-24T02:01:00Z"
        });
        assert_eq!(newest.count(), 2, "one in each Region: {retain}");
    }
}

#[test]
fn copies_of_volumes_that_nobody_tells_apart_do_not_push_each_other_out() {
    for retain in [json!({"Count": 1}), for_days(3), json!({"Keep": {"Daily": 1}})] {
        let sim = sim();
        // The owner encrypts them anew with a tool of its own: EC2 shows a placeholder for the volume.
        let of = |text: &str| {
            shared(&sim, &honest(), &id("vol-ffffffff"), |it| {
                it.snapshot.description = format!("[Copied snap-0123456789abcdef0] {text}");
            })
        };
        let database = of("database");
        sim.advance(minutes(1));
        let web = of("web");
        live(&sim, &policy(&retain), 6);
        let copied: BTreeSet<_> =
            copies(&sim).into_iter().map(|it| it.claim.source_snapshot).collect();
        assert_eq!(copied, BTreeSet::from([database, web]), "{retain}");
    }
}

/// A day, in which nothing comes of one volume and somebody claims that something else is of it.
#[test]
fn a_volume_does_not_look_fresh_by_what_anybody_writes() {
    for liar in [honest(), hostile()] {
        let sim = world(&for_days(30), 1);
        let of_victim = |it: &&CoverageLine| it.volume_id == volume(1);
        let worst = || {
            let run = sweep(&sim, &[policy(&for_days(30))]);
            assert_quiet(&run, "");
            run.report.coverage.iter().filter(of_victim).filter_map(|it| it.age_minutes).max()
        };
        assert_eq!(worst(), Some(24 * 60));
        forged_copy(&sim, &liar, &volume(1));
        // Nor does another account's volume of the same name make up for it.
        shared(&sim, &hostile(), &volume(1), |_| {});
        worst();
        sim.advance(days(1));
        assert_eq!(worst(), Some(2 * 24 * 60), "{liar}");
    }
}

fn texts() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        Just("Created for policy: "),
        Just("schedule: "),
        Just(" slot: "),
        Just("2026-11-22T02:00:00Z"),
        Just("9999-12-30T00:00:00Z"),
        Just("0001-01-01T00:00:00Z"),
        Just(" volume: "),
        Just("vol-00000000000000000"),
        Just("vol-00000000000000001"),
        Just("vol-ffffffff"),
        Just(" instance: i-0123456789abcdef0"),
        Just("snapferry:expires-at"),
        Just("\u{0}\n\u{202e}"),
        Just(" "),
    ];
    let words = proptest::collection::vec(word, 0..12).prop_map(|words| words.concat());
    prop_oneof![3 => words, 1 => any::<String>()].prop_map(|it| it.chars().take(255).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever the one writes and does: of the other's copies every one stays as it is.
    #[test]
    fn nothing_that_one_owner_writes_reaches_anothers_copies(
        shares in proptest::collection::vec((texts(), any::<bool>(), 0_i64..2000), 1..25),
        count in 1_u32..4,
        withdraws in any::<bool>(),
    ) {
        let retain = json!({"Count": count});
        let sim = world(&retain, 4);
        let before = of_owner(&sim, &honest());
        let mut sources = Vec::new();
        for (text, is_copy, wait) in shares {
            sources.push(hostile_share(&sim, &text, is_copy));
            sim.advance(minutes(wait));
            assert_quiet(&sweep(&sim, &[policy(&retain)]), "");
        }
        if withdraws {
            for source in &sources {
                sim.remove(source);
            }
        }
        live(&sim, &policy(&retain), 2);
        prop_assert_eq!(of_owner(&sim, &honest()), before);
        // By EC2's own word, the newest of the hostile one's volumes stay too.
        for region in REGIONS {
            for of in 0..2 {
                let there = copies(&sim).into_iter().any(|it| {
                    it.record.region.as_str() == region
                        && it.claim.source_account == hostile().account
                        && it.claim.source_volume == volume(of)
                });
                prop_assert!(there, "no copy of {} in {region}", volume(of));
            }
        }
        drop(sim.take_journal());
        assert_quiet(&sweep(&sim, &[policy(&retain)]), "");
        prop_assert_eq!(mutations(&sim), Vec::<String>::new());
    }
}
