//! The local AWS: its server process, its control plane, and plain calls to its services.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::Result;
use crate::machine::{Machine, project};

/// A running local AWS. It ends with this value, or with this process.
#[derive(Debug)]
pub struct LocalAws {
    /// `http://127.0.0.1:PORT`
    pub url: String,
    http: ureq::Agent,
    child: Child,
    _alive: Option<ChildStdin>,
}

/// A port that was free a moment ago, each time another. It is none that the system gives to connections (on Linux from
/// 32768): one that begins meanwhile must not take it, least of all the one that waits for somebody to listen there.
///
/// # Errors
/// When there is none.
pub fn free_port() -> Result<u16> {
    const FIRST: u32 = 12_000;
    const PORTS: u32 = 20_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let of_process = std::process::id().wrapping_mul(256); // others start elsewhere
    for _ in 0..PORTS {
        let n = of_process.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(FIRST + n % PORTS)?;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err("no free port".into())
}

/// An HTTP client that gives errors as answers.
#[must_use]
pub fn http(timeout: Duration) -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(timeout))
        .build()
        .into()
}

impl LocalAws {
    /// Starts one, empty.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(machine: &Machine) -> Result<Self> {
        let mut child = Command::new(&machine.python)
            .current_dir(project().join("tests/local-aws"))
            .args(["-m", "local_aws", "--port", "0", "--until-stdin-closes"])
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let alive = child.stdin.take();
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let url = line
            .trim()
            .strip_prefix("ready ")
            .ok_or_else(|| format!("the local AWS did not start, it said {line:?}"))?
            .to_owned();
        Ok(Self { url, http: http(Duration::from_mins(5)), child, _alive: alive })
    }

    /// Asks the control plane.
    ///
    /// # Errors
    /// When it says no.
    pub fn get(&self, path: &str) -> Result<Value> {
        let mut answer = self.http.get(format!("{}/local-aws/{path}", self.url)).call()?;
        Self::answered(
            path,
            answer.status().as_u16(),
            &answer.body_mut().with_config().limit(1 << 30).read_to_string()?,
        )
    }

    /// Tells the control plane.
    ///
    /// # Errors
    /// When it says no.
    pub fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let url = format!("{}/local-aws/{path}", self.url);
        let mut answer = self.http.post(url).send(body.to_string())?;
        Self::answered(
            path,
            answer.status().as_u16(),
            &answer.body_mut().with_config().limit(1 << 30).read_to_string()?,
        )
    }

    /// Clears what the control plane has recorded under this path.
    ///
    /// # Errors
    /// When it says no.
    pub fn clear(&self, path: &str) -> Result<Value> {
        let mut answer = self.http.delete(format!("{}/local-aws/{path}", self.url)).call()?;
        Self::answered(path, answer.status().as_u16(), &answer.body_mut().read_to_string()?)
    }

    fn answered(what: &str, status: u16, body: &str) -> Result<Value> {
        if (200..300).contains(&status) {
            return Ok(if body.is_empty() { Value::Null } else { serde_json::from_str(body)? });
        }
        Err(format!("{what}: {status} {body}").into())
    }

    /// A call to a service that speaks AWS's query protocol, as the root of `account`. Answers the XML.
    ///
    /// # Errors
    /// When AWS says no.
    pub fn query(&self, place: Place<'_>, service: &str, form: &[(&str, &str)]) -> Result<String> {
        let request = self
            .http
            .post(format!("{}/", self.url))
            .header("authorization", place.authorization(service));
        let mut answer = request.send_form(form.iter().copied())?;
        let body = answer.body_mut().read_to_string()?;
        if answer.status().as_u16() >= 300 {
            return Err(format!("{service} {form:?}: {body}").into());
        }
        Ok(body)
    }

    /// A call to a service that speaks AWS's JSON protocol, as the root of `account`.
    ///
    /// # Errors
    /// When AWS says no.
    pub fn json(
        &self,
        place: Place<'_>,
        service: &str,
        target: &str,
        body: &Value,
    ) -> Result<Value> {
        let request = self
            .http
            .post(format!("{}/", self.url))
            .header("authorization", place.authorization(service))
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", target);
        let mut answer = request.send(body.to_string())?;
        let text = answer.body_mut().read_to_string()?;
        Self::answered(target, answer.status().as_u16(), &text)
    }

    /// Every snapshot in every account and Region.
    ///
    /// # Errors
    /// When the local AWS is gone.
    pub fn snapshots(&self) -> Result<Vec<Snapshot>> {
        let rows = self.get("snapshots")?;
        Ok(rows.as_array().into_iter().flatten().map(Snapshot::read).collect())
    }

    /// Makes volumes, and answers their ids.
    ///
    /// # Errors
    /// When they cannot be made.
    pub fn volumes(&self, place: Place<'_>, count: usize, more: &Value) -> Result<Vec<String>> {
        let mut body = json!({"account": place.account, "region": place.region, "count": count});
        if let (Some(body), Some(more)) = (body.as_object_mut(), more.as_object()) {
            body.extend(more.clone());
        }
        let made = self.post("seed", &body)?;
        let ids = made.get("volumes").and_then(Value::as_array);
        Ok(ids.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect())
    }

    /// Waits until no event is under way and no snapshot or copy is pending.
    ///
    /// # Errors
    /// When that does not come.
    pub fn settle(&self) -> Result<()> {
        let answer = self.get("deliveries?wait=settled&timeout=120")?;
        if answer.get("idle") == Some(&Value::Bool(true)) {
            return Ok(());
        }
        Err("the local AWS does not come to rest".into())
    }

    /// Every call that was made since the record was cleared, in order.
    ///
    /// # Errors
    /// When the local AWS is gone.
    pub fn calls(&self) -> Result<Vec<Call>> {
        let answer = self.get("calls?params=0")?;
        let calls = answer.get("calls").and_then(Value::as_array);
        let text = |call: &Value, name: &str| {
            call.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        Ok(calls
            .into_iter()
            .flatten()
            .map(|call| Call {
                account: text(call, "account"),
                region: text(call, "region"),
                action: text(call, "action"),
                succeeded: call.get("status").and_then(Value::as_u64) == Some(200),
            })
            .collect())
    }
}

impl Drop for LocalAws {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One AWS call that the local AWS has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Call {
    pub account: String,
    pub region: String,
    pub action: String,
    pub succeeded: bool,
}

/// The text of the first XML element of that name.
#[must_use]
pub fn element<'a>(xml: &'a str, name: &str) -> &'a str {
    let after = xml.split_once(&format!("<{name}>")).map_or("", |(_, after)| after);
    after.split('<').next().unwrap_or_default()
}

/// An account in a Region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Place<'a> {
    pub account: &'a str,
    pub region: &'a str,
}

impl Place<'_> {
    /// The local AWS takes a 12-digit access key id for the account, and checks no signature.
    fn authorization(self, service: &str) -> String {
        format!(
            "AWS4-HMAC-SHA256 Credential={}/20260101/{}/{service}/aws4_request, SignedHeaders=host, Signature=0",
            self.account, self.region
        )
    }
}

/// A snapshot as the local AWS has it.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Snapshot {
    pub id: String,
    pub account: String,
    pub region: String,
    pub volume: String,
    pub state: String,
    pub start_time: String,
    pub key: Option<String>,
    pub tags: Value,
    pub shared_with: Vec<String>,
    pub description: String,
    /// Whether the application of its instance was, when it was made. Nothing where no agent was.
    pub frozen: Option<bool>,
    pub copied: bool,
    /// Of a copy: `standard` or `time-based`.
    pub transfer: String,
    /// Of a copy.
    pub incremental: bool,
    /// `standard` or `archive`.
    pub tier: String,
    /// Null: never locked.
    pub lock: Value,
    /// `account`, `zone` and `state` of each.
    pub fast_restores: Value,
}

impl Snapshot {
    fn read(row: &Value) -> Self {
        let text = |name: &str| row.get(name).and_then(Value::as_str).map(str::to_owned);
        Self {
            id: text("id").unwrap_or_default(),
            account: text("account").unwrap_or_default(),
            region: text("region").unwrap_or_default(),
            volume: text("volume").unwrap_or_default(),
            state: text("state").unwrap_or_default(),
            start_time: text("start_time").unwrap_or_default(),
            key: text("key"),
            tags: row.get("tags").cloned().unwrap_or_default(),
            shared_with: row
                .get("shared_with")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
            description: text("description").unwrap_or_default(),
            frozen: row.get("frozen").and_then(Value::as_bool),
            copied: row.get("copied") == Some(&Value::Bool(true)),
            transfer: text("transfer").unwrap_or_default(),
            incremental: row.get("incremental") == Some(&Value::Bool(true)),
            tier: text("tier").unwrap_or_default(),
            lock: row.get("lock").cloned().unwrap_or_default(),
            fast_restores: row.get("fast_restores").cloned().unwrap_or_default(),
        }
    }

    /// The value of a tag, or nothing.
    #[must_use]
    pub fn tag(&self, key: &str) -> &str {
        self.tags.get(key).and_then(Value::as_str).unwrap_or_default()
    }
}
