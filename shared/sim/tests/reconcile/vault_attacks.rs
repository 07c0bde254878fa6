//! What strangers and owners can do to the vault: strangers nothing, and owners nothing to anybody else's copies, nor to
//! their own by what they write.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use proptest::prelude::*;
use serde_json::{Value, json};
use snapferry_core::description;
use snapferry_core::ids::{Scope, SnapshotId};
use snapferry_core::inventory::State;
use snapferry_core::report::{OutcomeName, Status};
use snapferry_core::tags;
use snapferry_sim::{Record, Sim, id};

use crate::support::vaults::{
    Copied, assert_quiet, copies, for_days, good_copies, rule, shared, told, vault_policy, volume,
};
use crate::support::{
    HOME, MEMBER, OTHER, VAULT, account, calls, copy, days, held, hours, lines, minutes, mutations,
    scope, sim, sweep,
};

const REGIONS: [&str; 2] = ["eu-west-1", "us-west-2"];
const STRANGER: &str = "999999999999";

fn honest() -> Scope {
    scope(MEMBER, HOME)
}

/// The account that has fallen into the wrong hands.
fn hostile() -> Scope {
    scope(OTHER, HOME)
}

fn policy(retain: &Value) -> Value {
    vault_policy(&[MEMBER, OTHER], &REGIONS.map(|region| rule(region, retain)))
}

/// Both owners have shared two volumes nightly, and all is copied.
fn world(retain: &Value, nights: usize) -> Sim {
    let sim = sim();
    for _ in 0..nights {
        for owner in [honest(), hostile()] {
            for of in 0..2 {
                shared(&sim, &owner, &volume(of), |_| {});
            }
        }
        assert_quiet(&sweep(&sim, &[policy(retain)]), "");
        sim.advance(days(1));
    }
    assert_quiet(&sweep(&sim, &[policy(retain)]), "");
    drop(sim.take_deletions());
    drop(sim.take_journal());
    sim
}

/// The copies of what this account owned: Region, source volume and source, with what EC2 and we have to say.
fn of_owner(sim: &Sim, owner: &Scope) -> BTreeMap<SnapshotId, Record> {
    let of_it = |it: &Copied| it.claim.source_account == owner.account;
    let copies = copies(sim).into_iter().filter(of_it);
    copies.map(|it| (it.record.snapshot.id.clone(), it.record)).collect()
}

fn ids(copies: &BTreeMap<SnapshotId, Record>) -> BTreeSet<SnapshotId> {
    copies.keys().cloned().collect()
}

/// Sweeps, six hours apart.
fn live(sim: &Sim, policy: &Value, n_days: i64) {
    for _ in 0..n_days * 4 {
        assert_quiet(&sweep(sim, std::slice::from_ref(policy)), "");
        sim.advance(hours(6));
    }
}

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
    let ids = snapferry_core::event::CopyScope::Ids([strange.clone(), mine.clone()].into());
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
        "snapferry:expires-at=2000-01-01T00:00:00Z,snapferry:policy=vault,snapferry:rule=eu-west-1".into(),
        r#"{"snapferry:expires-at": "2000-01-01T00:00:00Z"}"#.into(),
        "Copied snap-0123456789abcdef0 of 333333333333 from eu-central-1. ".repeat(3),
        "Created for policy: vault schedule: eu-west-1 slot: ".into(),
        "slot: 2026-11-22T02:00:00Z volume: ".into(),
        "Created for policy: x schedule: y slot: 2026-13-45T99:99:99Z volume: vol-0".into(),
        "${jndi:ldap://example.com/a} '; DROP TABLE snapshots; -- <script> %s%n $(reboot) `id`".into(),
        "arn:aws:kms:eu-west-1:444444444444:key/mine Encrypted=false CmkArn=none Target=us-east-1".into(),
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

/// A snapshot as the hostile owner can have them: of a volume, or itself a copy, whose volume EC2 does not tell.
fn hostile_share(sim: &Sim, text: &str, is_copy: bool) -> SnapshotId {
    let of = if is_copy { id("vol-ffffffff") } else { volume(1) };
    shared(sim, &hostile(), &of, |it| it.snapshot.description = text.to_owned())
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
        of_it.into_iter().for_each(|it| assert_tells_the_truth(it, &source));
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
    for pattern in ["^(a+)+$", "^(a|aa)+$", "^(a|a?)+$", "(.*.*)*x$", "^(([a-z])+.)+[A-Z]([a-z])+$"] {
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

#[test]
fn an_owner_who_deletes_or_unshares_everything_changes_nothing() {
    for retain in [for_days(3), json!({"Count": 2}), json!({"Keep": {"Daily": 2}, "MinimumCount": 2})] {
        for deletes in [true, false] {
            let sim = world(&retain, 3);
            let before = copies(&sim);
            assert!(before.iter().all(|it| it.is(State::Completed)));
            let sources = sim.records().into_iter().filter(|it| it.snapshot.owner != account(VAULT));
            for source in sources {
                if deletes {
                    sim.remove(&source.snapshot.id);
                } else {
                    sim.change(&source.snapshot.id, |it| it.shared_with.clear());
                }
            }
            let run = sweep(&sim, &[policy(&retain)]);
            assert_quiet(&run, "");
            let gone: Vec<_> = sim.take_deletions();
            let by_age = |it: &Record| tags::expires_at(&it.snapshot.tags).is_some_and(|at| at <= sim.now());
            assert!(gone.iter().all(|it| by_age(&it.record)), "only what was due anyway");
            // A year later the newest of every volume is there still; by number all are.
            for _ in 0..12 {
                sim.advance(days(30));
                assert_quiet(&sweep(&sim, &[policy(&retain)]), "");
            }
            let left = copies(&sim);
            let newest: BTreeSet<_> = before
                .iter()
                .filter(|it| it.claim.source_start.unwrap() == before.last().unwrap().claim.source_start.unwrap())
                .map(|it| it.record.snapshot.id.clone())
                .collect();
            assert_eq!(newest.len(), 2 * 2 * 2);
            let left: BTreeSet<_> = left.into_iter().map(|it| it.record.snapshot.id).collect();
            assert!(newest.is_subset(&left));
            let is_by_age = retain.get("Interval").is_some();
            assert_eq!(left.len(), if is_by_age { 8 } else { 16 }, "{retain}");
        }
    }
}

/// So many snapshots of one of the hostile owner's volumes, a second apart.
fn flood(sim: &Sim, n: usize) {
    for _ in 0..n {
        shared(sim, &hostile(), &volume(1), |_| {});
        sim.advance(SignedDuration::from_secs(1));
    }
}

#[test]
fn a_flood_under_a_count_touches_no_other_volume() {
    let retain = json!({"Count": 3});
    let sim = world(&retain, 4);
    let honest_before = of_owner(&sim, &honest());
    let others_before: BTreeSet<_> = of_owner(&sim, &hostile())
        .into_values()
        .filter(|it| it.snapshot.tags[tags::SOURCE_VOLUME] != volume(1).as_str())
        .map(|it| it.snapshot.id)
        .collect();
    drop(sim.take_journal());
    flood(&sim, 300);
    live(&sim, &policy(&retain), 5);
    assert_eq!(of_owner(&sim, &honest()), honest_before);
    assert!(others_before.is_subset(&ids(&of_owner(&sim, &hostile()))));
    // What is not worth a copy costs none: three newest in each Region, not three hundred.
    assert_eq!(calls(&sim.take_journal(), "CopySnapshot"), 2 * 3);
    let left = copies(&sim).into_iter().filter(|it| it.claim.source_volume == volume(1));
    let left = left.filter(|it| it.claim.source_account == hostile().account);
    assert_eq!(left.count(), 2 * 3, "the newest three, as the rule says");
}

#[test]
fn a_flood_under_a_count_beside_an_age_pushes_nothing_out_before_its_time() {
    let retain = json!({"Count": 3, "Interval": 14, "IntervalUnit": "DAYS"});
    let sim = world(&retain, 4);
    let before = copies(&sim);
    flood(&sim, 50);
    live(&sim, &policy(&retain), 5);
    assert_eq!(sim.take_deletions().len(), 0);
    let left: BTreeSet<_> = copies(&sim).into_iter().map(|it| it.record.snapshot.id).collect();
    assert!(before.iter().all(|it| left.contains(&it.record.snapshot.id)));
}

#[test]
fn a_flood_pushes_no_locked_copy_out() {
    let retain = json!({"Count": 2});
    let sim = world(&retain, 2);
    let mut document = policy(&retain);
    let rules = document["PolicyDetails"]["Actions"][0]["CrossRegionCopy"].as_array_mut().unwrap();
    for rule in rules {
        rule["LockRule"] = json!({"Mode": "COMPLIANCE", "DurationDays": 20});
    }
    assert_quiet(&sweep(&sim, std::slice::from_ref(&document)), "");
    let before = copies(&sim);
    flood(&sim, 30);
    live(&sim, &document, 10);
    let left: BTreeSet<_> = copies(&sim).into_iter().map(|it| it.record.snapshot.id).collect();
    assert!(before.iter().all(|it| left.contains(&it.record.snapshot.id)));
    assert_eq!(sim.take_deletions().len(), 0);
}

#[test]
fn a_flood_keeps_nobody_waiting() {
    let retain = for_days(30);
    let sim = world(&retain, 1);
    flood(&sim, 400);
    assert_quiet(&sweep(&sim, &[policy(&retain)]), "");
    sim.advance(hours(1));
    let mine: Vec<_> = (0..5).map(|n| shared(&sim, &honest(), &volume(n), |_| {})).collect();
    let run = sweep(&sim, &[policy(&retain)]);
    assert_quiet(&run, "");
    let good = good_copies(&sim);
    for source in mine {
        for region in REGIONS {
            assert!(good.contains_key(&(source.clone(), id(region))), "before the flood's");
        }
    }
}

#[test]
fn copies_that_are_made_to_fail_keep_nobody_waiting() {
    let sim = world(&for_days(30), 1);
    let key = format!("arn:aws:kms:{HOME}:{OTHER}:key/of-nobody-else");
    sim.key(&key, &[]);
    for of in 0..200 {
        shared(&sim, &hostile(), &volume(of), |it| {
            it.snapshot.encrypted = true;
            it.snapshot.kms_key_id = Some(key.clone());
        });
    }
    let mut mine = Vec::new();
    for n in 0..24 {
        mine.push(shared(&sim, &honest(), &volume(n % 3), |_| {}));
        let run = sweep(&sim, &[policy(&for_days(30))]);
        let failed = run.report.actions.iter().filter(|it| it.outcome == OutcomeName::Failed);
        let is_mine = |it: &SnapshotId| mine.contains(it);
        assert!(failed.filter_map(|it| it.source_snapshot_id.as_ref()).all(|it| !is_mine(it)));
        sim.advance(minutes(30));
        let good = good_copies(&sim);
        for source in &mine {
            for region in REGIONS {
                assert!(good.contains_key(&(source.clone(), id(region))), "at once");
            }
        }
    }
    // What fails is tried at once, and then once an hour; two failed ones of each are remembered.
    let failed = copies(&sim).into_iter().filter(|it| it.is(State::Error)).count();
    assert!(failed <= 2 * 2 * 200, "{failed}");
    let journal = sim.take_journal();
    let asked = calls(&journal, "CopySnapshot");
    assert!(asked <= 2 * 24 * 20, "no more than there are places: {asked}");
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
            sources.iter().for_each(|it| sim.remove(it));
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
