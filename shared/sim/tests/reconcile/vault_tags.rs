//! `CopyTags` in the vault: by a role that reads them in the owner's account, and never at the price of a copy.

use serde_json::{Value, json};
use snapferry_core::ec2::ErrorKind;
use snapferry_core::ids::SnapshotId;
use snapferry_core::policy::Tags;
use snapferry_core::report::OutcomeName;
use snapferry_core::run::Run;
use snapferry_sim::{Fault, Sim};

use crate::support::rules::{AWAY, event_policy, made_of, rule, share_event, shared_by};
use crate::support::{
    HOME, MEMBER, OTHER, account, calls, copy, failure, hours, lines, member, scope, sim, sweep,
};

const VOLUME: &str = "vol-0123456789abcdef0";

/// Two Regions, of which the first gets the tags, which a role in these accounts reads.
fn policy(accounts: &[&str]) -> Value {
    let rules = [rule(AWAY, &json!({"CopyTags": true})), rule("us-west-2", &json!({}))];
    let mut policy = event_policy(&rules);
    let target = |account: &&str| {
        json!({"RoleArn": format!("arn:aws:iam::{account}:role/snapferry-source-reader"),
               "ExternalId": "secret"})
    };
    policy["Targets"] = accounts.iter().map(target).collect();
    policy
}

/// Shared by an account in which it has these tags.
fn tagged(sim: &Sim, owner: &str, volume: &str) -> SnapshotId {
    shared_by(sim, owner, volume, |it| {
        for (key, value) in [("App", "shop"), ("aws:dlm:x", "y"), ("snapferry:policy", "daily")] {
            it.snapshot.tags.insert(key.into(), value.into());
        }
    })
}

/// The tags of a source's copy in a Region that are not ours.
fn foreign_tags(sim: &Sim, source: &SnapshotId, region: &str) -> Tags {
    let made = made_of(sim, source);
    let copy = made.into_iter().find(|it| it.region.as_str() == region).expect("a copy");
    let mut tags = copy.snapshot.tags;
    tags.retain(|key, _| !key.starts_with("snapferry:"));
    tags
}

fn tags(pairs: &[(&str, &str)]) -> Tags {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn copied(run: &Run) -> usize {
    lines(run, "CopySnapshot", OutcomeName::Done).len()
}

#[test]
fn only_what_is_about_to_be_copied_is_asked_for_and_once() {
    let sim = sim();
    let first = tagged(&sim, MEMBER, VOLUME);
    let policy = [policy(&[MEMBER])];
    assert_eq!(copied(&sweep(&sim, &policy)), 2);
    sim.advance(hours(1));
    drop(sim.take_journal());
    assert_eq!(failure(&sweep(&sim, &policy)), "");
    assert_eq!(calls(&sim.take_journal(), "AssumeRole"), 0, "nothing is to be copied");
    let more = [(); 2].map(|()| tagged(&sim, MEMBER, VOLUME));
    let run = copy(&sim, &policy, share_event(&more[0], MEMBER));
    assert_eq!((failure(&run).as_str(), copied(&run)), ("", 2));
    assert_eq!(copied(&sweep(&sim, &policy)), 2);
    let journal = sim.take_journal();
    assert_eq!(calls(&journal, "AssumeRole"), 2, "once in each run");
    let in_member = journal.iter().filter(|call| call.scope == member()).count();
    assert_eq!(in_member, 2, "one call for all snapshots: {journal:?}");
    for source in more.iter().chain([&first]) {
        assert_eq!(foreign_tags(&sim, source, AWAY), tags(&[("App", "shop")]));
        assert_eq!(foreign_tags(&sim, source, "us-west-2"), Tags::new());
    }
}

#[test]
fn no_role_no_call() {
    let sim = sim();
    let source = tagged(&sim, MEMBER, VOLUME);
    let run = sweep(&sim, &[policy(&[])]);
    assert_eq!((failure(&run).as_str(), copied(&run)), ("", 2));
    assert_eq!(calls(&sim.take_journal(), "AssumeRole"), 0);
    assert_eq!(foreign_tags(&sim, &source, AWAY), tags(&[("Name", "web-1")]));
    let sim = self::sim();
    let source = tagged(&sim, MEMBER, VOLUME);
    let mut plain = policy(&[MEMBER]);
    plain["PolicyDetails"]["Actions"][0]["CrossRegionCopy"][0]["CopyTags"] = json!(false);
    assert_eq!(copied(&sweep(&sim, &[plain])), 2);
    assert_eq!(calls(&sim.take_journal(), "AssumeRole"), 0, "no rule asks for tags");
    assert_eq!(foreign_tags(&sim, &source, AWAY), Tags::new());
}

#[test]
fn what_waits_has_its_tags_when_it_is_copied() {
    let sim = sim();
    for n in 1..=25 {
        tagged(&sim, MEMBER, &format!("vol-{n:08x}"));
    }
    let run = sweep(&sim, &[policy(&[MEMBER])]);
    assert_eq!(copied(&run), 40);
    let waiting = lines(&run, "CopySnapshot", OutcomeName::Deferred);
    assert_eq!(waiting.len(), 10);
    sim.advance(hours(1));
    drop(sim.take_journal());
    assert_eq!(copied(&sweep(&sim, &[policy(&[MEMBER])])), 10);
    let all = sim.records().into_iter().filter(|it| it.copy_of.is_some());
    let with_tags = all.filter(|it| it.snapshot.tags.contains_key("App")).count();
    assert_eq!(with_tags, 25);
}

/// A run in which the role of one account cannot be used, and that of another can: what is told.
fn without_the_members_role(hinder: impl FnOnce(&Sim)) -> String {
    let sim = sim();
    let source = tagged(&sim, MEMBER, VOLUME);
    let other = tagged(&sim, OTHER, "vol-01234567");
    hinder(&sim);
    let policy = [policy(&[MEMBER, OTHER])];
    let run = sweep(&sim, &policy);
    assert_eq!(copied(&run), 4, "no copy is lost for its tags");
    assert_eq!(foreign_tags(&sim, &source, AWAY), tags(&[("Name", "web-1")]));
    assert_eq!(foreign_tags(&sim, &other, AWAY), tags(&[("App", "shop")]));
    let unreadable: Vec<_> = run.unreadable.iter().map(|it| it.scope.clone()).collect();
    assert_eq!(unreadable, [member()]);
    sim.advance(hours(1));
    assert_eq!(failure(&sweep(&sim, &policy)), "", "there is nothing to ask for any more");
    failure(&run)
}

#[test]
fn a_role_that_cannot_be_used_is_told_and_costs_no_copy() {
    let told = without_the_members_role(|sim| sim.lock_out(&account(MEMBER), true));
    let start = "ScopesUnreadable: 333333333333/eu-central-1: cannot assume \
                 arn:aws:iam::333333333333:role/snapferry-source-reader in account 333333333333";
    assert!(told.starts_with(start) && !told.contains("secret"), "{told}");
    let told = without_the_members_role(|sim| {
        sim.on_call(|call| match call.operation {
            "DescribeSnapshots" if call.scope == scope(MEMBER, HOME) => {
                Fault::Refuse(ErrorKind::AccessDenied, "UnauthorizedOperation")
            }
            _ => Fault::None,
        });
    });
    assert!(
        told.starts_with("ScopesUnreadable: 333333333333/eu-central-1: AWS refused Desc"),
        "{told}"
    );
}

#[test]
fn two_policies_with_roles_of_one_account_tell_it_once() {
    let sim = sim();
    tagged(&sim, MEMBER, VOLUME);
    sim.lock_out(&account(MEMBER), true);
    let mut second = policy(&[MEMBER]);
    second["Name"] = json!("second");
    second["Targets"][0]["RoleArn"] = json!("arn:aws:iam::333333333333:role/other-reader");
    let run = sweep(&sim, &[policy(&[MEMBER]), second]);
    assert_eq!((copied(&run), run.unreadable.len()), (4, 1));
}
