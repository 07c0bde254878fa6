//! The role of `instance-role.yaml`: enough for a VSS backup where it is to be, and not otherwise.

use std::process::Command;

use serde_json::{Value, json};
use snapferry_tests::Result;
use snapferry_tests::local_aws::Place;
use snapferry_tests::machine::Machine;
use snapferry_tests::stage::Stage;

use crate::common::{MEMBER, for_member, night, run};
use crate::deployed::published;

const TEMPLATE: &str = "functions/rotate-snapshots/instance-role.yaml";

fn iam(stage: &Stage, action: &str, members: &[(&str, &str)]) -> Result<()> {
    let form = [&[("Action", action), ("Version", "2010-05-08")], members].concat();
    let place = Place { account: MEMBER.account, region: "us-east-1" };
    stage.aws.query(place, "iam", &form).map(drop)
}

/// What a policy of AWS says, as moto has it.
fn managed_policy(name: &str) -> Result<String> {
    const PRINT: &str = "import json, sys\n\
        from moto.iam.aws_managed_policies import aws_managed_policies_data as data\n\
        found = json.loads(data)[sys.argv[1]]\n\
        assert found['Path'] == '/', found['Path']\n\
        print(json.dumps(found['Document']))";
    let output = Command::new(Machine::prepare()?.python).args(["-c", PRINT, name]).output()?;
    assert!(output.status.success(), "{name}: {output:?}");
    Ok(String::from_utf8(output.stdout)?)
}

/// A Windows instance with an agent and the profile that the template makes; answers its id.
fn windows(stage: &Stage, name: &str, vss: &str, tags: &Value) -> Result<String> {
    let template = stage.template(TEMPLATE, &[("Vss", json!(vss))])?;
    stage.create_role(MEMBER.account, name, &template.trust("InstanceRole")?)?;
    let role = template.resource("InstanceRole")?;
    for arn in role["ManagedPolicyArns"].as_array().into_iter().flatten() {
        let policy = arn.as_str().and_then(|it| it.strip_prefix("arn:aws:iam::aws:policy/"));
        let policy = policy.ok_or_else(|| format!("no policy of AWS: {arn}"))?;
        let members = [
            ("RoleName", name),
            ("PolicyName", policy),
            ("PolicyDocument", &managed_policy(policy)?),
        ];
        iam(stage, "PutRolePolicy", &members)?;
    }
    let profile = ("InstanceProfileName", name);
    iam(stage, "CreateInstanceProfile", &[profile])?;
    iam(stage, "AddRoleToInstanceProfile", &[profile, ("RoleName", name)])?;
    let body = json!({
        "account": MEMBER.account, "region": MEMBER.region, "volumes": [{}], "profile": name, "tags": tags,
    });
    let made = stage.aws.post("instances", &body)?;
    let id = made["instances"][0]["id"].as_str().unwrap_or_default().to_owned();
    stage.agent(MEMBER, &id, &json!({"platform": "Windows"}))?;
    Ok(id)
}

#[test]
fn an_instance_makes_vss_backups_where_the_role_is_for_them() -> Result<()> {
    let stage = Stage::new("instance-role")?;
    stage.ask_roles()?;
    let mut policy = published("vss")?;
    policy["Targets"] = for_member("", &json!({}))["Targets"].clone();
    let tag = &policy["PolicyDetails"]["TargetTags"][0];
    let tags = json!({tag["Key"].as_str().ok_or("no key")?: tag["Value"]});
    let with = windows(&stage, "with-vss", "true", &tags)?;
    let without = windows(&stage, "without-vss", "false", &tags)?;
    let rotate = stage.function("rotate-snapshots", &policy)?;
    run(&stage, &rotate, &night(1))?;
    let agents = stage.agents()?;
    let ended = |id: &str| {
        let mut agents = agents.iter().filter(|it| it["instance"] == id);
        agents.next().map(|it| it["commands"][0].clone()).unwrap_or_default()
    };
    let (well, refused) = (ended(&with), ended(&without));
    assert_eq!(well["status"], "Success", "{well}");
    assert_eq!(refused["status"], "Failed", "{refused}");
    assert!(refused["error"].to_string().contains("not authorized"), "{refused}");
    let made = stage.aws.snapshots()?;
    assert_eq!(made.len(), 2, "{made:?}");
    for it in &made {
        let said = (it.tag("snapferry:instance"), it.tag("AppConsistent"), it.frozen);
        assert_eq!(said, (with.as_str(), "True", Some(true)));
    }
    Ok(())
}
