//! What the stacks deploy elsewhere: the rule of other Regions, which sends events home, and what carries it
//! and the member role there.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use snapferry_tests::Result;
use snapferry_tests::local_aws::{Place, Snapshot};
use snapferry_tests::roles::script_documents;
use snapferry_tests::stage::{AWAY, HOME, MEMBERS, Stage, TARGETS, VAULT, vault};
use snapferry_tests::template::Template;

use crate::common::{by_hand, share, slot, vault_policy};
use crate::deployed::{readme_json, source_key_statements};

const NAME: &str = "copy-shared-snapshots";
const REGION: &str = "functions/copy-shared-snapshots/region.yaml";
/// The rules of the vault's stack.
const RULES: [&str; 3] = ["SnapshotShared", "CopyFailed", "CopyFull"];

fn bus() -> String {
    format!("arn:aws:events:{HOME}:{VAULT}:event-bus/default")
}

/// The template of a Region.
fn region(stage: &Stage, name: &str, more: &[(&str, Value)]) -> Result<Template> {
    let mut parameters = vec![
        ("AWS::Region", json!(name)),
        ("AWS::AccountId", json!(VAULT)),
        ("EventBusArn", json!(bus())),
        ("ForwardingRoleArn", json!(format!("arn:aws:iam::{VAULT}:role/forward"))),
        ("Undelivered.Arn", json!(format!("arn:aws:sqs:{name}:{VAULT}:undelivered"))),
    ];
    parameters.extend_from_slice(more);
    stage.template(REGION, &parameters)
}

/// The vault's stack, with these parameters.
fn stack(stage: &Stage, more: &[(&str, Value)]) -> Result<Template> {
    let mut parameters = vec![
        ("AWS::Region", json!(HOME)),
        ("AWS::AccountId", json!(VAULT)),
        ("AWS::StackName", json!("snapferry")),
        ("Role", json!("both")),
        ("SourceAccounts", json!(MEMBERS)),
    ];
    for name in
        ["EventForwardingRole.Arn", "RegionsAdministrationRole.Arn", "RotateSnapshotsRole.Arn"]
    {
        parameters.push((name, json!(format!("arn:aws:iam::{VAULT}:role/{name}"))));
    }
    parameters.push(("RegionsExecutionRole", json!("execution-role")));
    parameters.extend_from_slice(more);
    stage.template("template.yaml", &parameters)
}

/// The vault's rules at home, as its stack makes them, and those that its StackSet makes in other Regions.
fn deploy(stage: &Stage) -> Result<()> {
    let template = stack(stage, &[])?;
    let function = format!("arn:aws:lambda:{HOME}:{VAULT}:function:{NAME}");
    for rule in RULES {
        let pattern = template.event_pattern("CopySharedSnapshotsFunction", rule)?;
        stage.put_rule(vault(), rule, &pattern, &function)?;
    }
    for name in [AWAY, TARGETS[0]] {
        for (rule, properties) in region(stage, name, &[])?.resources("AWS::Events::Rule")? {
            let target = properties["Targets"][0]["Arn"].as_str().ok_or("no target")?;
            let at = Place { account: VAULT, region: name };
            stage.put_rule(at, &rule, &properties["EventPattern"], target)?;
        }
    }
    Ok(())
}

fn copies(stage: &Stage) -> Result<Vec<Snapshot>> {
    Ok(stage.aws.snapshots()?.into_iter().filter(|it| it.copied).collect())
}

/// The rules through which the function was woken since the last time.
fn woken(stage: &Stage) -> Result<BTreeSet<String>> {
    let deliveries = stage.aws.get(&format!("deliveries?function={NAME}"))?;
    stage.aws.clear("deliveries")?;
    let deliveries = deliveries["deliveries"].as_array().into_iter().flatten();
    Ok(deliveries.filter_map(|it| it["source"].as_str().map(str::to_owned)).collect())
}

#[test]
fn a_share_in_another_region_is_copied_at_once_and_so_is_what_failed_there() -> Result<()> {
    let stage = Stage::new("regions")?;
    let key = stage.key(Place { account: VAULT, region: TARGETS[0] })?;
    let copy = stage.function(NAME, &vault_policy(&[(TARGETS[0], &key)]))?;
    stage.aws.post("functions", &json!({NAME: [copy.url]}))?;
    deploy(&stage)?;
    // Where no sweep of this policy looks.
    let away = Place { account: MEMBERS[0], region: AWAY };
    let volume = stage.aws.volumes(away, 1, &json!({}))?.remove(0);
    let id = by_hand(&stage.aws, away, &volume)?;
    let description = format!("Created for policy: daily schedule: nightly slot: {}", slot(1));
    let completed = json!({"id": id, "state": "completed", "description": description});
    stage.aws.post("snapshot", &completed)?;
    stage.aws.settle()?;
    woken(&stage)?;

    stage.aws.post("config", &json!({"copy_seconds": -1}))?;
    share(&stage.aws, away, &id, "add")?;
    stage.aws.get("deliveries?wait=idle&timeout=60")?;
    let made = copies(&stage)?;
    assert_eq!(made.len(), 1, "copied, and nobody swept");
    assert_eq!(made[0].tag("snapferry:source-region"), AWAY);
    let rule = |name: &str| BTreeSet::from([format!("rule/{VAULT}/{HOME}/{name}")]);
    assert_eq!(woken(&stage)?, rule("SnapshotShared"), "by the rule of the stack, at home");

    // It fails in the Region that it was to land in.
    stage.aws.post("config", &json!({"copy_seconds": 0.1}))?;
    stage.aws.post("snapshot", &json!({"id": made[0].id, "state": "error"}))?;
    stage.aws.settle()?;
    assert!(woken(&stage)?.is_superset(&rule("CopyFailed")), "told at once");
    let states: BTreeSet<_> = copies(&stage)?.into_iter().map(|it| it.state).collect();
    assert!(states.contains("completed"), "and made again at once: {states:?}");
    Ok(())
}

#[test]
fn a_region_sends_home_what_the_stacks_own_rules_take_and_nothing_else() -> Result<()> {
    let stage = Stage::new("regions-patterns")?;
    let template = stack(&stage, &[])?;
    let mut at_home = BTreeSet::new();
    let mut around = BTreeSet::new();
    for rule in RULES {
        let mut pattern = template.event_pattern("CopySharedSnapshotsFunction", rule)?;
        let mut detail = pattern["detail"].take();
        around.insert(pattern.to_string());
        let one_of = detail.as_object_mut().ok_or("no detail")?.remove("$or");
        let one_of = one_of.unwrap_or_else(|| json!([{}]));
        for more in one_of.as_array().into_iter().flatten().filter_map(Value::as_object) {
            let mut whole = detail.clone();
            whole.as_object_mut().ok_or("no detail")?.extend(more.clone());
            at_home.insert(whole.to_string());
        }
    }
    let rules = region(&stage, TARGETS[0], &[])?.resources("AWS::Events::Rule")?;
    let mut pattern = rules["ForwardSnapshotEvents"]["EventPattern"].clone();
    let sent = pattern["detail"].take()["$or"].take();
    let sent: BTreeSet<_> =
        sent.as_array().into_iter().flatten().map(ToString::to_string).collect();
    assert_eq!((sent, BTreeSet::from([pattern.to_string()])), (at_home, around));

    // At home it would send events to where they are, for ever.
    let makes_key = [("MakeKey", json!("true"))];
    for (name, rules, keys) in [(HOME, 0, 1), (AWAY, 1, 1)] {
        let template = region(&stage, name, &makes_key)?;
        assert_eq!(template.resources("AWS::Events::Rule")?.len(), rules, "{name}");
        assert_eq!(template.resources("AWS::KMS::Key")?.len(), keys, "{name}");
    }
    assert_eq!(region(&stage, AWAY, &[])?.resources("AWS::KMS::Key")?.len(), 0);
    Ok(())
}

#[test]
fn stack_sets_give_their_templates_what_these_take() -> Result<()> {
    let stage = Stage::new("stack-sets")?;
    assert!(stack(&stage, &[])?.resources("AWS::CloudFormation::StackSet")?.is_empty(), "none");
    let more = [
        ("TargetRegions", json!([HOME, "eu-west-1"])),
        ("VaultKeys", json!("true")),
        ("MemberOrganizationalUnits", json!(["ou-abcd-12345678"])),
        ("MemberExternalId", json!("secret")),
        ("OrganizationId", json!("o-1234567890")),
        ("VaultAccounts", json!([VAULT, MEMBERS[1]])),
        ("ScriptDocumentArns", script_documents()),
    ];
    let template = stack(&stage, &more)?;
    assert!(template.refused()?.is_empty());
    let sets = template.resources("AWS::CloudFormation::StackSet")?;
    let models = sets.iter().map(|(name, it)| (name.as_str(), it["PermissionModel"].as_str()));
    let models: Vec<_> = models.collect();
    assert_eq!(
        models,
        [("MemberRoles", Some("SERVICE_MANAGED")), ("Regions", Some("SELF_MANAGED"))]
    );
    for (name, set) in &sets {
        let given: Vec<(&str, Value)> = set["Parameters"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|it| {
                (it["ParameterKey"].as_str().unwrap_or_default(), it["ParameterValue"].clone())
            })
            .collect();
        assert!(given.iter().all(|(_, value)| value.is_string()), "{given:?}");
        let child = stage.template(set["TemplateURL"].as_str().ok_or("no template")?, &given)?;
        let declared = child.declared()?;
        for (parameter, _) in &given {
            assert!(declared.contains_key(*parameter), "{name} gives {parameter}");
        }
        let mut needed = declared.iter().filter(|(_, has_default)| !**has_default);
        assert!(
            needed.all(|(it, _)| given.iter().any(|(name, _)| name == it)),
            "{name}: {given:?}"
        );
    }
    let members = &sets["MemberRoles"];
    let member = |key: &str| {
        let mut all = members["Parameters"].as_array().into_iter().flatten();
        all.find(|it| it["ParameterKey"] == key).map(|it| it["ParameterValue"].clone())
    };
    assert_eq!(member("VaultAccounts"), Some(json!(format!("{VAULT},{}", MEMBERS[1]))));
    assert_eq!(member("ExternalId"), Some(json!("secret")));
    let documents: Vec<_> =
        script_documents().as_array().into_iter().flatten().map(ToString::to_string).collect();
    let documents = documents.join(",").replace('"', "");
    assert_eq!(member("ScriptDocumentArns"), Some(json!(documents)));
    let sends = template.resource("EventForwardingRole")?;
    let sends = &sends["Policies"][0]["PolicyDocument"]["Statement"];
    let to = json!({"Sid": "PutEventsHere", "Effect": "Allow", "Action": "events:PutEvents", "Resource": bus()});
    assert_eq!(*sends, json!([to]), "to that bus, and nowhere else");
    assert_eq!(sets["Regions"]["Parameters"][0]["ParameterValue"], bus());
    let groups = &sets["Regions"]["StackInstancesGroup"][0];
    assert_eq!(groups["Regions"], json!([HOME, "eu-west-1"]));
    assert_eq!(groups["DeploymentTargets"]["Accounts"], json!([VAULT]));
    Ok(())
}

#[test]
fn parameters_that_need_another_are_refused_without_it() -> Result<()> {
    let stage = Stage::new("parameter-rules")?;
    let refused = |more: &[(&str, Value)]| stack(&stage, more)?.refused();
    let organization = ("OrganizationId", json!("o-1234567890"));
    let units = ("MemberOrganizationalUnits", json!(["ou-abcd-12345678"]));
    let regions = ("TargetRegions", json!(["eu-west-1"]));
    let keys = ("VaultKeys", json!("true"));
    let role = |name: &str| ("Role", json!(name));
    for (more, begins) in [
        (vec![], ""),
        (vec![regions.clone(), keys.clone(), units.clone(), organization.clone()], ""),
        (vec![role("vault"), ("SourceAccounts", json!(""))], "SourceAccounts must name"),
        (vec![role("central"), regions.clone()], "TargetRegions is for Role vault or both"),
        (vec![keys], "VaultKeys makes a key in each of TargetRegions"),
        (vec![units.clone()], "MemberOrganizationalUnits needs OrganizationId"),
        (vec![role("vault"), units, organization], "MemberOrganizationalUnits is for Role central"),
    ] {
        let said = refused(&more)?;
        assert_eq!(said.len(), usize::from(!begins.is_empty()), "{more:?}: {said:?}");
        assert!(said.iter().all(|it| it.starts_with(begins)), "{more:?}: {said:?}");
    }
    Ok(())
}

#[test]
fn readme_shows_the_statements_for_source_keys_as_the_stack_tells_them() -> Result<()> {
    let stage = Stage::new("source-key-statements")?;
    let told = source_key_statements(&stage, "<CopySharedSnapshotsRoleArn>")?;
    let shown: Vec<Value> = serde_json::from_str(&readme_json("VaultCopiesSnapshots")?)?;
    assert_eq!(shown, told);
    Ok(())
}
