//! Policies as an operator thinks of them, and as the documents that say it. The judge goes by these, never by what the
//! program has read.

use proptest::prelude::*;
use serde_json::{Value, json};
use snapferry_core::ids::Scope;

use super::places::{AWAY, HOME, MEMBER, OTHER, VAULT, home, role, vault_key};

/// Everything that the policies say at a time.
#[derive(Clone, Debug)]
pub(super) struct Wishes {
    /// Of `rotate-snapshots`.
    pub(super) policies: Vec<Policy>,
    /// Of `copy-shared-snapshots`: `vault`.
    pub(super) vault: Vault,
}

/// A policy for volumes.
#[derive(Clone, Debug)]
pub(super) struct Policy {
    pub(super) name: &'static str,
    pub(super) enabled: bool,
    pub(super) accounts: Vec<&'static str>,
    pub(super) schedules: Vec<Schedule>,
}

/// `Schedules[]`
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    pub(super) name: &'static str,
    /// `Interval`; divides 24.
    pub(super) every_hours: i64,
    /// `Times`
    pub(super) at_hour: i64,
    pub(super) retain: Retain,
    /// `ShareRules`
    pub(super) share: Option<Share>,
    /// `LockRule`: days.
    pub(super) lock: Option<i64>,
    /// `CrossRegionCopyRules`: so many kept.
    pub(super) copies: Option<usize>,
}

/// With the vault.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    /// `UnshareInterval`: days; `None`: for good.
    pub(super) days: Option<i64>,
}

/// `RetainRule`
#[derive(Clone, Debug)]
pub(super) struct Retain {
    pub(super) count: Option<usize>,
    pub(super) days: Option<i64>,
    /// `Keep`: days, weeks, months.
    pub(super) keep: Option<[usize; 3]>,
    pub(super) minimum: usize,
}

/// The vault's policy.
#[derive(Clone, Debug)]
pub(super) struct Vault {
    pub(super) enabled: bool,
    /// `DescriptionRegex`, which nothing that is shared in these stories fails.
    pub(super) by_description: bool,
    pub(super) rules: Vec<Rule>,
}

/// `CrossRegionCopy[]`; each Region once, so that its name is the rule's.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) region: &'static str,
    pub(super) retain: Retain,
    pub(super) encrypted: bool,
}

impl Wishes {
    pub(super) fn policy(&self, name: &str) -> Option<&Policy> {
        self.policies.iter().find(|policy| policy.name == name)
    }

    /// All documents, as they lie in one Parameter Store.
    pub(super) fn documents(&self) -> Vec<Value> {
        self.policies.iter().map(Policy::document).chain([self.vault.document()]).collect()
    }
}

impl Policy {
    pub(super) fn targets(&self, scope: &Scope) -> bool {
        scope.region.as_str() == HOME && self.accounts.contains(&scope.account.as_str())
    }

    pub(super) fn scopes(&self) -> impl Iterator<Item = Scope> + '_ {
        self.accounts.iter().map(|account| home(account))
    }

    /// Those of the schedules that it still has.
    pub(super) fn present(&self, names: &[&str]) -> Vec<&Schedule> {
        self.schedules.iter().filter(|schedule| names.contains(&schedule.name)).collect()
    }

    fn document(&self) -> Value {
        let target = |account: &&str| json!({"RoleArn": role(account), "Regions": [HOME]});
        json!({
            "Name": self.name,
            "State": if self.enabled { "ENABLED" } else { "DISABLED" },
            "Targets": self.accounts.iter().map(target).collect::<Vec<_>>(),
            "PolicyDetails": {
                "TargetTags": [{"Key": self.name, "Value": "yes"}],
                "Schedules": self.schedules.iter().map(Schedule::document).collect::<Vec<_>>()
            }
        })
    }
}

impl Schedule {
    fn document(&self) -> Value {
        let mut schedule = json!({
            "Name": self.name,
            "CreateRule": {"Interval": self.every_hours, "IntervalUnit": "HOURS",
                           "Times": [format!("{:02}:00", self.at_hour)]},
            "RetainRule": self.retain.document(),
        });
        if let Some(share) = self.share {
            let mut rule = json!({"TargetAccounts": [VAULT]});
            if let Some(days) = share.days {
                rule["UnshareInterval"] = json!(days);
                rule["UnshareIntervalUnit"] = json!("DAYS");
            }
            schedule["ShareRules"] = json!([rule]);
        }
        if let Some(days) = self.lock {
            schedule["LockRule"] = json!({"Mode": "GOVERNANCE", "DurationDays": days});
        }
        if let Some(count) = self.copies {
            schedule["CrossRegionCopyRules"] =
                json!([{"Target": AWAY, "Encrypted": false, "RetainRule": {"Count": count}}]);
        }
        schedule
    }
}

impl Retain {
    fn document(&self) -> Value {
        let mut rule = json!({"MinimumCount": self.minimum});
        if let Some(count) = self.count {
            rule["Count"] = json!(count);
        }
        if let Some(days) = self.days {
            rule["Interval"] = json!(days);
            rule["IntervalUnit"] = json!("DAYS");
        }
        if let Some([daily, weekly, monthly]) = self.keep {
            rule["Keep"] = json!({"Daily": daily, "Weekly": weekly, "Monthly": monthly});
        }
        rule
    }
}

impl Vault {
    pub(super) fn rule(&self, region: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.region == region)
    }

    fn document(&self) -> Value {
        let rule = |rule: &Rule| {
            let mut encryption = json!({"Encrypted": rule.encrypted});
            if rule.encrypted {
                encryption["CmkArn"] = json!(vault_key(rule.region));
            }
            json!({"Target": rule.region, "EncryptionConfiguration": encryption,
                   "RetainRule": rule.retain.document()})
        };
        let mut parameters = json!({
            "EventType": "shareSnapshot", "SnapshotOwner": [MEMBER, OTHER], "SourceRegions": [HOME]
        });
        if self.by_description {
            parameters["DescriptionRegex"] = json!("^Created for policy: ");
        }
        json!({
            "Name": "vault",
            "State": if self.enabled { "ENABLED" } else { "DISABLED" },
            "PolicyDetails": {
                "PolicyType": "EVENT_BASED_POLICY",
                "EventSource": {"Type": "MANAGED_CWE", "Parameters": parameters},
                "Actions": [{"Name": "copy",
                             "CrossRegionCopy": self.rules.iter().map(rule).collect::<Vec<_>>()}]
            }
        })
    }
}

/// By count, age, both, `Keep`, or `Keep` and count.
fn retain(kind: u8) -> impl Strategy<Value = Retain> {
    let keep = [0_usize..4, 0..3, 0..2];
    (1_usize..5, 1_i64..6, keep, 1_usize..4).prop_map(
        move |(count, days, [daily, weekly, monthly], minimum)| Retain {
            count: matches!(kind, 0 | 2 | 4).then_some(count),
            days: matches!(kind, 1 | 2).then_some(days),
            keep: matches!(kind, 3 | 4).then_some([daily + 1, weekly, monthly]),
            minimum,
        },
    )
}

fn schedule(name: &'static str, kind: u8) -> impl Strategy<Value = Schedule> {
    let every = proptest::sample::select(vec![4_i64, 8, 12, 12, 24, 24, 24]);
    let share = prop_oneof![
        2 => Just(None),
        3 => Just(Some(Share { days: None })),
        2 => (1_i64..4).prop_map(|days| Some(Share { days: Some(days) })),
    ];
    let lock = prop_oneof![6 => Just(None), 1 => (2_i64..4).prop_map(Some)];
    let copies = prop_oneof![3 => Just(None), 1 => (1_usize..4).prop_map(Some)];
    (every, 0_i64..24, retain(kind), share, lock, copies).prop_map(
        move |(every_hours, at_hour, retain, share, lock, copies)| {
            // DLM wants sharing to end before the age does.
            let by_age_alone = retain.count.is_none() && retain.keep.is_none();
            let share = share.map(|it| Share {
                days: it.days.filter(|days| !by_age_alone || retain.days > Some(*days)),
            });
            Schedule { name, every_hours, at_hour, retain, share, lock, copies }
        },
    )
}

fn policy(name: &'static str, accounts: Vec<&'static str>) -> impl Strategy<Value = Policy> {
    let enabled = prop_oneof![8 => Just(true), 1 => Just(false)];
    // The same kinds in all schedules, as DLM wants it.
    let schedules = (0_u8..5, any::<bool>())
        .prop_flat_map(|(kind, two)| (schedule("1", kind), schedule("2", kind), Just(two)));
    (enabled, schedules).prop_map(move |(enabled, (first, second, two))| Policy {
        name,
        enabled,
        accounts: accounts.clone(),
        schedules: if two { vec![first, second] } else { vec![first] },
    })
}

/// Any policies.
pub(super) fn wishes() -> impl Strategy<Value = Wishes> {
    let policies = (
        policy("a", vec![MEMBER, OTHER]),
        policy("b", vec![MEMBER]),
        prop_oneof![3 => Just(true), 1 => Just(false)],
    );
    let rule = |region: &'static str| {
        let kind = prop_oneof![3 => Just(1_u8), 1 => Just(0), 1 => Just(2), 1 => Just(3)];
        (kind.prop_flat_map(retain), any::<bool>()).prop_map(move |(retain, encrypted)| Rule {
            region,
            retain,
            encrypted,
        })
    };
    let enabled = prop_oneof![10 => Just(true), 1 => Just(false)];
    let vault =
        (enabled, rule(AWAY), rule(HOME), 0_u8..8).prop_map(|(enabled, away, home, which)| {
            let rules = match which {
                0 => vec![away],
                1 => vec![home],
                _ => vec![away, home],
            };
            Vault { enabled, by_description: which == 7, rules }
        });
    (policies, vault).prop_map(|((a, b, both), vault)| Wishes {
        policies: if both { vec![a, b] } else { vec![a] },
        vault,
    })
}
