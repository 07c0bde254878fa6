//! The template as CloudFormation makes it: SAM's transform, the stack, and runs of the built functions with the
//! environment, the role, the schedule and the rules that the stack gave them.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use snapferry_tests::Result;
use snapferry_tests::cloud::{Cloud, Deployed, Wanted, eventually};
use snapferry_tests::local_aws::{Place, Snapshot};
use snapferry_tests::stage::{HOME, Stage};
use snapferry_tests::template::Template;

use crate::common::{ec2, element};
use crate::deployed::{CENTRAL, EXTERNAL_IDS, MEMBER, VAULT, assert_nothing_refused};

/// What the emulator cannot make; it is left out of the stacks here.
pub(crate) const UNSUPPORTED: [&str; 1] = ["AWS::CloudFormation::StackSet"];
const BOTH: &str = "555555555555";
const CENTRAL_STACK: &[(&str, &str)] = &[("Role", "central")];
const VAULT_STACK: &[(&str, &str)] =
    &[("Role", "vault"), ("SourceAccounts", "333333333333,444444444444")];
/// With everything that is off by default.
const BOTH_STACK: &[(&str, &str)] = &[
    ("Role", "both"),
    ("SourceAccounts", "333333333333"),
    ("ActInOwnAccount", "true"),
    ("VaultAccounts", "222222222222,444444444444"),
    (
        "ScriptDocumentArns",
        "arn:aws:ssm:*::document/AWSEC2-CreateVssSnapshot,arn:aws:ssm:*:333333333333:document/freeze",
    ),
    ("OrganizationId", "o-0123456789"),
    ("AlarmTopicArn", "arn:aws:sns:eu-central-1:555555555555:alarms"),
    ("DeleteLimit", "7"),
    ("PresignedUrl", "off"),
    ("SilenceHours", "5"),
    ("StaleAfterMinutes", "90"),
    ("FleetConcurrency", "2"),
    ("TargetRegions", "eu-west-1"),
    ("MemberOrganizationalUnits", "ou-ab12-cd34ef56"),
    ("OnDemandBackup", "true"),
    ("BackupSchedule", "rate(1 day)"),
    ("BackupDefaults", r#"{"Lifecycle": {"DeleteAfterDays": 9}}"#),
    ("BackupCommandDocuments", "arn:aws:ssm:eu-central-1:555555555555:document/application"),
    ("BackupVaultMinRetentionDays", "7"),
];
const STACKS: [(&str, &[(&str, &str)]); 3] =
    [(CENTRAL, CENTRAL_STACK), (VAULT, VAULT_STACK), (BOTH, BOTH_STACK)];
/// How the names of list parameters end.
const LISTS: [&str; 5] = ["Accounts", "Arns", "Documents", "Regions", "Units"];
const NAME: &str = "snapferry";
const SOON: Duration = Duration::from_secs(20);

fn home(account: &str) -> Place<'_> {
    Place { account, region: HOME }
}

fn wanted<'a>(account: &'a str, parameters: &'a [(&'a str, &'a str)]) -> Wanted<'a> {
    let template = "template.yaml";
    Wanted { place: home(account), name: NAME, template, parameters, without: &UNSUPPORTED }
}

/// The same template, resolved by ourselves.
fn resolved(stage: &Stage, account: &str, parameters: &[(&str, &str)]) -> Result<Template> {
    let value = |(name, value): &(&str, &str)| match *name {
        name if LISTS.iter().any(|it| name.ends_with(it)) => value.split(',').collect(),
        "SilenceHours" => value.parse::<u32>().map(Value::from).unwrap_or_default(),
        _ => json!(value),
    };
    let mut all: Vec<_> = parameters.iter().map(|it| (it.0, value(it))).collect();
    let pseudo = [("AWS::AccountId", account), ("AWS::Region", HOME), ("AWS::StackName", NAME)];
    all.extend(pseudo.map(|(name, value)| (name, json!(value))));
    stage.template("template.yaml", &all)
}

#[test]
fn every_role_becomes_a_whole_stack_of_what_its_conditions_say() -> Result<()> {
    let stage = Stage::new("stack-whole")?;
    let cloud = stage.cloud()?;
    let mut types = BTreeSet::new();
    for (account, parameters) in STACKS {
        let made = cloud.create(wanted(account, parameters))?;
        let ours = resolved(&stage, account, parameters)?;
        let mut expected = BTreeSet::new();
        for (id, resource) in made.template["Resources"].as_object().ok_or("no resources")? {
            types.insert(resource["Type"].as_str().unwrap_or_default().to_owned());
            if resource["Condition"].as_str().map_or(Ok(true), |it| ours.condition(it))? {
                expected.insert(id);
            }
        }
        let found: BTreeSet<_> = made.resources.as_object().ok_or("no stack")?.keys().collect();
        assert_eq!(found, expected, "{account}");
        for (name, output) in made.template["Outputs"].as_object().ok_or("no outputs")? {
            let there = output["Condition"].as_str().map_or(Ok(true), |it| ours.condition(it))?;
            assert_eq!(!made.outputs[name].is_null(), there, "{account}: {name}");
        }
    }
    let nameless = Wanted { name: "nameless", ..wanted(VAULT, &[("Role", "vault")]) };
    let refused = cloud.create(nameless).err().ok_or("a vault without sources was accepted")?;
    let why = "SourceAccounts must name the accounts to copy from when Role is vault or both.";
    assert!(refused.to_string().contains(why), "{refused}");

    types.extend(UNSUPPORTED.map(str::to_owned));
    types.insert("AWS::Nobody::KnowsThis".to_owned());
    let refused = UNSUPPORTED.iter().copied().chain(["AWS::Nobody::KnowsThis"]).collect::<Vec<_>>();
    let resources: Value =
        types.iter().enumerate().map(|(n, it)| (format!("R{n}"), json!({"Type": it}))).collect();
    let body = json!({"Resources": resources}).to_string();
    let params = json!({"StackName": "types", "TemplateBody": body});
    let answer = cloud.call(home(CENTRAL), "cloudformation", "create_stack", &params);
    let told = answer.err().ok_or("unknown types were accepted")?.to_string();
    let end = format!("Unrecognized resource types: [{}]", refused.join(", "));
    assert!(told.ends_with(&end), "UNSUPPORTED is not what the emulator refuses: {told}");
    Ok(())
}

#[test]
fn what_the_stack_made_has_the_values_of_the_template() -> Result<()> {
    let stage = Stage::new("stack-values")?;
    let cloud = stage.cloud()?;
    for (account, parameters) in STACKS {
        let made = cloud.create(wanted(account, parameters))?;
        let ours = resolved(&stage, account, parameters)?;
        let mut seen = 0;
        for function in ["RotateSnapshots", "CopySharedSnapshots"] {
            let id = format!("{function}Function");
            if made.id(&id).is_ok() {
                assert_function(&cloud, &made, &ours, account, function)?;
                assert_role(&cloud, &made, &ours, account, function)?;
                seen += 1;
            }
        }
        assert_eq!(seen, if account == BOTH { 2 } else { 1 }, "{account}");
        let alarms = assert_alarms(&cloud, &made, &ours, account)?;
        assert!(alarms >= 5 * seen, "{account} has {alarms} alarms");
    }
    Ok(())
}

fn assert_function(
    cloud: &Cloud,
    made: &Deployed,
    ours: &Template,
    account: &str,
    function: &str,
) -> Result<()> {
    let id = format!("{function}Function");
    let named = json!({"FunctionName": made.id(&id)?});
    let found = cloud.call(home(account), "lambda", "get_function_configuration", &named)?;
    for (member, pointer) in [
        ("/Environment/Variables", "/Globals/Function/Environment/Variables"),
        ("/Timeout", "/Globals/Function/Timeout"),
        ("/MemorySize", "/Globals/Function/MemorySize"),
        ("/Runtime", "/Globals/Function/Runtime"),
        ("/Architectures", "/Globals/Function/Architectures"),
        ("/LoggingConfig/LogFormat", "/Globals/Function/LoggingConfig/LogFormat"),
        (
            "/LoggingConfig/ApplicationLogLevel",
            "/Globals/Function/LoggingConfig/ApplicationLogLevel",
        ),
    ] {
        assert_eq!(found.pointer(member), Some(&ours.value(pointer)?), "{account}: {id} {pointer}");
    }
    let log = made.id(&format!("{function}LogGroup"))?;
    assert_eq!(found["LoggingConfig"]["LogGroup"], log);
    let params = json!({"FunctionName": made.id(&id)?, "Qualifier": "$LATEST"});
    let config =
        cloud.call(home(account), "lambda", "get_function_event_invoke_config", &params)?;
    for name in ["MaximumRetryAttempts", "MaximumEventAgeInSeconds"] {
        let pointer = format!("/Resources/{id}/Properties/EventInvokeConfig/{name}");
        assert_eq!(config[name], ours.value(&pointer)?, "{account}: {pointer}");
    }
    Ok(())
}

/// What the function's role may do in EC2, with keys and with other roles.
fn assert_role(
    cloud: &Cloud,
    made: &Deployed,
    ours: &Template,
    account: &str,
    function: &str,
) -> Result<()> {
    let role = made.id(&format!("{function}Role"))?;
    let listed =
        cloud.call(home(account), "iam", "list_role_policies", &json!({"RoleName": role}))?;
    let mut statements = Vec::new();
    for name in listed["PolicyNames"].as_array().into_iter().flatten() {
        let params = json!({"RoleName": role, "PolicyName": name});
        let policy = cloud.call(home(account), "iam", "get_role_policy", &params)?;
        statements.extend(
            policy["PolicyDocument"]["Statement"].as_array().into_iter().flatten().cloned(),
        );
    }
    let mut wanted = ours.policy(&format!("{function}Role"))?;
    if account == BOTH && function == "RotateSnapshots" {
        let own = "/Resources/RotateSnapshotsOwnAccountPolicy/Properties/PolicyDocument/Statement";
        let mut own = ours.value(own)?;
        let (all, own) = (wanted["Statement"].as_array_mut(), own.as_array_mut());
        all.ok_or("no statements")?.append(own.ok_or("no statements")?);
    }
    for statement in wanted["Statement"].as_array().into_iter().flatten() {
        assert!(statements.contains(statement), "{account}: {statement} is not in {statements:?}");
    }
    Ok(())
}

/// Answers how many there are.
fn assert_alarms(cloud: &Cloud, made: &Deployed, ours: &Template, account: &str) -> Result<usize> {
    let alarms = cloud.call(home(account), "cloudwatch", "describe_alarms", &json!({}))?;
    let alarms = alarms["MetricAlarms"].as_array().ok_or("no alarms")?;
    for (id, resource) in made.template["Resources"].as_object().ok_or("no resources")? {
        if resource["Type"] != "AWS::CloudWatch::Alarm" {
            continue;
        }
        let Some(name) = made.resources[id].as_str() else { continue };
        let found = alarms.iter().find(|it| it["AlarmName"] == name);
        let found = found.ok_or_else(|| format!("{account} has no {id}"))?;
        for member in resource["Properties"].as_object().ok_or("no properties")?.keys() {
            let value = match member.as_str() {
                "Dimensions" => continue, // these name other resources
                "AlarmActions" | "OKActions" if account != BOTH => json!([]),
                _ => ours.value(&format!("/Resources/{id}/Properties/{member}"))?,
            };
            let number = value.as_f64().or_else(|| value.as_str()?.parse().ok());
            let same = match (number, found[member].as_f64()) {
                (Some(one), Some(other)) => (one - other).abs() < f64::EPSILON,
                _ => value == found[member],
            };
            assert!(same, "{account}: {id} {member}: {} for {value}", found[member]);
        }
    }
    Ok(alarms.len())
}

/// What the stack wrote as an example, in force, after `change`; it lies in the local AWS, where functions read it.
fn put_policy(
    stage: &Stage,
    cloud: &Cloud,
    made: &Deployed,
    account: &str,
    change: impl FnOnce(&mut Value),
) -> Result<()> {
    let prefix = made.outputs["PolicyPath"].as_str().ok_or("no PolicyPath")?;
    let path = json!({"Path": prefix});
    let examples = cloud.call(home(account), "ssm", "get_parameters_by_path", &path)?;
    let text = examples["Parameters"][0]["Value"].as_str().ok_or("no example")?;
    let mut policy: Value = serde_json::from_str(text)?;
    assert_eq!(policy["State"], "DISABLED");
    policy["State"] = json!("ENABLED");
    change(&mut policy);
    let name = format!("{prefix}mine");
    let parameter = json!({"Name": name, "Type": "String", "Value": policy.to_string()});
    stage.aws.json(home(account), "ssm", "AmazonSSM.PutParameter", &parameter).map(drop)
}

#[test]
fn the_deployed_schedule_wakes_the_function_which_takes_a_snapshot_in_its_deployed_role()
-> Result<()> {
    let stage = Stage::new("stack-central")?;
    stage.aws.post("config", &json!({"identity_policies": true}))?;
    let cloud = stage.cloud()?;
    let central = cloud.create(wanted(CENTRAL, CENTRAL_STACK))?;
    let role = central.outputs["RotateSnapshotsRoleArn"].as_str().ok_or("no role")?;
    let parameters = [("CentralRoleArn", role), ("ExternalId", EXTERNAL_IDS[0])];
    let template = "functions/rotate-snapshots/member-role.yaml";
    let place = MEMBER;
    cloud.create(Wanted {
        place,
        name: "member",
        template,
        parameters: &parameters,
        without: &[],
    })?;
    put_policy(&stage, &cloud, &central, CENTRAL, |policy| {
        let target = &mut policy["PolicyDetails"];
        assert_eq!(target["TargetTags"][0], json!({"Key": "Backup", "Value": "daily"}));
        let arn = format!("arn:aws:iam::{}:role/snapferry-member", MEMBER.account);
        policy["Targets"][0]["RoleArn"] = json!(arn);
        policy["Targets"][0]["ExternalId"] = json!(EXTERNAL_IDS[0]);
    })?;
    let volume = stage.aws.volumes(MEMBER, 1, &json!({"tags": {"Backup": "daily"}}))?;
    stage.aws.clear("calls")?;

    // As the stack made it, but now and once.
    let schedule = json!({"Name": central.id("RotateSnapshotsFunctionSchedule")?});
    let schedule = cloud.call(home(CENTRAL), "scheduler", "get_schedule", &schedule)?;
    assert_eq!(schedule["ScheduleExpression"], "rate(15 minutes)");
    let once = json!({
        "Name": "once", "ScheduleExpression": "at(2026-01-01T00:00:00)",
        "FlexibleTimeWindow": schedule["FlexibleTimeWindow"], "Target": schedule["Target"],
    });
    cloud.call(home(CENTRAL), "scheduler", "create_schedule", &once)?;
    let log = central.id("RotateSnapshotsLogGroup")?;
    let found = eventually(SOON, "the snapshot", || Ok(stage.aws.snapshots()?.pop()))
        .map_err(|err| format!("{err}: {}", cloud.printed(home(CENTRAL), log)))?;
    assert_eq!((found.account.as_str(), &found.volume), (MEMBER.account, &volume[0]));
    assert!(found.tag("snapferry:slot").ends_with("T02:00:00Z"), "{found:?}");
    assert_nothing_refused(&stage.aws)?;
    let calls = stage.aws.get("calls?action=AssumeRole&params=0")?;
    let callers = calls["calls"].as_array().into_iter().flatten().map(|call| &call["role"]);
    assert!(callers.into_iter().any(|it| *it == role), "{calls}");
    Ok(())
}

/// Of the vault.
fn copies(stage: &Stage) -> Result<Option<Snapshot>> {
    Ok(stage.aws.snapshots()?.into_iter().find(|it| it.account == VAULT))
}

#[test]
fn a_shared_snapshot_reaches_the_vaults_function_through_the_deployed_rule_and_is_copied()
-> Result<()> {
    let stage = Stage::new("stack-vault")?;
    stage.aws.post("config", &json!({"identity_policies": true}))?;
    let cloud = stage.cloud()?;
    let vault = cloud.create(wanted(VAULT, VAULT_STACK))?;
    let key = stage.key(home(VAULT))?;
    put_policy(&stage, &cloud, &vault, VAULT, |policy| {
        let owners = &policy["PolicyDetails"]["EventSource"]["Parameters"]["SnapshotOwner"];
        assert_eq!(*owners, json!(["333333333333"]), "the first of SourceAccounts");
        let rule = &mut policy["PolicyDetails"]["Actions"][0]["CrossRegionCopy"][0];
        rule["EncryptionConfiguration"]["CmkArn"] = json!(key);
    })?;
    let volume = stage.aws.volumes(MEMBER, 1, &json!({}))?.remove(0);
    let description = "Created for policy: daily schedule: nightly";
    let form = [("Action", "CreateSnapshot"), ("VolumeId", &volume), ("Description", description)];
    let made = ec2(&stage.aws, MEMBER, &form)?;
    let source = element(&made, "snapshotId").to_owned();
    stage.aws.settle()?;
    let form = [
        ("Action", "ModifySnapshotAttribute"),
        ("SnapshotId", &source),
        ("Attribute", "createVolumePermission"),
        ("OperationType", "add"),
        ("UserId.1", VAULT),
    ];
    ec2(&stage.aws, MEMBER, &form)?;
    stage.aws.settle()?;
    let events = stage.aws.get(&format!("events?account={VAULT}&region={HOME}"))?;
    let event = &events["events"][0]["event"];
    assert_eq!(event["detail"]["event"], "shareSnapshot", "{events}");

    // EBS sends it to the vault's bus.
    let entry = json!({
        "Source": event["source"], "DetailType": event["detail-type"],
        "Resources": event["resources"], "Detail": event["detail"].to_string(),
    });
    stage.aws.clear("calls")?;
    cloud.call(home(VAULT), "events", "put_events", &json!({"Entries": [entry]}))?;
    let log = vault.id("CopySharedSnapshotsLogGroup")?;
    let copy = eventually(SOON, "the copy", || copies(&stage))
        .map_err(|err| format!("{err}: {}", cloud.printed(home(VAULT), log)))?;
    assert_eq!((copy.key.as_deref(), copy.copied), (Some(key.as_str()), true));
    assert_eq!(copy.tag("snapferry:source-snapshot"), source, "{copy:?}");
    assert_nothing_refused(&stage.aws)?;
    let calls = stage.aws.get("calls?action=CopySnapshot&params=0")?;
    let role = vault.outputs["CopySharedSnapshotsRoleArn"].as_str().ok_or("no role")?;
    assert_eq!(calls["calls"][0]["role"], role, "{calls}");
    Ok(())
}

#[test]
fn an_update_changes_the_function_and_a_deletion_leaves_the_log() -> Result<()> {
    let stage = Stage::new("stack-update")?;
    let cloud = stage.cloud()?;
    let place = home(CENTRAL);
    let first = cloud.create(wanted(CENTRAL, CENTRAL_STACK))?;
    let second = cloud.update(wanted(
        CENTRAL,
        &[
            ("Role", "central"),
            ("MemorySize", "512"),
            ("DeleteLimit", "3"),
            ("PresignedUrl", "off"),
        ],
    ))?;
    assert_eq!((second.status.as_str(), &second.resources), ("UPDATE_COMPLETE", &first.resources));
    let named = json!({"FunctionName": second.id("RotateSnapshotsFunction")?});
    let found = cloud.call(place, "lambda", "get_function_configuration", &named)?;
    assert_eq!(found["MemorySize"], 512);
    let variables = &found["Environment"]["Variables"];
    assert_eq!(
        (&variables["DELETE_LIMIT"], &variables["PRESIGNED_URL"]),
        (&json!("3"), &json!("off"))
    );

    cloud.call(place, "cloudformation", "delete_stack", &json!({"StackName": NAME}))?;
    eventually(SOON, "the stack's end", || {
        let left = cloud.call(place, "cloudformation", "describe_stacks", &json!({}))?;
        Ok((left["Stacks"] == json!([])).then_some(()))
    })?;
    let functions = cloud.call(place, "lambda", "list_functions", &json!({}))?;
    assert_eq!(functions["Functions"], json!([]));
    let parameters = cloud.call(place, "ssm", "describe_parameters", &json!({}))?;
    assert_eq!(parameters["Parameters"], json!([]));
    let logs = cloud.call(place, "logs", "describe_log_groups", &json!({}))?;
    let log = first.id("RotateSnapshotsLogGroup")?;
    assert_eq!(logs["logGroups"][0]["logGroupName"], log, "the history outlives the stack");
    Ok(())
}
