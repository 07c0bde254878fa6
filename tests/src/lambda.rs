//! A built function, run as Lambda runs it: under AWS's Runtime Interface Emulator, one event at a time.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Result;
use crate::local_aws::{Place, free_port, http};
use crate::machine::Machine;

/// A running function.
#[derive(Debug)]
pub struct Lambda {
    /// Where events are posted.
    pub url: String,
    /// What the function and the emulator print.
    pub log: PathBuf,
    child: Mutex<Child>,
    one_at_a_time: Mutex<()>,
}

/// How a function is run.
#[derive(Clone, Debug)]
pub struct Setup<'a> {
    /// The binary's name.
    pub function: &'a str,
    /// Whose credentials it has, and in which Region it runs.
    pub place: Place<'a>,
    /// The local AWS.
    pub endpoint: &'a str,
    /// Further environment.
    pub env: Vec<(&'a str, String)>,
    /// Lambda's `Timeout`, in seconds.
    pub timeout_seconds: u32,
    /// Where its log goes.
    pub log: PathBuf,
}

/// What an invocation answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The report.
    Report(Value),
    /// The function ended in an error.
    Error {
        /// `errorType`
        error_type: String,
        /// `errorMessage`
        message: String,
    },
}

impl Answer {
    /// The report, or an error that says what came instead.
    ///
    /// # Errors
    /// When it was an error.
    pub fn report(self) -> Result<Value> {
        match self {
            Self::Report(report) => Ok(report),
            Self::Error { error_type, message } => Err(format!("{error_type}: {message}").into()),
        }
    }

    /// `errorType` and `errorMessage`, empty where there was a report.
    #[must_use]
    pub fn error(&self) -> (&str, &str) {
        match self {
            Self::Report(_) => ("", ""),
            Self::Error { error_type, message } => (error_type, message),
        }
    }
}

impl Lambda {
    /// Starts a function and waits until it takes events.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(machine: &Machine, setup: &Setup<'_>) -> Result<Self> {
        let (port, api) = (free_port()?, free_port()?);
        let log = File::create(&setup.log)?;
        let child = Command::new(&machine.rie)
            .args(["--runtime-interface-emulator-address", &format!("127.0.0.1:{port}")])
            .args(["--runtime-api-address", &format!("127.0.0.1:{api}")])
            .arg(machine.binary(setup.function))
            .env_clear()
            .envs(std::env::vars_os().filter(|(name, _)| name == "PATH" || name == "HOME"))
            .env("AWS_LAMBDA_FUNCTION_NAME", setup.function)
            .env("AWS_LAMBDA_FUNCTION_TIMEOUT", setup.timeout_seconds.to_string())
            .env("AWS_LAMBDA_LOG_FORMAT", "JSON")
            // Part of the user agent: by it the local AWS tells whose calls these are.
            .env("AWS_EXECUTION_ENV", setup.function)
            .env("AWS_REGION", setup.place.region)
            .env("AWS_ACCESS_KEY_ID", setup.place.account)
            .env("AWS_SECRET_ACCESS_KEY", "local")
            .env("AWS_ENDPOINT_URL", setup.endpoint)
            .envs(setup.env.iter().map(|(name, value)| (*name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let lambda = Self {
            url: format!("http://127.0.0.1:{port}"),
            log: setup.log.clone(),
            child: Mutex::new(child),
            one_at_a_time: Mutex::new(()),
        };
        // The emulator starts the function with the first event, whether or not it can answer the function yet.
        for port in [api, port] {
            lambda.wait_until_it_listens(port)?;
        }
        Ok(lambda)
    }

    fn wait_until_it_listens(&self, port: u16) -> Result<()> {
        let end = Instant::now() + Duration::from_secs(20);
        while Instant::now() < end {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Ok(());
            }
            std::thread::yield_now();
        }
        Err(format!("the function does not listen, see {}", self.log.display()).into())
    }

    /// Sends an event and waits for the answer.
    ///
    /// # Errors
    /// When there is no answer: the function crashed, or ran out of time.
    pub fn invoke(&self, event: &Value) -> Result<Answer> {
        let _turn = self.one_at_a_time.lock().map_err(|_| "an earlier invocation panicked")?;
        let mut answer = http(Duration::from_mins(15))
            .post(format!("{}/2015-03-31/functions/function/invocations", self.url))
            .send(event.to_string())?;
        let body = answer.body_mut().with_config().limit(1 << 24).read_to_string()?;
        let value: Value = serde_json::from_str(&body)
            .map_err(|_| format!("{body}, see {}", self.log.display()))?;
        let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
        match (text("errorType"), text("errorMessage")) {
            (Some(error_type), Some(message)) => Ok(Answer::Error { error_type, message }),
            _ => Ok(Answer::Report(value)),
        }
    }

    /// Ends the function at once, as when its machine is lost. The emulator runs it in a process group of its own, so
    /// both are ended, the function first.
    pub fn kill(&self) {
        if let Ok(mut child) = self.child.lock() {
            for function in children(child.id()) {
                let kill = format!("kill -KILL {function}");
                let _ = Command::new("sh").args(["-c", &kill]).stderr(Stdio::null()).status();
            }
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// What was printed so far.
    ///
    /// # Errors
    /// When the log is gone.
    pub fn printed(&self) -> Result<String> {
        Ok(std::fs::read_to_string::<&Path>(&self.log)?)
    }
}

/// The processes that a process has started, as Linux tells; a process that has ended meanwhile is left out.
fn children(parent: u32) -> Vec<u32> {
    let is_child = |pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // pid (name) state ppid …, and a name may contain anything
        let after_name = stat.rsplit(')').next().unwrap_or_default();
        after_name.split_whitespace().nth(1) == Some(parent.to_string().as_str())
    };
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| is_child(*pid)).collect()
}

impl Drop for Lambda {
    fn drop(&mut self) {
        self.kill();
    }
}
