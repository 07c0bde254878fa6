//! Nothing in a policy is there for nothing: without any one of its statements, something that functions do would be
//! refused.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use snapferry_tests::Result;
use snapferry_tests::lambda::Lambda;
use snapferry_tests::local_aws::Place;
use snapferry_tests::machine::project;
use snapferry_tests::proof::Proof;
use snapferry_tests::roles::{VAULT_ROLE, reader, script_documents, vault_role};
use snapferry_tests::stage::{AWAY, EXTERNAL_ID, HOME, MEMBERS, Stage, TARGETS, VAULT, vault};
use snapferry_tests::template::POLICIES;

use super::elsewhere::ELSEWHERE;
use super::{policies, stage};
use crate::common::{MEMBER, age, night, of_volumes, run, vault_policy};
use crate::instances::{instance, scripted};

const UNIT: &str = "ou-ab12-cd34ef56";

/// Actions that no call here needs, and why they are allowed.
const IDLE: [(&str, &str); 1] = [(
    "kms:GenerateDataKey",
    "the EBS user guide asks for it where a copy is encrypted; the local AWS, as AWS Backup's own policy, only for the \
     one without plaintext",
)];

#[test]
fn every_statement_is_needed_and_every_action_of_it() -> Result<()> {
    let mut proof = in_member_accounts()?;
    proof.add(&in_its_own_account()?);
    proof.add(&crate::backup::proof()?);
    assert_eq!(proof.refused, Vec::<String>::new());
    let mut idle = BTreeSet::new();
    for (name, statement) in proof.statements.iter().filter(|(_, it)| it.allows) {
        assert!(statement.alone > 0, "no call needs {name}");
        for action in &statement.idle {
            assert!(IDLE.iter().any(|(it, _)| it == action), "no call needs {action} of {name}");
            idle.insert(action.as_str());
        }
    }
    assert_eq!(idle, IDLE.map(|(action, _)| action).into(), "what is idle, and what is said to be");
    println!("This test:\n\n{}", proof.table());
    println!("All end-to-end tests, as each has run last:\n\n{}", Proof::of_the_suite()?.table());
    println!("By AWS's services, not by the functions:\n");
    for (statement, why) in ELSEWHERE {
        println!("| {statement} | {why} |");
    }
    println!("\nActions that are allowed all the same:\n");
    for (action, why) in IDLE {
        println!("| {action} | {why} |");
    }
    Ok(())
}

#[test]
fn every_statement_of_every_template_is_accounted_for() -> Result<()> {
    let stage = Stage::new("accounted")?;
    let mut written = BTreeSet::new();
    for path in templates()? {
        written.extend(stage.template(&path, &[])?.statements());
    }
    let everything = ["PolicyKeyArn", "OrganizationId"].map(|name| (name, json!("any")));
    let documents = ("BackupCommandDocuments", json!(["any"]));
    let more = [("ActInOwnAccount", json!("true")), documents];
    stage.deployed_with(everything.into_iter().chain(more));
    let proof = stage.prove()?; // of nothing yet: it has the names
    let by_others = ELSEWHERE.iter().map(|(name, _)| (*name).to_owned());
    let by_trust = super::trust::STATEMENTS.iter().map(|name| (*name).to_owned());
    let known: BTreeSet<_> =
        proof.statements.into_keys().chain(by_others).chain(by_trust).collect();
    assert_eq!(known, written, "statements that tests know, and that templates have");
    Ok(())
}

/// `template.yaml`, and those of the functions.
fn templates() -> Result<Vec<String>> {
    let mut found = vec!["template.yaml".to_owned()];
    for function in std::fs::read_dir(project().join("functions"))? {
        for file in std::fs::read_dir(function?.path())? {
            let path = file?.path();
            if path.extension().is_some_and(|it| it == "yaml") {
                found.push(path.strip_prefix(project())?.display().to_string());
            }
        }
    }
    Ok(found)
}

/// Everything that functions do in member accounts and the vault, in roles that have the templates' policies: they read
/// their policies out of Parameter Store, under a key of the user's.
fn in_member_accounts() -> Result<Proof> {
    const READERS: &str = "functions/rotate-snapshots/vault-reader-role.yaml";
    let stage = stage("permissions")?;
    let policy_key = ("PolicyKeyArn", json!(stage.key(vault())?));
    let organization = ("OrganizationId", json!("o-0123456789"));
    let units = json!({UNIT: {"accounts": MEMBERS}});
    stage.aws.post("organization", &json!({"account": VAULT, "units": units}))?;
    stage.deployed_with([policy_key.clone(), organization.clone()]);
    let (account, sources) = (("AWS::AccountId", json!(VAULT)), ("SourceAccounts", json!(MEMBERS)));
    let parameters = [account, sources, policy_key.clone(), organization];
    let template = stage.template("template.yaml", &parameters)?;
    stage.put_policy(VAULT, VAULT_ROLE, &template.policy("CopySharedSnapshotsRole")?)?;
    stage.function_role(VAULT, "central", &template.policy("RotateSnapshotsRole")?)?;
    let central = format!("arn:aws:iam::{VAULT}:role/central");
    stage.reader_role(MEMBER.account)?;
    let external_id = ("ExternalId", json!(EXTERNAL_ID));
    let of_central = [("CentralRoleArn", json!(central)), external_id];
    stage.deploy_role(VAULT, READERS, "VaultReaderRole", &of_central)?;

    let mut documents = world(&stage)?;
    let key = stage.key(Place { account: VAULT, region: AWAY })?;
    let mut until_copied = of_volumes(
        "until-copied",
        &json!({"RetainRule": {"Count": 1}, "ShareRules": [{
            "TargetAccounts": [VAULT],
            "UnshareWhenCopied": {
                "RoleArn": format!("arn:aws:iam::{VAULT}:role/snapferry-vault-reader"),
                "ExternalId": EXTERNAL_ID, "Regions": [AWAY],
            },
        }]}),
    );
    until_copied["Targets"] = json!([{
        "OrganizationalUnits": [UNIT], "ExcludeAccounts": [MEMBERS[1]], "ExternalId": EXTERNAL_ID,
        "RoleArn": "arn:aws:iam::*:role/snapferry-member",
    }]);
    documents.push(until_copied);
    stage.aws.volumes(MEMBER, 1, &json!({"tags": {"Backup": "until-copied"}}))?;
    let under = policy_key.1.as_str().unwrap_or_default();
    let rotate = function(&stage, "rotate-snapshots", &central, &documents, under)?;
    let copy = function(&stage, "copy-shared-snapshots", &vault_role(), &[copies(&key)], under)?;
    stage.aws.clear("calls")?;
    for _ in 0..2 {
        for _ in 0..3 {
            run(&stage, &rotate, &night(1))?;
            run(&stage, &copy, &json!({}))?;
        }
        age(&stage.aws, 3)?;
    }
    ended(&stage)
}

/// The same policies without `Targets`: the central function acts in its own account, in its own role.
fn in_its_own_account() -> Result<Proof> {
    let stage = stage("permissions-own-account")?;
    let own = [
        ("ActInOwnAccount", json!("true")),
        ("VaultAccounts", json!([VAULT])),
        ("ScriptDocumentArns", script_documents()),
    ];
    stage.deployed_with(own.clone());
    let parameters = [own.to_vec(), vec![("AWS::AccountId", json!(MEMBER.account))]].concat();
    let template = stage.template("template.yaml", &parameters)?;
    let mut policy = template.policy("RotateSnapshotsRole")?;
    let mut more = template.policy("RotateSnapshotsOwnAccountPolicy")?;
    if let (Some(all), Some(more)) =
        (policy["Statement"].as_array_mut(), more["Statement"].as_array_mut())
    {
        all.append(more);
    }
    stage.function_role(MEMBER.account, "central", &policy)?;
    let mut documents = world(&stage)?;
    for document in documents.iter_mut().filter_map(Value::as_object_mut) {
        document.remove("Targets");
    }
    let central = format!("arn:aws:iam::{}:role/central", MEMBER.account);
    let mut env = stage.assume(MEMBER.account, &central, None)?.env();
    env.push(("POLICIES", json!(documents).to_string()));
    let rotate = stage.function_with("rotate-snapshots", env, 300)?;
    stage.aws.clear("calls")?;
    for _ in 0..2 {
        for _ in 0..3 {
            run(&stage, &rotate, &night(1))?;
        }
        age(&stage.aws, 3)?;
    }
    ended(&stage)
}

/// What was proven, where nothing was refused.
fn ended(stage: &Stage) -> Result<Proof> {
    let refused: Vec<_> = stage.aws.calls()?.into_iter().filter(|call| !call.succeeded).collect();
    assert!(refused.is_empty(), "{refused:?}");
    stage.prove()
}

/// Something for each of the policies, which it answers.
fn world(stage: &Stage) -> Result<Vec<Value>> {
    let source_key = stage.key(MEMBER)?;
    for (name, key) in [("full", Some(source_key)), ("locked", None), ("archived", None)] {
        stage.aws.volumes(MEMBER, 1, &json!({"tags": {"Backup": name}, "kms_key": key}))?;
    }
    instance(stage, &json!({"Backup": "set"}), &json!([{}, {"tags": {"scratch": "yes"}}]))?;
    let key = stage.key(Place { account: MEMBER.account, region: AWAY })?;
    let mut documents = policies(&key).as_array().cloned().ok_or("no policies")?;
    // The first pre-script does not end and is cancelled, the second one does.
    stage.aws.post("config", &json!({"command_timeout_factor": 0.01}))?;
    let slow = json!({"scripts": {"pre-script": {"seconds": 10, "at": "begin", "times": 1}}});
    documents.push(scripted(stage, &slow)?.1);
    Ok(documents)
}

/// What the vault's function can be asked to do; the copies are under this key.
fn copies(key: &str) -> Value {
    let mut vault = vault_policy(&[]);
    vault["Targets"] = json!([{"RoleArn": reader(MEMBER.account), "ExternalId": EXTERNAL_ID}]);
    vault["PolicyDetails"]["EventSource"]["Parameters"]["DescriptionRegex"] =
        json!("policy: full ");
    let retain = json!({"Count": 1});
    let lock = json!({"Mode": "GOVERNANCE", "DurationDays": 2});
    vault["PolicyDetails"]["Actions"][0]["CrossRegionCopy"] = json!([
        {"Target": AWAY, "EncryptionConfiguration": {"Encrypted": true, "CmkArn": key},
         "RetainRule": retain, "LockRule": lock, "CopyTags": true},
        {"Target": TARGETS[0], "EncryptionConfiguration": {"Encrypted": true}, "RetainRule": retain},
    ]);
    vault
}

/// A function in a role, with documents in Parameter Store that are encrypted under a key.
fn function(
    stage: &Stage,
    name: &str,
    role: &str,
    documents: &[Value],
    key: &str,
) -> Result<Lambda> {
    let place = Place { account: VAULT, region: HOME };
    for document in documents {
        let parameter = json!({
            "Name": format!("{POLICIES}{name}/{}", document["Name"].as_str().unwrap_or_default()),
            "Type": "SecureString", "KeyId": key, "Value": document.to_string(),
        });
        stage.aws.json(place, "ssm", "AmazonSSM.PutParameter", &parameter)?;
    }
    let mut env = stage.assume(VAULT, role, None)?.env();
    env.push(("POLICIES", format!("ssm:{POLICIES}{name}/")));
    stage.function_with(name, env, 300)
}
