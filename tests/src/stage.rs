//! The world that the demo and most end-to-end tests play in: two member accounts, a vault, and both functions.

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use crate::Result;
use crate::cloud::Cloud;
use crate::lambda::{Lambda, Setup};
use crate::local_aws::{LocalAws, Place};
use crate::machine::Machine;
use crate::proof::Deployment;
use crate::template::Template;

/// Two accounts with volumes, and the vault, in which both functions run.
pub const MEMBERS: [&str; 2] = ["111111111111", "222222222222"];
/// See [`MEMBERS`].
pub const VAULT: &str = "999999999999";
/// The Region of the functions.
pub const HOME: &str = "eu-central-1";
/// A second Region with volumes.
pub const AWAY: &str = "us-east-1";
/// Where the vault copies to.
pub const TARGETS: [&str; 2] = ["eu-west-1", "eu-north-1"];
/// The name of the role in every member account.
pub const ROLE: &str = "snapferry-member";
/// What its trust policy asks for.
pub const EXTERNAL_ID: &str = "correct-horse";

/// A running local AWS with accounts and roles.
#[derive(Debug)]
pub struct Stage {
    /// The local AWS.
    pub aws: Lent,
    pub(crate) machine: Machine,
    pub(crate) deployment: Deployment,
    logs: PathBuf,
    functions: AtomicU32,
}

/// A local AWS that this process uses again when it is dropped: starting one takes a second or two.
#[derive(Debug)]
pub struct Lent(Option<LocalAws>);

/// Those that nobody uses now. They end with this process.
static IDLE: Mutex<Vec<LocalAws>> = Mutex::new(Vec::new());

impl Lent {
    /// One with a fresh world.
    fn new(machine: &Machine) -> Result<Self> {
        let idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(aws) = idle {
            aws.post("reset", &json!({}))?;
            return Ok(Self(Some(aws)));
        }
        Ok(Self(Some(LocalAws::start(machine)?)))
    }
}

impl Deref for Lent {
    type Target = LocalAws;

    #[expect(clippy::expect_used, reason = "it is there until it is dropped")]
    fn deref(&self) -> &LocalAws {
        self.0.as_ref().expect("a local AWS")
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        // After a test that failed there may be a function that is still at work in it.
        if let Some(aws) = self.0.take().filter(|_| !std::thread::panicking()) {
            IDLE.lock().unwrap_or_else(PoisonError::into_inner).push(aws);
        }
    }
}

/// The vault in its own Region.
#[must_use]
pub fn vault() -> Place<'static> {
    Place { account: VAULT, region: HOME }
}

/// A member's role.
#[must_use]
pub fn role_arn(account: &str) -> String {
    format!("arn:aws:iam::{account}:role/{ROLE}")
}

impl Stage {
    /// Prepares the machine, starts the local AWS or takes one that is idle, and makes the role in both member accounts.
    ///
    /// # Errors
    /// What is missing.
    pub fn new(name: &str) -> Result<Self> {
        let machine = Machine::prepare()?;
        let aws = Lent::new(&machine)?;
        let target = machine.binaries.parent().ok_or("the binaries have no folder")?;
        let logs = target.join("local-aws/logs").join(name);
        std::fs::create_dir_all(&logs)?;
        let deployment = Deployment::new(name, &target.join("local-aws/permissions"))?;
        let stage = Self { aws, machine, deployment, logs, functions: AtomicU32::new(0) };
        for account in MEMBERS {
            stage.role(account, EXTERNAL_ID)?;
        }
        Ok(stage)
    }

    /// Makes the member role of an account, as `member-role.yaml` does.
    ///
    /// # Errors
    /// When it exists.
    pub fn role(&self, account: &str, external_id: &str) -> Result<()> {
        let trust = json!({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow",
            "Principal": {"AWS": format!("arn:aws:iam::{VAULT}:root")},
            "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"sts:ExternalId": external_id}},
        }]});
        self.create_role(account, ROLE, &trust)
    }

    /// Makes a role that may do nothing yet, with this trust policy.
    ///
    /// # Errors
    /// When it exists.
    pub fn create_role(&self, account: &str, name: &str, trust: &Value) -> Result<()> {
        let form = [
            ("Action", "CreateRole"),
            ("Version", "2010-05-08"),
            ("RoleName", name),
            ("AssumeRolePolicyDocument", &trust.to_string()),
        ];
        self.aws.query(Place { account, region: "us-east-1" }, "iam", &form).map(drop)
    }

    /// Gives a role of that name, which exists, this inline policy.
    ///
    /// # Errors
    /// When it does not exist.
    pub fn put_policy(&self, account: &str, role: &str, policy: &Value) -> Result<()> {
        let form = [
            ("Action", "PutRolePolicy"),
            ("Version", "2010-05-08"),
            ("RoleName", role),
            ("PolicyName", "inline"),
            ("PolicyDocument", &policy.to_string()),
        ];
        self.aws.query(Place { account, region: "us-east-1" }, "iam", &form).map(drop)
    }

    /// Gives an instance an agent of Systems Manager, or changes it, and answers it as it is now.
    ///
    /// # Errors
    /// When there is no such instance.
    pub fn agent(&self, place: Place<'_>, instance: &str, more: &Value) -> Result<Value> {
        let mut body =
            json!({"account": place.account, "region": place.region, "instance": instance});
        if let (Some(body), Some(more)) = (body.as_object_mut(), more.as_object()) {
            body.extend(more.clone());
        }
        self.aws.post("agents", &body)
    }

    /// Every agent, when no command is under way: what has run on its instance, and what became of the application there.
    ///
    /// # Errors
    /// When the local AWS is gone.
    pub fn agents(&self) -> Result<Vec<Value>> {
        Ok(self.aws.get("agents?wait=idle&timeout=120")?.as_array().cloned().unwrap_or_default())
    }

    /// Makes a command document of an account.
    ///
    /// # Errors
    /// When it exists, or the content is none.
    pub fn document(&self, place: Place<'_>, name: &str, content: &Value) -> Result<()> {
        let content = content.to_string();
        let body = json!({"Name": name, "DocumentType": "Command", "Content": content});
        self.aws.json(place, "ssm", "AmazonSSM.CreateDocument", &body).map(drop)
    }

    /// Makes an instance profile, and the role in it with this policy, both of this name.
    ///
    /// # Errors
    /// When one of them exists.
    pub fn instance_profile(&self, account: &str, name: &str, policy: &Value) -> Result<()> {
        let trust = json!({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow",
            "Principal": {"Service": "ec2.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }]});
        self.create_role(account, name, &trust)?;
        self.put_policy(account, name, policy)?;
        for action in ["CreateInstanceProfile", "AddRoleToInstanceProfile"] {
            let form = [
                ("Action", action),
                ("Version", "2010-05-08"),
                ("InstanceProfileName", name),
                ("RoleName", name),
            ];
            self.aws.query(Place { account, region: "us-east-1" }, "iam", &form)?;
        }
        Ok(())
    }

    /// One of the project's CloudFormation templates.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn template(&self, path: &str, parameters: &[(&str, Value)]) -> Result<Template> {
        Template::read(&self.machine, path, parameters)
    }

    /// What deploys templates, and runs what they make, in front of this local AWS.
    ///
    /// # Errors
    /// When it does not start.
    pub fn cloud(&self) -> Result<Cloud> {
        Cloud::start(&self.machine, &self.aws.url, &self.logs.join("cloud"))
    }

    /// Makes a customer managed key, and answers its ARN.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn key(&self, place: Place<'_>) -> Result<String> {
        let made = self.aws.json(place, "kms", "TrentService.CreateKey", &json!({}))?;
        let arn = made.pointer("/KeyMetadata/Arn").and_then(Value::as_str);
        Ok(arn.ok_or("the key has no ARN")?.to_owned())
    }

    /// Starts a function in the vault account with these policies configured.
    ///
    /// # Errors
    /// When it does not start.
    pub fn function(&self, name: &str, policies: &Value) -> Result<Lambda> {
        self.function_with(name, vec![("POLICIES", policies.to_string())], 300)
    }

    /// Starts a function in the vault account with this environment.
    ///
    /// # Errors
    /// When it does not start.
    pub fn function_with(
        &self,
        name: &str,
        env: Vec<(&str, String)>,
        timeout_seconds: u32,
    ) -> Result<Lambda> {
        self.function_at(vault(), name, env, timeout_seconds)
    }

    /// Starts a function in any account and Region with this environment.
    ///
    /// # Errors
    /// When it does not start.
    pub fn function_at(
        &self,
        place: Place<'_>,
        name: &str,
        env: Vec<(&str, String)>,
        timeout_seconds: u32,
    ) -> Result<Lambda> {
        let n = self.functions.fetch_add(1, Ordering::Relaxed);
        let setup = Setup {
            function: name,
            place,
            endpoint: &self.aws.url,
            env,
            timeout_seconds,
            log: self.logs.join(format!("{name}-{n}.log")),
        };
        Lambda::start(&self.machine, &setup)
    }

    /// Has the vault's `shareSnapshot` events delivered to these processes of one function, each to one of them.
    ///
    /// # Errors
    /// When the rule cannot be made.
    pub fn deliver_events_to(&self, functions: &[&Lambda]) -> Result<()> {
        let name = "copy-shared-snapshots";
        let urls: Vec<&str> = functions.iter().map(|function| function.url.as_str()).collect();
        self.aws.post("functions", &json!({name: urls}))?;
        for region in [HOME, AWAY] {
            let place = Place { account: VAULT, region };
            let pattern = json!({
                "source": ["aws.ec2"],
                "detail-type": ["EBS Snapshot Notification"],
                "detail": {"event": ["shareSnapshot"], "result": ["succeeded"]},
            });
            let arn = format!("arn:aws:lambda:{region}:{VAULT}:function:{name}");
            self.put_rule(place, "shared", &pattern, &arn)?;
        }
        Ok(())
    }

    /// Makes an event rule that sends what fits the pattern to one target.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn put_rule(&self, at: Place<'_>, name: &str, pattern: &Value, target: &str) -> Result<()> {
        let rule = json!({"Name": name, "EventPattern": pattern.to_string()});
        self.aws.json(at, "events", "AWSEvents.PutRule", &rule)?;
        let targets = json!({"Rule": name, "Targets": [{"Id": "1", "Arn": target}]});
        self.aws.json(at, "events", "AWSEvents.PutTargets", &targets).map(drop)
    }
}

/// `Targets` for the member accounts in these Regions.
#[must_use]
pub fn targets(regions: &[&str]) -> Value {
    let target = |account: &&str| json!({"RoleArn": role_arn(account), "ExternalId": EXTERNAL_ID, "Regions": regions});
    MEMBERS.iter().map(target).collect()
}
