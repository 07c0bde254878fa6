//! What deploys templates and runs what they make, in front of a local AWS: CloudFormation, Lambda, Scheduler,
//! EventBridge, Step Functions and a few more, by ministack (`tests/local-aws/local_cloud`).

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Result;
use crate::local_aws::{Place, free_port, http};
use crate::machine::{Machine, project};

/// A running one. It ends with this value, or with this process, and its functions with it.
#[derive(Debug)]
pub struct Cloud {
    control: String,
    http: ureq::Agent,
    binaries: PathBuf,
    child: Child,
    alive: Option<ChildStdin>,
}

/// A stack as it is to be.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Where.
    pub place: Place<'a>,
    /// Its name.
    pub name: &'a str,
    /// The template's path in the project.
    pub template: &'a str,
    /// Others have their defaults.
    pub parameters: &'a [(&'a str, &'a str)],
    /// Types of resources that are left out.
    pub without: &'a [&'a str],
}

/// A stack as it has become.
#[derive(Clone, Debug)]
pub struct Deployed {
    /// Such as `CREATE_COMPLETE`.
    pub status: String,
    /// By name.
    pub outputs: Value,
    /// Physical ids by logical ids.
    pub resources: Value,
    /// Without its transform.
    pub template: Value,
}

impl Deployed {
    /// The physical id of a resource.
    ///
    /// # Errors
    /// When there is none.
    pub fn id(&self, logical: &str) -> Result<&str> {
        let id = self.resources.get(logical).and_then(Value::as_str);
        id.ok_or_else(|| format!("the stack has no {logical}").into())
    }
}

/// Waits and the intervals of retries in state machines take so much of their time.
const WAIT_SCALE: &str = "0.05";

impl Cloud {
    /// Starts one, empty, whose functions call the local AWS at `endpoint`. `scratch`: a folder of its own, made anew.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(machine: &Machine, endpoint: &str, scratch: &Path) -> Result<Self> {
        machine.prepare_cloud()?;
        if scratch.exists() {
            std::fs::remove_dir_all(scratch)?;
        }
        std::fs::create_dir_all(scratch)?;
        let mut child = Command::new(&machine.python)
            .current_dir(project().join("tests/local-aws"))
            .args(["-m", "local_cloud", "--until-stdin-closes", "--wait-scale", WAIT_SCALE])
            .args(["--port", &free_port()?.to_string(), "--aws", endpoint, "--scratch"])
            .arg(scratch)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(scratch.join("cloud.log"))?)
            .spawn()?;
        let alive = child.stdin.take();
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let control = line.trim().split(' ').nth(2).unwrap_or_default().to_owned();
        let http = http(Duration::from_mins(15));
        let cloud = Self { control, http, binaries: machine.binaries.clone(), child, alive };
        if line.starts_with("ready ") {
            return Ok(cloud);
        }
        let log = scratch.join("cloud.log");
        Err(format!("the local cloud did not start, it said {line:?}, see {}", log.display())
            .into())
    }

    /// A call of boto3, as the root of the account. `{"$bootstrap": path}` is a function's code that starts this program.
    ///
    /// # Errors
    /// When AWS says no.
    pub fn call(
        &self,
        place: Place<'_>,
        service: &str,
        operation: &str,
        params: &Value,
    ) -> Result<Value> {
        let body = json!({
            "account": place.account, "region": place.region,
            "service": service, "operation": operation, "params": params,
        });
        self.post("call", &body)
    }

    fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let url = format!("{}/{path}", self.control);
        let mut answer = self.http.post(url).send(body.to_string())?;
        let status = answer.status().as_u16();
        let text = answer.body_mut().with_config().limit(1 << 30).read_to_string()?;
        let value: Value = serde_json::from_str(&text)?;
        if status == 200 {
            return Ok(value);
        }
        Err(value.get("error").and_then(Value::as_str).unwrap_or(&text).into())
    }

    /// Makes a stack as `sam deploy` does, with the functions that were built; its roles exist in the local AWS then, too.
    ///
    /// # Errors
    /// When CloudFormation refuses it, or does not make it.
    pub fn create(&self, wanted: Wanted<'_>) -> Result<Deployed> {
        self.deploy(wanted, false)
    }

    /// Updates a stack that exists.
    ///
    /// # Errors
    /// As [`Self::create`].
    pub fn update(&self, wanted: Wanted<'_>) -> Result<Deployed> {
        self.deploy(wanted, true)
    }

    fn deploy(&self, wanted: Wanted<'_>, update: bool) -> Result<Deployed> {
        let parameters: serde_json::Map<_, _> =
            wanted.parameters.iter().map(|(name, value)| ((*name).into(), json!(value))).collect();
        let body = json!({
            "account": wanted.place.account, "region": wanted.place.region, "stack": wanted.name,
            "template": project().join(wanted.template), "parameters": parameters,
            "without": wanted.without, "update": update, "binaries": self.binaries,
        });
        let mut made = self.post("deploy", &body)?;
        let status = text(&made, "status");
        if !["CREATE_COMPLETE", "UPDATE_COMPLETE"].contains(&status.as_str()) {
            return Err(format!("{}: {status}, {:?}", wanted.name, made.get("failed")).into());
        }
        let mut take = |name| made.get_mut(name).map(Value::take).unwrap_or_default();
        let (outputs, resources) = (take("outputs"), take("resources"));
        Ok(Deployed { status, outputs, resources, template: take("template") })
    }

    /// Has waits and the intervals of retries in state machines take so much of their time from now on.
    ///
    /// # Errors
    /// When the cloud is gone.
    pub fn wait_scale(&self, scale: f64) -> Result<()> {
        self.post("wait-scale", &json!({"scale": scale})).map(drop)
    }

    /// Makes a function of a built binary, without a stack: it acts as the account's root. Answers its ARN.
    ///
    /// # Errors
    /// When it exists.
    pub fn function(&self, place: Place<'_>, name: &str, environment: &Value) -> Result<String> {
        let params = json!({
            "FunctionName": name, "Runtime": "provided.al2023", "Handler": "bootstrap", "Timeout": 900,
            "Role": format!("arn:aws:iam::{}:role/no-stack", place.account),
            "Code": {"ZipFile": {"$bootstrap": self.binaries.join(name)}},
            "Environment": {"Variables": environment},
        });
        let made = self.call(place, "lambda", "create_function", &params)?;
        Ok(text(&made, "FunctionArn"))
    }

    /// What functions have printed into a log group, or why that cannot be told.
    #[must_use]
    pub fn printed(&self, place: Place<'_>, log_group: &str) -> String {
        let params = json!({"logGroupName": log_group});
        match self.call(place, "logs", "filter_log_events", &params) {
            Ok(log) => {
                let events = log.get("events").and_then(Value::as_array).into_iter().flatten();
                events.map(|event| text(event, "message") + "\n").collect()
            }
            Err(err) => err.to_string(),
        }
    }

    /// Makes a state machine; answers its ARN.
    ///
    /// # Errors
    /// When the definition is refused.
    pub fn machine(&self, place: Place<'_>, name: &str, definition: &Value) -> Result<String> {
        let params = json!({
            "name": name, "definition": definition.to_string(),
            "roleArn": format!("arn:aws:iam::{}:role/no-stack", place.account),
        });
        let made = self.call(place, "stepfunctions", "create_state_machine", &params)?;
        Ok(text(&made, "stateMachineArn"))
    }

    /// Runs a state machine to its end, and answers what `DescribeExecution` tells then.
    ///
    /// # Errors
    /// When it does not end within five minutes.
    pub fn execute(&self, place: Place<'_>, machine: &str, input: &Value) -> Result<Value> {
        let params = json!({"stateMachineArn": machine, "input": input.to_string()});
        let started = self.call(place, "stepfunctions", "start_execution", &params)?;
        let execution = json!({"executionArn": text(&started, "executionArn")});
        eventually(Duration::from_mins(5), "the execution's end", || {
            let told = self.call(place, "stepfunctions", "describe_execution", &execution)?;
            Ok((text(&told, "status") != "RUNNING").then_some(told))
        })
    }
}

fn text(answer: &Value, name: &str) -> String {
    answer.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Looks until there is something.
///
/// # Errors
/// When looking fails, or nothing comes in this time.
pub fn eventually<T>(
    within: Duration,
    what: &str,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let end = Instant::now() + within;
    while Instant::now() < end {
        if let Some(found) = look()? {
            return Ok(found);
        }
        pause();
    }
    Err(format!("{what} did not come").into())
}

#[expect(clippy::disallowed_methods, reason = "another process is at work meanwhile")]
fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}

impl Drop for Cloud {
    fn drop(&mut self) {
        drop(self.alive.take());
        let _ = self.child.wait();
    }
}
