//! The statements that a report prints for a key: pasted where it says, they are all that was missing.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Deserializer, Value, json};
use snapferry_tests::Result;
use snapferry_tests::lambda::{Answer, Lambda};
use snapferry_tests::local_aws::{Place, Snapshot};
use snapferry_tests::roles::{VAULT_ROLE, vault_role};
use snapferry_tests::stage::{Stage, TARGETS, VAULT};

use crate::common::{MEMBER, failed, put_key_policy, shared, vault_policy};

const TARGET: Place<'static> = Place { account: VAULT, region: TARGETS[0] };

/// A snapshot under a member's key, shared, and a vault that copies it in its role under its own key.
struct Cast {
    stage: Stage,
    source_key: String,
    key: String,
    copy: Lambda,
    /// What the role may do, beside what is pasted.
    role: Vec<Value>,
    /// What was pasted, by key or role.
    pasted: BTreeMap<String, Vec<Value>>,
}

impl Cast {
    /// `key_policy`: what the policy of the member's key lets the vault do; `with_keys`: whether the role has the
    /// template's statements about keys.
    fn new(name: &str, key_policy: &[&str], with_keys: bool) -> Result<Self> {
        let stage = Stage::new(name)?;
        stage.ask_roles()?;
        stage.aws.post("config", &json!({"key_policies": true}))?;
        let source_key = stage.key(MEMBER)?;
        shared(&stage.aws, MEMBER, 1, &json!({"kms_key": source_key}))?;
        let statement = json!({
            "Effect": "Allow", "Principal": {"AWS": vault_role()}, "Action": key_policy, "Resource": "*",
        });
        let statements = if key_policy.is_empty() { vec![] } else { vec![statement] };
        put_key_policy(&stage.aws, MEMBER, &source_key, &statements)?;
        let of_template = stage.vault_policy()?;
        let mut role: Vec<Value> =
            of_template["Statement"].as_array().ok_or("no statements")?.clone();
        role.retain(|it| with_keys || !it["Action"].to_string().contains("kms:"));
        let key = stage.key(TARGET)?;
        let copy = stage.vault_function(&vault_policy(&[(TARGETS[0], &key)]))?;
        let pasted = BTreeMap::from([(source_key.clone(), statements)]);
        let cast = Self { stage, source_key, key, copy, role, pasted };
        cast.put()?;
        Ok(cast)
    }

    /// Gives the key and the role what was pasted.
    fn put(&self) -> Result<()> {
        let aws = &self.stage.aws;
        let of = |whose: &str| self.pasted.get(whose).cloned().unwrap_or_default();
        put_key_policy(aws, MEMBER, &self.source_key, &of(&self.source_key))?;
        let statements = [self.role.clone(), of(&vault_role())].concat();
        let policy = json!({"Version": "2012-10-17", "Statement": statements});
        self.stage.put_policy(VAULT, VAULT_ROLE, &policy)
    }

    fn copies(&self, state: &str) -> Result<Vec<Snapshot>> {
        let mut copies = self.stage.aws.snapshots()?;
        copies.retain(|it| it.copied && it.state == state);
        Ok(copies)
    }

    /// Sweeps, and pastes what the report prints, until it prints nothing any more. Answers which key or role lacked
    /// something, sweep by sweep. What is said once more of a copy that had failed before the last pasting is passed
    /// over.
    fn paste_all(&mut self) -> Result<Vec<BTreeSet<String>>> {
        let mut lacked = Vec::new();
        let mut quiet = 0;
        let mut known = Vec::new();
        for _ in 0..12 {
            let answer = self.copy.invoke(&json!({}))?;
            self.stage.aws.settle()?;
            if let Answer::Report(report) = &answer {
                quiet = if report["Actions"] == json!([]) { quiet + 1 } else { 0 };
                if quiet == 2 {
                    return Ok(lacked);
                }
                continue;
            }
            quiet = 0;
            let message = failed(&answer, "ActionsFailed");
            let in_error = self.copies("error")?;
            let mut of_copies = in_error.iter().filter(|it| message.contains(&it.id)).peekable();
            if of_copies.peek().is_some() && of_copies.all(|it| known.contains(&it.id)) {
                continue;
            }
            let printed = printed(&message)?;
            assert!(!printed.is_empty(), "nothing to paste in: {message}");
            lacked.push(printed.iter().map(|(whose, _)| whose.clone()).collect());
            for (whose, statements) in printed {
                self.pasted.entry(whose).or_default().extend(statements);
            }
            self.put()?;
            known = in_error.into_iter().map(|it| it.id).collect();
            self.stage.aws.post("age", &json!({"days": 0.05}))?; // failed twice: tried again after an hour
        }
        Err(format!("the vault does not come to rest: {lacked:?}").into())
    }

    fn assert_copied(&self) -> Result<()> {
        let keys: Vec<_> = self.copies("completed")?.into_iter().map(|it| it.key).collect();
        assert_eq!(keys, [Some(self.key.clone())]);
        assert!(self.copies("error")?.is_empty(), "no copy in error is left");
        Ok(())
    }
}

/// `… <key or role> lacks <statements as JSON>`, as often as the message says it.
fn printed(message: &str) -> Result<Vec<(String, Vec<Value>)>> {
    let mut found = Vec::new();
    let mut parts = message.split(" lacks ").peekable();
    while let (Some(before), Some(after)) = (parts.next(), parts.peek()) {
        let whose = before.rsplit(' ').next().unwrap_or_default().to_owned();
        let statements = Deserializer::from_str(after).into_iter::<Vec<Value>>().next();
        found.push((whose, statements.ok_or("no JSON")??));
    }
    Ok(found)
}

fn set(one: &str) -> BTreeSet<String> {
    BTreeSet::from([one.to_owned()])
}

#[test]
fn of_the_sources_key() -> Result<()> {
    let mut cast = Cast::new("statement-key", &[], true)?;
    assert_eq!(cast.paste_all()?, [set(&cast.source_key)], "the key's policy, and that only");
    cast.assert_copied()
}

#[test]
fn of_the_vaults_role() -> Result<()> {
    let mut cast = Cast::new("statement-role", &["kms:*"], false)?;
    let role = set(&vault_role());
    assert_eq!(cast.paste_all()?, [role.clone(), role], "for its own key, then for the source's");
    cast.assert_copied()
}

#[test]
fn of_both() -> Result<()> {
    let mut cast = Cast::new("statement-both", &[], false)?;
    let (role, key) = (set(&vault_role()), set(&cast.source_key));
    assert_eq!(cast.paste_all()?, [role.clone(), role, key]);
    cast.assert_copied()
}

#[test]
fn of_one_of_them_when_aws_does_not_say_which() -> Result<()> {
    let mut cast = Cast::new("statement-either", &["kms:DescribeKey"], true)?;
    let lacked = cast.paste_all()?;
    let either = BTreeSet::from([cast.source_key.clone(), vault_role()]);
    // The keys can be looked at, so that every policy may lack something, the vault's own key's too.
    assert_eq!(lacked.len(), 1, "{lacked:?}");
    assert!(lacked.iter().all(|it| it.is_superset(&either)), "{lacked:?}");
    cast.assert_copied()
}
