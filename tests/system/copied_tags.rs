//! `CopyTags` of the vault: a role in the source account reads them, and without one there is the description.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use snapferry_tests::Result;
use snapferry_tests::lambda::Lambda;
use snapferry_tests::local_aws::{Place, Snapshot};
use snapferry_tests::roles::reader;
use snapferry_tests::stage::{EXTERNAL_ID, HOME, MEMBERS, Stage, TARGETS, VAULT, role_arn};

use crate::common::{MEMBER, count, failed, night, nightly, run, vault_policy};

const TARGET: Place<'static> = Place { account: VAULT, region: TARGETS[0] };

/// Roles as the templates have them; the first member has one that reads tags, the second has none. Both share one
/// snapshot of a volume that is called after its account.
fn stage(name: &str) -> Result<Stage> {
    let stage = Stage::new(name)?;
    stage.ask_roles()?;
    stage.reader_role(MEMBER.account)?;
    for account in MEMBERS {
        let tags =
            json!({"Backup": "daily", "Name": format!("db of {account}"), "team": "payments"});
        stage.aws.volumes(Place { account, region: HOME }, 1, &json!({"tags": tags}))?;
    }
    let rotate = stage.function("rotate-snapshots", &nightly(&[HOME], &json!({"Count": 2})))?;
    for _ in 0..2 {
        run(&stage, &rotate, &night(1))?;
    }
    Ok(stage)
}

/// A vault whose rule copies tags, which these roles read.
fn vault_function(stage: &Stage, readers: &[String]) -> Result<Lambda> {
    let mut policy = vault_policy(&[(TARGETS[0], &stage.key(TARGET)?)]);
    let targets = readers.iter().map(|arn| json!({"RoleArn": arn, "ExternalId": EXTERNAL_ID}));
    policy["Targets"] = targets.collect();
    let rule = &mut policy["PolicyDetails"]["Actions"][0]["CrossRegionCopy"][0];
    rule["CopyTags"] = json!(true);
    rule["TagsToAdd"] = json!([{"Key": "made-by", "Value": "vault"}]);
    stage.vault_function(&policy)
}

/// The copies of both members' snapshots, which are completed.
fn copies(stage: &Stage) -> Result<[Snapshot; 2]> {
    let copies = stage.aws.snapshots()?;
    let of = |account: &str| {
        let mut of_account =
            copies.iter().filter(|it| it.copied && it.tag("snapferry:source-account") == account);
        let copy = of_account.next().filter(|it| it.state == "completed").cloned();
        assert!(of_account.next().is_none(), "copied twice: {copies:?}");
        copy.ok_or_else(|| format!("no copy of {account}'s"))
    };
    let [one, other] = MEMBERS.map(of);
    Ok([one?, other?])
}

/// Without those that are ours.
fn tags(snapshot: &Snapshot) -> Value {
    let tags = snapshot.tags.as_object().into_iter().flatten();
    let tags = tags.filter(|(key, _)| !key.starts_with("snapferry:"));
    Value::Object(tags.map(|(key, value)| (key.clone(), value.clone())).collect())
}

fn by_description(account: &str) -> Value {
    json!({"Name": format!("db of {account}"), "made-by": "vault"})
}

#[test]
fn the_role_reads_them_and_where_it_is_missing_that_is_told() -> Result<()> {
    let stage = stage("copied-tags")?;
    let copy = vault_function(&stage, &MEMBERS.map(reader))?;
    stage.aws.clear("calls")?;
    let message = failed(&copy.invoke(&json!({}))?, "ScopesUnreadable");
    stage.aws.settle()?;
    for part in ["cannot assume", &reader(MEMBERS[1])] {
        assert!(message.contains(part), "{part} is not in: {message}");
    }
    assert!(!message.contains(&reader(MEMBERS[0])), "{message}");
    let [read, unread] = copies(&stage)?;
    let all = json!({
        "Backup": "daily", "Name": format!("db of {}", MEMBERS[0]), "team": "payments", "made-by": "vault",
    });
    assert_eq!(tags(&read), all, "the rule's own tag goes before the source's");
    assert_eq!(tags(&unread), by_description(MEMBERS[1]));
    let by_reader = stage.aws.get(&format!("calls?role={}", reader(MEMBERS[0])))?;
    let by_reader = by_reader["calls"].as_array().into_iter().flatten();
    let by_reader: Vec<_> = by_reader.map(|it| (&it["action"], &it["status"])).collect();
    assert_eq!(by_reader, [(&json!("DescribeSnapshots"), &json!(200))], "once, and nothing else");

    let report = run(&stage, &copy, &json!({}))?;
    assert_eq!(report["Status"], "Succeeded", "told once for each copy");
    assert_eq!(tags(&copies(&stage)?[1]), by_description(MEMBERS[1]), "no copy waits for its tags");
    Ok(())
}

#[test]
fn without_a_role_the_description_has_the_name() -> Result<()> {
    let stage = stage("copied-tags-none")?;
    let report = run(&stage, &vault_function(&stage, &[])?, &json!({}))?;
    assert_eq!((&report["Status"], count(&report, "CopySnapshot")), (&json!("Succeeded"), 2));
    for (copy, account) in copies(&stage)?.iter().zip(MEMBERS) {
        assert_eq!(tags(copy), by_description(account));
    }
    Ok(())
}

#[test]
fn the_vaults_role_may_assume_no_other_role() -> Result<()> {
    let stage = stage("copied-tags-other")?;
    // It trusts the vault's account, so that only the vault's own role stands in the way.
    let copy = vault_function(&stage, &[role_arn(MEMBERS[0]), reader(MEMBERS[1])])?;
    let message = failed(&copy.invoke(&json!({}))?, "ScopesUnreadable");
    stage.aws.settle()?;
    assert!(message.contains(&role_arn(MEMBERS[0])), "{message}");
    let made: BTreeSet<_> = copies(&stage)?.iter().map(|it| tags(it).to_string()).collect();
    assert_eq!(made, MEMBERS.map(|it| by_description(it).to_string()).into());
    Ok(())
}
