//! Three accounts as README deploys them, with the policies of `events/policies`: roles from the templates, keys with the
//! statements that the vault's stack tells. What they do not allow is refused.

use serde_json::{Value, json};
use snapferry_tests::Result;
use snapferry_tests::lambda::Lambda;
use snapferry_tests::local_aws::{LocalAws, Place, Snapshot};
use snapferry_tests::machine::project;
use snapferry_tests::stage::{HOME, Stage};

use crate::common::{calls, only_looked, put_key_policy, run};

pub(crate) const CENTRAL: &str = "111111111111";
pub(crate) const MEMBER: Place<'static> = Place { account: "333333333333", region: HOME };
pub(crate) const VAULT: &str = "222222222222";
/// Where the vault's policy copies to.
pub(crate) const REGIONS: [&str; 2] = [HOME, "eu-west-1"];
/// What the roles ask for, in the member account and in the vault.
pub(crate) const EXTERNAL_IDS: [&str; 2] = ["example-external-id-1", "example-external-id-2"];
/// The role of the central function; the stack's names are as long.
pub(crate) const CENTRAL_ROLE: &str = "snapferry-central-RotateSnapshotsRole-1X2Y3Z";
const VAULT_ROLE: &str = "snapferry-vault-CopySharedSnapshotsRole-4X5Y6Z";
/// The names that the templates give.
pub(crate) const MEMBER_ROLE: &str = "snapferry-member";
pub(crate) const READER_ROLE: &str = "snapferry-vault-reader";
const MEMBER_TEMPLATE: &str = "functions/rotate-snapshots/member-role.yaml";
const READER_TEMPLATE: &str = "functions/rotate-snapshots/vault-reader-role.yaml";

pub(crate) struct Deployed {
    pub(crate) stage: Stage,
    /// The vault's, in [`REGIONS`].
    pub(crate) keys: [String; 2],
}

pub(crate) fn role(account: &str, name: &str) -> String {
    format!("arn:aws:iam::{account}:role/{name}")
}

impl Deployed {
    /// Everything but the role that reads the vault.
    pub(crate) fn new(name: &str) -> Result<Self> {
        let stage = Stage::new(name)?;
        let key = |region| stage.key(Place { account: VAULT, region });
        let keys = [key(REGIONS[0])?, key(REGIONS[1])?];
        let deployed = Self { stage, keys };
        for (account, name, logical_id) in [
            (CENTRAL, CENTRAL_ROLE, "RotateSnapshotsRole"),
            (VAULT, VAULT_ROLE, "CopySharedSnapshotsRole"),
        ] {
            let sources = ("SourceAccounts", json!([MEMBER.account, "444444444444"]));
            let parameters = [("AWS::AccountId", json!(account)), sources.clone()];
            let template = deployed.stage.template("template.yaml", &parameters)?;
            deployed.stage.function_role(account, name, &template.policy(logical_id)?)?;
            deployed.stage.deployed_with([sources, ("VaultAccounts", json!([VAULT]))]);
        }
        deployed.make_role(MEMBER.account, MEMBER_TEMPLATE, "MemberRole")?;
        let knobs = json!({"identity_policies": true, "key_policies": true});
        deployed.stage.aws.post("config", &knobs)?;
        Ok(deployed)
    }

    pub(crate) fn deploy_reader(&self) -> Result<()> {
        self.make_role(VAULT, READER_TEMPLATE, "VaultReaderRole").map(drop)
    }

    /// As `aws cloudformation deploy` does with the parameters that README gives.
    fn make_role(&self, account: &str, path: &str, logical_id: &str) -> Result<()> {
        let overrides = overrides(path)?;
        let mut parameters = Vec::new();
        for (name, value) in &overrides {
            let value = match (name.as_str(), value.as_str()) {
                // $(output central RotateSnapshotsRoleArn)
                ("CentralRoleArn", "<RotateSnapshotsRoleArn>" | "$(output") => {
                    json!(role(CENTRAL, CENTRAL_ROLE))
                }
                ("ExternalId", "<secret>" | "$external_id") => {
                    json!(EXTERNAL_IDS[usize::from(account == VAULT)])
                }
                ("VaultAccounts", "$vault") => json!([VAULT]),
                ("VaultAccounts", list) => list.split(',').collect(),
                other => return Err(format!("README gives {other:?} for {path}").into()),
            };
            parameters.push((name.as_str(), value));
        }
        self.stage.deploy_role(account, path, logical_id, &parameters)
    }

    /// The policy of the member role, as the template has it.
    pub(crate) fn member_policy(&self) -> Result<Value> {
        let parameters =
            [("AWS::AccountId", json!(MEMBER.account)), ("VaultAccounts", json!([VAULT]))];
        self.stage.template(MEMBER_TEMPLATE, &parameters)?.policy("MemberRole")
    }

    /// A key of the member account that the vault may use, by the output of its stack.
    pub(crate) fn shareable_key(&self) -> Result<String> {
        let key = self.stage.key(MEMBER)?;
        let statements = source_key_statements(&self.stage, &role(VAULT, VAULT_ROLE))?;
        put_key_policy(&self.stage.aws, MEMBER, &key, &statements)?;
        Ok(key)
    }

    /// The central function with one of the published policies.
    pub(crate) fn rotate(&self, policy: &str) -> Result<Lambda> {
        self.rotate_as(&published(policy)?, "one")
    }

    /// The central function with this policy; faults tell its calls by `app`.
    pub(crate) fn rotate_as(&self, policy: &Value, app: &str) -> Result<Lambda> {
        let role = self.stage.assume(CENTRAL, &role(CENTRAL, CENTRAL_ROLE), None)?;
        let more = [("POLICIES", policy.to_string()), ("AWS_SDK_UA_APP_ID", app.to_owned())];
        let env = role.env().into_iter().chain(more).collect();
        self.stage.function_with("rotate-snapshots", env, 300)
    }

    /// The vault's function with the published policy, under the keys that there are.
    pub(crate) fn copy(&self) -> Result<Lambda> {
        let mut policy = published("vault")?;
        let rules = &mut policy["PolicyDetails"]["Actions"][0]["CrossRegionCopy"];
        for (n, key) in self.keys.iter().enumerate() {
            assert_eq!(rules[n]["Target"], REGIONS[n], "the published policy is another one");
            rules[n]["EncryptionConfiguration"]["CmkArn"] = json!(key);
        }
        let role = self.stage.assume(VAULT, &role(VAULT, VAULT_ROLE), None)?;
        let env = role.env().into_iter().chain([("POLICIES", policy.to_string())]).collect();
        self.stage.function_with("copy-shared-snapshots", env, 300)
    }

    /// A volume of the member that a published policy targets.
    pub(crate) fn volume(&self, policy: &str, key: Option<&str>) -> Result<String> {
        let tag = &published(policy)?["PolicyDetails"]["TargetTags"][0];
        let tags = json!({tag["Key"].as_str().ok_or("no key")?: tag["Value"], "Name": "web"});
        Ok(self.stage.aws.volumes(MEMBER, 1, &json!({"tags": tags, "kms_key": key}))?.remove(0))
    }

    /// The member's snapshots of its volumes, in the order of their slots.
    pub(crate) fn sources(&self) -> Result<Vec<Snapshot>> {
        let mut sources = self.in_account(MEMBER.account)?;
        sources.retain(|it| !it.copied);
        sources.sort_by(|a, b| a.tag("snapferry:slot").cmp(b.tag("snapferry:slot")));
        Ok(sources)
    }

    /// What stands in for snapshots under the AWS managed key.
    pub(crate) fn stand_ins(&self) -> Result<Vec<Snapshot>> {
        let mut copies = self.in_account(MEMBER.account)?;
        copies.retain(|it| it.copied);
        Ok(copies)
    }

    /// The vault's copies.
    pub(crate) fn copies(&self) -> Result<Vec<Snapshot>> {
        self.in_account(VAULT)
    }

    fn in_account(&self, account: &str) -> Result<Vec<Snapshot>> {
        let all = self.stage.aws.snapshots()?;
        Ok(all.into_iter().filter(|it| it.account == account).collect())
    }

    /// One more run of each, for the event, finds nothing to do, and does nothing.
    pub(crate) fn assert_rests(&self, rotate: &Lambda, copy: &Lambda, event: &Value) -> Result<()> {
        let aws = &self.stage.aws;
        aws.clear("calls")?;
        for (function, event) in [(rotate, event), (copy, &json!({}))] {
            let report = run(&self.stage, function, event)?;
            assert_eq!((&report["Status"], &report["Actions"]), (&json!("Succeeded"), &json!([])));
        }
        assert!(only_looked(aws)?, "{:?}", calls(aws)?);
        Ok(())
    }
}

/// The output of the vault's stack that is to be pasted into policies of source keys.
pub(crate) fn source_key_statements(stage: &Stage, role: &str) -> Result<Vec<Value>> {
    let parameters = [("CopySharedSnapshotsRole.Arn", json!(role))];
    let output =
        stage.template("template.yaml", &parameters)?.output("SourceKeyPolicyStatement")?;
    Ok(serde_json::from_str(output.as_str().unwrap_or_default())?)
}

/// Nobody was refused anything since the record was cleared.
pub(crate) fn assert_nothing_refused(aws: &LocalAws) -> Result<()> {
    let refused: Vec<_> = aws.calls()?.into_iter().filter(|it| !it.succeeded).collect();
    assert!(refused.is_empty(), "{refused:?}");
    Ok(())
}

/// A file of `events/policies`.
pub(crate) fn published(name: &str) -> Result<Value> {
    let path = project().join("events/policies").join(format!("{name}.json"));
    Ok(serde_json::from_str(&std::fs::read_to_string(path)?)?)
}

fn readme() -> Result<String> {
    Ok(std::fs::read_to_string(project().join("README.md"))?)
}

/// The first JSON block of README with this text.
pub(crate) fn readme_json(text: &str) -> Result<String> {
    let readme = readme()?;
    let mut blocks = readme.split("```json\n").skip(1).filter_map(|it| it.split("```").next());
    let block = blocks.find(|it| it.contains(text));
    Ok(block.ok_or_else(|| format!("README has no {text}"))?.to_owned())
}

/// The parameters that README gives for a template, by name; to the end of the command, or of the table's cell.
fn overrides(template: &str) -> Result<Vec<(String, String)>> {
    let readme = readme()?;
    let lists = readme.split(template).skip(1).map(|after| {
        let text = after.split("```").next().unwrap_or_default();
        let text = text.split(['|', '#']).next().unwrap_or_default();
        let words =
            text.split_whitespace().map(|word| word.trim_matches(['`', ',', '.', '(', ')']));
        let pairs = words.filter_map(|word| word.split_once('='));
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect::<Vec<_>>()
    });
    let mut given = lists.filter(|list| !list.is_empty());
    given.next().ok_or_else(|| format!("README gives no parameters for {template}").into())
}
