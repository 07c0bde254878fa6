//! Who may assume the roles of the templates, and which roles the central function may assume: nobody and nothing else,
//! least of all outside the organization.

use serde_json::{Value, json};
use snapferry_tests::Result;
use snapferry_tests::local_aws::Place;
use snapferry_tests::stage::{EXTERNAL_ID, HOME, Stage};

use super::refused::{anybody, everything};

/// The statements of trust that are held to what they say here.
pub(super) const STATEMENTS: [&str; 3] = [
    "MemberRole/CentralFunctionOnly",
    "SourceReaderRole/VaultFunctionOnly",
    "VaultReaderRole/CentralFunctionOnly",
];

/// Template, role, its name, and the parameter with the role that may assume it.
const TEMPLATES: [(&str, &str, &str, &str); 3] = [
    (
        "functions/rotate-snapshots/member-role.yaml",
        "MemberRole",
        "snapferry-member",
        "CentralRoleArn",
    ),
    (
        "functions/rotate-snapshots/vault-reader-role.yaml",
        "VaultReaderRole",
        "snapferry-vault-reader",
        "CentralRoleArn",
    ),
    (
        "functions/copy-shared-snapshots/source-reader-role.yaml",
        "SourceReaderRole",
        "snapferry-source-reader",
        "VaultRoleArn",
    ),
];

/// The management account of the organization, in which the function is.
const CENTRAL: &str = "777777777777";
const OUTSIDE: &str = "555555555555";
/// The role of a function.
const FUNCTION: &str = "the-function-1X2Y3Z";

/// The id of a new organization, and an account in it besides.
fn organization(stage: &Stage) -> Result<(String, String)> {
    let at = Place { account: CENTRAL, region: HOME };
    let call = |action: &str, body: Value| {
        let target = format!("AWSOrganizationsV20161128.{action}");
        stage.aws.json(at, "organizations", &target, &body)
    };
    let made = call("CreateOrganization", json!({"FeatureSet": "ALL"}))?;
    let account = call("CreateAccount", json!({"AccountName": "m", "Email": "m@example.com"}))?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok((text(&made["Organization"]["Id"]), text(&account["CreateAccountStatus"]["AccountId"])))
}

fn role(account: &str, name: &str) -> String {
    format!("arn:aws:iam::{account}:role/{name}")
}

/// Whether it is let in; anything but a refusal is an error.
fn is_let_in(stage: &Stage, who: &str, arn: &str, external_id: Option<&str>) -> Result<bool> {
    match stage.assume(who, arn, external_id) {
        Ok(_) => Ok(true),
        Err(err) if err.to_string().contains("AccessDenied") => Ok(false),
        Err(err) => Err(err),
    }
}

#[test]
fn the_one_function_may_assume_them_and_nobody_else() -> Result<()> {
    let stage = Stage::new("trust")?;
    let (organization, member) = organization(&stage)?;
    stage.aws.post("config", &json!({"identity_policies": true}))?;
    let session = |account: &str, name: &str| -> Result<String> {
        stage.function_role(account, name, &everything(&[]))?;
        Ok(stage.assume(account, &role(account, name), None)?.access_key_id)
    };
    let function = session(CENTRAL, FUNCTION)?;
    let another = session(CENTRAL, "another")?;
    let namesake = session(&member, FUNCTION)?;
    let outsider = session(OUTSIDE, FUNCTION)?;
    let right = Some(EXTERNAL_ID);
    for (path, logical_id, name, who) in TEMPLATES {
        let deploy = |account: &str, from: &str, organization: &str| {
            let parameters = [
                (who, json!(role(from, FUNCTION))),
                ("ExternalId", json!(EXTERNAL_ID)),
                ("OrganizationId", json!(organization)),
            ];
            stage.deploy_role(account, path, logical_id, &parameters)
        };
        deploy(&member, CENTRAL, &organization)?;
        let arn = role(&member, name);
        assert!(is_let_in(&stage, &function, &arn, right)?, "{name}: the function");
        for (session, external_id, why) in [
            (function.as_str(), None, "without the external id"),
            (&function, Some("wrong-horse"), "with a wrong external id"),
            (&another, right, "another role of its account"),
            (&namesake, right, "a role of that name in another account"),
            (&outsider, right, "a role of that name outside the organization"),
            (CENTRAL, right, "the root of its account"),
            (&member, right, "the root of the role's account"),
            (OUTSIDE, right, "a stranger"),
        ] {
            assert!(!is_let_in(&stage, session, &arn, external_id)?, "{name}: {why}");
            stage.tried(logical_id);
        }
        // Were an account outside named by mistake, or taken over: the organization is asked as well.
        deploy("666666666661", OUTSIDE, &organization)?;
        let by_mistake = role("666666666661", name);
        assert!(!is_let_in(&stage, &outsider, &by_mistake, right)?, "{name}: an outsider");
        stage.tried(logical_id);
        deploy("666666666662", OUTSIDE, "")?;
        let on_purpose = role("666666666662", name);
        assert!(is_let_in(&stage, &outsider, &on_purpose, right)?, "{name}: no organization");
    }
    Ok(())
}

#[test]
fn no_role_outside_the_organization_is_assumed() -> Result<()> {
    let stage = Stage::new("outside")?;
    let (organization, member) = organization(&stage)?;
    stage.aws.post("config", &json!({"identity_policies": true}))?;
    let policy = |organization: &str| -> Result<Value> {
        let parameters =
            [("AWS::AccountId", json!(CENTRAL)), ("OrganizationId", json!(organization))];
        stage.template("template.yaml", &parameters)?.policy("RotateSnapshotsRole")
    };
    stage.function_role(CENTRAL, FUNCTION, &policy(&organization)?)?;
    let central = stage.assume(CENTRAL, &role(CENTRAL, FUNCTION), None)?.access_key_id;
    for name in ["snapferry-member", "snapferry-vault-reader"] {
        for account in [member.as_str(), OUTSIDE] {
            stage.create_role(account, name, &anybody())?;
        }
        stage.put_policy(CENTRAL, FUNCTION, &policy(&organization)?)?;
        assert!(is_let_in(&stage, &central, &role(&member, name), None)?, "{name}: inside");
        assert!(!is_let_in(&stage, &central, &role(OUTSIDE, name), None)?, "{name}: outside");
        stage.tried("RotateSnapshotsRole");
        stage.put_policy(CENTRAL, FUNCTION, &policy("")?)?;
        assert!(
            is_let_in(&stage, &central, &role(OUTSIDE, name), None)?,
            "{name}: no organization"
        );
    }
    Ok(())
}
