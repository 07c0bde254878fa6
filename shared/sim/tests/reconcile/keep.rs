//! Grandfather, father, son over years, against an oracle that has every slot there ever was.

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use snapferry_sim::Sim;

use crate::support::storm::{Function, Weather};
use crate::support::together::quiet;
use crate::support::{
    at, days, hours, member, minutes, mutations, policy, rotate, rotate_and_look, slots, target,
};

/// How many of each kind, and what makes a period of it.
const KEEP: [(&str, &str, usize); 5] = [
    ("Hourly", "%F %H%z", 24),
    ("Daily", "%F", 7),
    ("Weekly", "%G-%V", 5),
    ("Monthly", "%Y-%m", 12),
    ("Yearly", "%Y", 3),
];

fn keep() -> Value {
    KEEP.iter().map(|(kind, _, n)| ((*kind).to_owned(), json!(n))).collect()
}

fn gfs(create: &Value, retain: &Value) -> [Value; 1] {
    let mut create = create.clone();
    create["TimeZone"] = json!("Europe/Berlin");
    [policy("gfs", &[json!({"Name": "s", "CreateRule": create, "RetainRule": retain})])]
}

fn hourly() -> Value {
    json!({"Interval": 1, "IntervalUnit": "HOURS", "Times": ["00:00"]})
}

/// Shortly after midnight in Berlin: the day before, in UTC.
fn daily() -> Value {
    json!({"Interval": 24, "IntervalUnit": "HOURS", "Times": ["00:30"]})
}

/// The slot's periods, in the order of `KEEP`.
fn periods(slot: &str) -> Vec<String> {
    let at = slot.parse::<Timestamp>().unwrap();
    let at = at.to_zoned(TimeZone::get("Europe/Berlin").unwrap());
    KEEP.iter().map(|(_, format, _)| at.strftime(format).to_string()).collect()
}

/// Every slot there ever was, with its periods.
#[derive(Default)]
struct History(BTreeMap<String, Vec<String>>);

impl History {
    fn add(&mut self, slots: impl IntoIterator<Item = String>) {
        for slot in slots {
            self.0.entry(slot).or_insert_with_key(|slot| periods(slot));
        }
    }

    /// Of each kind the newest so many periods that had any slot, each with its slots.
    fn promised(&self) -> Vec<BTreeSet<String>> {
        let mut promised = Vec::new();
        for (kind, (.., n)) in KEEP.iter().enumerate() {
            let mut newest_first: Vec<(&str, BTreeSet<String>)> = Vec::new();
            for (slot, periods) in self.0.iter().rev() {
                let is_full = newest_first.len() == *n;
                match newest_first.last_mut() {
                    Some((period, slots)) if *period == periods[kind] => {
                        slots.insert(slot.clone());
                    }
                    _ if is_full => break,
                    _ => newest_first.push((&periods[kind], [slot.clone()].into())),
                }
            }
            promised.extend(newest_first.into_iter().map(|(_, slots)| slots));
        }
        promised
    }

    /// What is to be left.
    fn oracle(&self) -> BTreeSet<String> {
        self.promised().into_iter().filter_map(|slots| slots.last().cloned()).collect()
    }

    /// Every one of the periods that are promised has a snapshot.
    fn assert_covered(&self, left: &BTreeSet<String>) {
        for slots in self.promised() {
            assert!(!slots.is_disjoint(left), "nothing of {slots:?} in {left:?}");
        }
    }
}

fn left(sim: &Sim) -> BTreeSet<String> {
    slots(sim, &member()).into_iter().collect()
}

/// Runs the policy and compares with the oracle `every` so many runs, and at the end.
fn live(sim: &Sim, policy: &[Value], n_days: i64, step: SignedDuration, every: usize) {
    let mut all = History::default();
    let mut n = 0;
    rotate_and_look(sim, policy, n_days, step, |run| {
        quiet(run);
        all.add(left(sim));
        n += 1;
        if n % every == 0 {
            all.assert_covered(&left(sim));
        }
    });
    // The newest has been completed since.
    sim.advance(minutes(20) - step);
    quiet(&rotate(sim, policy));
    all.add(left(sim));
    sim.advance(minutes(20));
    quiet(&rotate(sim, policy));
    assert_eq!(left(sim), all.oracle());
    assert!(all.0.len() >= n, "{} slots", all.0.len());
    drop(sim.take_journal());
    quiet(&rotate(sim, policy));
    assert_eq!(mutations(sim), Vec::<String>::new());
}

#[test]
fn hourly_for_forty_days_over_the_end_of_summer_time() {
    let sim = Sim::new(at("2026-10-01T10:05:00Z"));
    target(&sim);
    live(&sim, &gfs(&hourly(), &json!({"Keep": keep()})), 40, hours(1), 24);
    // 24 hours, 6 more days, 4 more weeks, and of October its last one, which the weeks or days may have too.
    let n = left(&sim).len();
    assert!((32..=36).contains(&n), "{n}");
}

#[test]
fn daily_for_three_years() {
    let sim = Sim::new(at("2023-12-20T23:45:00Z"));
    target(&sim);
    live(&sim, &gfs(&daily(), &json!({"Keep": keep()})), 3 * 365 + 1, days(1), 5);
    // 24 days for want of hours, then weeks, months, and two years that have no month any more.
    let kept = left(&sim);
    let years: BTreeSet<String> = kept.iter().map(|slot| periods(slot)[4].clone()).collect();
    assert_eq!(years.into_iter().collect::<Vec<_>>(), ["2024", "2025", "2026"]);
    let december = kept.iter().filter(|slot| periods(slot)[1].ends_with("-12-31"));
    assert_eq!(december.count(), 2, "the last day of either year that is over: {kept:?}");
}

#[test]
fn every_two_days_the_periods_without_a_snapshot_do_not_count() {
    let sim = Sim::new(at("2026-01-01T00:00:00Z"));
    target(&sim);
    let keep = json!({"Keep": {"Daily": 7, "Weekly": 2}});
    let create = json!({"CronExpression": "cron(0 12 ? * MON,WED,FRI *)"});
    let policy = gfs(&create, &keep);
    rotate_and_look(&sim, &policy, 60, hours(6), quiet);
    rotate(&sim, &policy);
    // The last seven days that have one, and one of the two weeks before is none of them.
    let kept: Vec<String> = slots(&sim, &member());
    let days: Vec<&str> = kept.iter().map(|slot| &slot[..10]).collect();
    let wanted = [
        "2026-02-13",
        "2026-02-16",
        "2026-02-18",
        "2026-02-20",
        "2026-02-23",
        "2026-02-25",
        "2026-02-27",
    ];
    assert_eq!(days, wanted);
}

#[test]
fn keep_count_and_age_each_keep() {
    let sim = Sim::new(at("2026-03-01T02:10:00Z"));
    target(&sim);
    let retain = json!({"Keep": {"Monthly": 3}, "Count": 2, "Interval": 5, "IntervalUnit": "DAYS"});
    let policy = gfs(&daily(), &retain);
    rotate_and_look(&sim, &policy, 100, hours(12), quiet);
    let days: Vec<String> =
        slots(&sim, &member()).iter().map(|it| periods(it)[1].clone()).collect();
    assert_eq!(
        days,
        [
            "2026-04-30",
            "2026-05-31",
            "2026-06-04",
            "2026-06-05",
            "2026-06-06",
            "2026-06-07",
            "2026-06-08"
        ],
        "two months that are over, and what is younger than five days"
    );
}

#[test]
fn a_storm_leaves_what_the_oracle_would() {
    for seed in 0..8 {
        let sim = Sim::new(at("2026-12-20T10:05:00Z"));
        target(&sim);
        let policy = gfs(&hourly(), &json!({"Keep": keep()}));
        let weather = Weather { sim: &sim, documents: &policy, functions: &[Function::Rotate] };
        weather.storm(seed, 30, hours(9));
        weather.calm(format!("seed {seed}"));
        sim.advance(minutes(20));
        rotate(&sim, &policy); // the newest is completed now
        sim.advance(minutes(20));
        rotate(&sim, &policy);
        let kept = left(&sim);
        let mut all = History::default();
        all.add(kept.clone());
        assert_eq!(kept, all.oracle(), "seed {seed}");
        assert!(kept.len() > 10, "seed {seed}: {kept:?}");
    }
}
