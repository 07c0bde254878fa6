//! What no role may do, call by call ([`super::cases`]).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use snapferry_tests::Result;
use snapferry_tests::local_aws::Place;
use snapferry_tests::roles::{
    READER, SCRIPT_DOCUMENT, VAULT_ROLE, reader, script_documents, vault_role,
};
use snapferry_tests::stage::{EXTERNAL_ID, HOME, MEMBERS, ROLE, Stage, VAULT, role_arn, vault};
use snapferry_tests::template::POLICIES;

use super::cases::{Case, OF_CENTRAL, OF_MEMBER, OF_READERS, OF_VAULT};
use super::stage;
use crate::common::{MEMBER, share, shared};
use crate::instances::instance;

const STRANGER: &str = "555555555555";
const VAULT_READER: &str = "snapferry-vault-reader";

/// A session of a role that has the policies of the templates.
pub(super) struct Role {
    pub(super) account: &'static str,
    pub(super) name: &'static str,
    /// Of the template's role or policy, whose this is.
    pub(super) logical_id: &'static str,
    pub(super) policy: Value,
    session: String,
}

/// Accounts with something of everybody's, and the names that cases have for that.
pub(super) struct World {
    pub(super) stage: Stage,
    names: BTreeMap<&'static str, String>,
    pub(super) roles: Vec<Role>,
}

fn iam(account: &str, name: &str) -> String {
    format!("arn:aws:iam::{account}:role/{name}")
}

/// Everybody may assume a role with this policy.
pub(super) fn anybody() -> Value {
    json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole",
    }]})
}

/// A policy that allows everything but what these statements deny.
pub(super) fn everything(but: &[Value]) -> Value {
    let all = json!({"Sid": "All", "Effect": "Allow", "Action": "*", "Resource": "*"});
    let statements = [&[all], but].concat();
    json!({"Version": "2012-10-17", "Statement": statements})
}

impl World {
    pub(super) fn new(name: &str) -> Result<Self> {
        let stage = stage(name)?;
        for (account, name) in [(MEMBER.account, "admin"), (VAULT, "admin"), (STRANGER, READER)] {
            stage.create_role(account, name, &anybody())?;
        }
        for account in [MEMBER.account, VAULT] {
            stage.create_role(account, "bystander", &anybody())?;
        }
        let mut world = Self { names: names(&stage)?, roles: Vec::new(), stage };
        world.deploy()?;
        Ok(world)
    }

    fn deploy(&mut self) -> Result<()> {
        let stage = &self.stage;
        let key = json!(self.names.get("policy-key"));
        let parameters = |account: &str| {
            [
                ("AWS::AccountId", json!(account)),
                ("ActInOwnAccount", json!("true")),
                ("PolicyKeyArn", key.clone()),
                ("SourceAccounts", json!(MEMBERS)),
                ("VaultAccounts", json!([VAULT])),
                ("ScriptDocumentArns", script_documents()),
            ]
        };
        let of_member = stage.template("template.yaml", &parameters(MEMBER.account))?;
        let mut own = of_member.policy("RotateSnapshotsRole")?;
        let more = of_member.policy("RotateSnapshotsOwnAccountPolicy")?;
        if let Some(all) = own["Statement"].as_array_mut() {
            all.extend(more["Statement"].as_array().into_iter().flatten().cloned());
        }
        let of_vault = stage.template("template.yaml", &parameters(VAULT))?;
        let central = of_vault.policy("RotateSnapshotsRole")?;
        let copies = of_vault.policy("CopySharedSnapshotsRole")?;
        stage.function_role(MEMBER.account, "own", &own)?;
        stage.function_role(VAULT, "central", &central)?;
        stage.put_policy(VAULT, VAULT_ROLE, &copies)?;
        stage.reader_role(MEMBER.account)?;
        let of_reader =
            [("CentralRoleArn", json!(iam(VAULT, "central"))), ("ExternalId", json!(EXTERNAL_ID))];
        let path = "functions/rotate-snapshots/vault-reader-role.yaml";
        stage.deploy_role(VAULT, path, "VaultReaderRole", &of_reader)?;

        let assume = |by: &str, role: &str| {
            stage.assume(by, role, Some(EXTERNAL_ID)).map(|session| session.access_key_id)
        };
        let of_central = assume(VAULT, &iam(VAULT, "central"))?;
        let of_copies = assume(VAULT, &vault_role())?;
        let tags = "functions/copy-shared-snapshots/source-reader-role.yaml";
        let of_source_reader = stage.template(tags, &[])?.policy("SourceReaderRole")?;
        let of_vault_reader = stage.template(path, &[])?.policy("VaultReaderRole")?;
        for (account, name, logical_id, policy, session) in [
            (
                MEMBER.account,
                ROLE,
                "MemberRole",
                stage.member_policy(MEMBER.account)?,
                assume(&of_central, &role_arn(MEMBER.account))?,
            ),
            (
                MEMBER.account,
                "own",
                "RotateSnapshotsOwnAccountPolicy",
                more,
                assume(MEMBER.account, &iam(MEMBER.account, "own"))?,
            ),
            (
                VAULT,
                VAULT_READER,
                "VaultReaderRole",
                of_vault_reader,
                assume(&of_central, &iam(VAULT, VAULT_READER))?,
            ),
            (
                MEMBER.account,
                READER,
                "SourceReaderRole",
                of_source_reader,
                assume(&of_copies, &reader(MEMBER.account))?,
            ),
            (VAULT, "central", "RotateSnapshotsRole", central, of_central),
            (VAULT, VAULT_ROLE, "CopySharedSnapshotsRole", copies, of_copies),
        ] {
            self.roles.push(Role { account, name, logical_id, policy, session });
        }
        Ok(())
    }

    /// What the call is answered. `dry`: EC2 only says whether it would do it.
    pub(super) fn call(&self, role: &Role, call: &str, dry: bool) -> String {
        let text =
            call.replace("<share>", "ec2 ModifySnapshotAttribute Attribute=createVolumePermission");
        let text = text.replace(
            "<tagged>",
            "TagSpecification.1.ResourceType=snapshot \
             TagSpecification.1.Tag.1.Key=snapferry:policy TagSpecification.1.Tag.1.Value=x",
        );
        let a = if role.account == VAULT { "copy" } else { "ours" };
        let text = text.replace("<a>", &format!("<{a}>"));
        let text = self
            .names
            .iter()
            .fold(text, |text, (name, value)| text.replace(&format!("<{name}>"), value));
        assert!(!text.contains('<'), "a name that nothing has: {text}");
        let mut words = text.split_whitespace();
        let (service, action) =
            (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let members: Vec<(&str, &str)> = words.filter_map(|word| word.split_once('=')).collect();
        let place = Place { account: &role.session, region: HOME };
        let result = match service {
            "kms" => self.stage.aws.json(
                place,
                "kms",
                &format!("TrentService.{action}"),
                &body(&members),
            ),
            "ssm" => {
                self.stage.aws.json(place, "ssm", &format!("AmazonSSM.{action}"), &body(&members))
            }
            _ => {
                let version = match service {
                    "ec2" => "2016-11-15",
                    "sts" => "2011-06-15",
                    _ => "2010-05-08",
                };
                let mut form = vec![("Action", action), ("Version", version)];
                form.extend(members);
                form.extend((dry && service == "ec2").then_some(("DryRun", "true")));
                self.stage.aws.query(place, service, &form).map(Value::String)
            }
        };
        result.map_or_else(|err| err.to_string(), |done| format!("done: {done}"))
    }
}

/// Members of a JSON call: what is JSON as such, but numbers and what is empty, which are text as all else.
fn body(members: &[(&str, &str)]) -> Value {
    let members = members.iter().map(|(name, value)| {
        let json = serde_json::from_str(value)
            .ok()
            .filter(|it: &Value| !it.is_number() && *it != json!({}));
        ((*name).to_owned(), json.unwrap_or_else(|| json!(value)))
    });
    Value::Object(members.collect::<Map<_, _>>())
}

fn names(stage: &Stage) -> Result<BTreeMap<&'static str, String>> {
    let strangers = Place { account: STRANGER, region: HOME };
    let snapshot = |place: Place<'_>, tags: Value| -> Result<(String, String)> {
        let body = json!({"account": place.account, "region": place.region, "snapshots": 1,
                          "snapshot_tags": tags});
        let made = stage.aws.post("seed", &body)?;
        let text = |name: &str| made[name][0].as_str().unwrap_or_default().to_owned();
        Ok((text("volumes"), text("snapshots")))
    };
    let ours = json!({"snapferry:policy": "full"});
    let and = |tags: &Value, more: &[&str]| {
        let mut tags = tags.clone();
        for key in more {
            tags[key] = json!("x");
        }
        tags
    };
    let (volume, of_ours) = snapshot(MEMBER, ours.clone())?;
    let (vault_volume, vaults) = snapshot(vault(), json!({}))?;
    let theirs = snapshot(strangers, ours.clone())?.1;
    for account in [VAULT, MEMBER.account] {
        let form = [
            ("Action", "ModifySnapshotAttribute"),
            ("Version", "2016-11-15"),
            ("SnapshotId", &theirs),
            ("Attribute", "createVolumePermission"),
            ("OperationType", "add"),
            ("UserId.1", account),
        ];
        stage.aws.query(strangers, "ec2", &form)?;
    }
    let copy = and(&ours, &["snapferry:source-snapshot"]);
    let policy_key = stage.key(vault())?;
    let of_parameter = format!("arn:aws:ssm:{HOME}:{VAULT}:parameter{POLICIES}x");
    let other_key = stage.key(vault())?;
    let parameter = json!({"Name": format!("{POLICIES}elsewhere/x"), "Type": "SecureString",
                           "KeyId": other_key, "Value": "{}"});
    stage.aws.json(vault(), "ssm", "AmazonSSM.PutParameter", &parameter)?;
    let from_member = shared(&stage.aws, MEMBER, 1, &json!({}))?.remove(0).id;
    share(&stage.aws, MEMBER, &from_member, "add")?;
    Ok(BTreeMap::from([
        ("home", HOME.to_owned()),
        ("zone", format!("{HOME}a")),
        ("stranger", STRANGER.to_owned()),
        ("vault", VAULT.to_owned()),
        ("member", MEMBER.account.to_owned()),
        ("secret", EXTERNAL_ID.to_owned()),
        ("volume", volume),
        ("script", SCRIPT_DOCUMENT.to_owned()),
        ("instance", instance(stage, &json!({}), &json!([]))?.id),
        ("ours", of_ours),
        ("others", snapshot(MEMBER, json!({"Name": "by hand"}))?.1),
        ("backup", snapshot(MEMBER, and(&ours, &["aws:backup:source-resource"]))?.1),
        ("dlm", snapshot(MEMBER, and(&ours, &["aws:dlm:lifecycle-policy-id"]))?.1),
        ("shared", from_member),
        ("theirs", theirs),
        ("vault-volume", vault_volume),
        ("vaults", vaults),
        ("taken", snapshot(vault(), ours)?.1),
        ("half", snapshot(vault(), json!({"snapferry:source-snapshot": "x"}))?.1),
        ("copy", snapshot(vault(), copy.clone())?.1),
        ("recovery", snapshot(vault(), and(&copy, &["aws:backup:source-resource"]))?.1),
        ("key", stage.key(MEMBER)?),
        ("vault-key", stage.key(vault())?),
        ("policy-key", policy_key),
        ("of-parameter", json!({"PARAMETER_ARN": of_parameter}).to_string()),
        ("admin", iam(MEMBER.account, "admin")),
        ("vault-admin", iam(VAULT, "admin")),
        ("member-role", role_arn(MEMBER.account)),
        ("stranger-reader", iam(STRANGER, READER)),
    ]))
}

pub(super) fn cases(logical_id: &str) -> &'static [Case] {
    match logical_id {
        "MemberRole" | "RotateSnapshotsOwnAccountPolicy" => &OF_MEMBER,
        "RotateSnapshotsRole" => &OF_CENTRAL,
        "CopySharedSnapshotsRole" => &OF_VAULT,
        _ => &OF_READERS,
    }
}

pub(super) const REFUSAL: &str = "is not authorized to perform: ";

#[test]
fn the_roles_may_do_nothing_else() -> Result<()> {
    let world = World::new("forbidden")?;
    let before = world.stage.aws.snapshots()?;
    for role in &world.roles {
        for (why, call, _) in cases(role.logical_id) {
            let answer = world.call(role, call, false);
            assert!(answer.contains(REFUSAL), "{}, {why}: {call}: {answer}", role.logical_id);
            world.stage.tried(role.logical_id);
        }
    }
    assert_eq!(world.stage.aws.snapshots()?, before, "nothing came, nothing went, nothing changed");

    // It is the policies that refuse, and those that deny do so whatever else allows it.
    let mut denies = BTreeSet::new();
    for role in &world.roles {
        world.stage.put_policy(role.account, role.name, &everything(&[]))?;
        for (why, call, _) in cases(role.logical_id) {
            let answer = world.call(role, call, true);
            assert!(!answer.contains(REFUSAL), "{}, {why}: {call}: {answer}", role.logical_id);
        }
        let mut sids: BTreeSet<&str> = cases(role.logical_id).iter().map(|case| case.2).collect();
        sids.remove("");
        for statement in role.policy["Statement"].as_array().into_iter().flatten() {
            let sid = statement["Sid"].as_str().unwrap_or_default();
            let actions = statement["Action"].to_string();
            if statement["Effect"] == "Allow" {
                assert!(!actions.contains('*') && !actions.contains("iam:"), "{sid}: {actions}");
                continue;
            }
            let only = everything(std::slice::from_ref(statement));
            world.stage.put_policy(role.account, role.name, &only)?;
            let mut of_it = cases(role.logical_id).iter().filter(|case| case.2 == sid).peekable();
            assert!(of_it.peek().is_some(), "no call that {}/{sid} refuses", role.logical_id);
            for (why, call, _) in of_it {
                let answer = world.call(role, call, true);
                assert!(answer.contains(REFUSAL), "{sid} alone, {why}: {call}: {answer}");
            }
            sids.remove(sid);
            denies.insert(format!("{}/{sid}", role.logical_id));
        }
        assert!(sids.is_empty(), "{} has no such Deny: {sids:?}", role.logical_id);
    }
    world.stage.deployed_with([("ActInOwnAccount", json!("true"))]);
    let written = world.stage.prove()?.statements.into_iter().filter(|(_, it)| !it.allows);
    assert_eq!(denies, written.map(|(name, _)| name).collect(), "every Deny of a role");
    Ok(())
}
