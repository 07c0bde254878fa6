//! `cargo measure --scale`: peak memory and time of `rotate-snapshots` in one large account. The account is made up: a
//! server in this process answers as EC2 and as Lambda's Runtime API do, faster than the local AWS could.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::Result;
use crate::machine::project;
use account::{Account, NIGHTS};

mod account;

/// Snapshots in the account, of a fifth as many volumes ([`NIGHTS`]).
const SIZES: [usize; 3] = [25_000, 50_000, 100_000];

/// When the newest snapshots began.
const SLOT: &str = "2026-11-22T02:00:00Z";

/// When it is asked what to do, and how many of a volume's snapshots stay.
struct Run {
    name: &'static str,
    now: &'static str,
    count: usize,
}

/// With nothing to do, and with a snapshot to make and another to delete of every volume.
const RUNS: [Run; 2] = [
    Run { name: "settled", now: "2026-11-22T02:05:00Z", count: NIGHTS },
    Run { name: "next night", now: "2026-11-23T02:05:00Z", count: NIGHTS - 1 },
];

/// Measures the built `rotate-snapshots` at `program`, and prints a table.
///
/// # Errors
/// When it does not run, or its report is not what such an account must give.
pub fn measure(program: &Path) -> Result<()> {
    println!(
        "\n{:<12} {:>10} {:>10} {:>10} {:>12} {:>10} {:>12}",
        "run", "snapshots", "volumes", "peak MiB", "bytes each", "seconds", "us each"
    );
    let (empty, _) = measured(program, 0, &RUNS[0])?;
    for run in RUNS {
        for n in SIZES {
            let (peak, took) = measured(program, n, &run)?;
            let each = |total: u64| total / u64::try_from(n).unwrap_or(u64::MAX).max(1);
            println!(
                "{:<12} {n:>10} {:>10} {:>10} {:>12} {:>10.1} {:>12}",
                run.name,
                n / NIGHTS,
                peak / 1024,
                each((peak.saturating_sub(empty)) * 1024),
                took.as_secs_f64(),
                each(u64::try_from(took.as_micros())?)
            );
        }
    }
    println!(
        "\nan empty account takes {} MiB; bytes each are what is more than that",
        empty / 1024
    );
    Ok(())
}

/// One dry run: peak memory in KiB, and the time from event to answer.
fn measured(program: &Path, snapshots: usize, run: &Run) -> Result<(u64, Duration)> {
    let newest: Timestamp = SLOT.parse()?;
    let account = Arc::new(Account { snapshots, newest });
    let (answers, answer) = channel();
    let event = json!({"ScheduledTime": run.now, "DryRun": true, "Now": run.now}).to_string();
    let lambda = Arc::new(Lambda { event: Mutex::new(Some(event)), answers: Mutex::new(answers) });
    let server = TcpListener::bind("127.0.0.1:0")?;
    let address = server.local_addr()?.to_string();
    thread::spawn(move || {
        for stream in server.incoming().flatten() {
            let (account, lambda) = (Arc::clone(&account), Arc::clone(&lambda));
            thread::spawn(move || serve(stream, &account, &lambda));
        }
    });
    let mut function = Process(start(program, &address, run)?);
    let began = Instant::now();
    let answered = loop {
        match answer.recv_timeout(Duration::from_secs(1)) {
            Ok(answered) => break answered,
            Err(_) if began.elapsed() < Duration::from_mins(15) => {
                if let Some(status) = function.0.try_wait()? {
                    return Err(format!("the function ended: {status}").into());
                }
            }
            Err(_) => return Err("the function does not answer".into()),
        }
    };
    let peak = peak_kib(&function.0)?;
    check(&answered.body, snapshots, run)?;
    Ok((peak, answered.took))
}

/// The least that must be right, lest a run that did nothing passes for a fast one.
fn check(body: &str, snapshots: usize, run: &Run) -> Result<()> {
    let report: Value = serde_json::from_str(body).map_err(|_| body.to_owned())?;
    let count = |name: &str| report.pointer(&format!("/Counts/{name}")).and_then(Value::as_u64);
    let volumes = u64::try_from(snapshots / NIGHTS)?;
    let due = (run.count < NIGHTS).then_some(volumes);
    let made = (count("CreateSnapshot"), count("DeleteSnapshot"));
    let is_right = report.get("Status") == Some(&json!("Planned")) && made == (due, due);
    if is_right { Ok(()) } else { Err(format!("{made:?} made and deleted: {body:.1000}").into()) }
}

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(program: &Path, address: &str, run: &Run) -> Result<Child> {
    let child = Command::new(program)
        .current_dir(project())
        .env_clear()
        .env("AWS_LAMBDA_RUNTIME_API", address)
        .env("AWS_LAMBDA_FUNCTION_NAME", "measured")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
        .env("AWS_LAMBDA_LOG_FORMAT", "JSON")
        .env("AWS_REGION", account::REGION)
        .env("AWS_ACCESS_KEY_ID", "local")
        .env("AWS_SECRET_ACCESS_KEY", "local")
        .env("AWS_ENDPOINT_URL", format!("http://{address}"))
        .env("POLICIES", json!([account::policy(run.count)]).to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()?;
    Ok(child)
}

/// The most memory that the process has had in use, from Linux.
///
/// # Errors
/// When Linux does not tell.
pub fn peak_kib(child: &Child) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).ok_or("no VmHWM")?;
    Ok(kib.parse()?)
}

/// The Runtime API of one invocation.
struct Lambda {
    event: Mutex<Option<String>>,
    answers: Mutex<Sender<Answered>>,
}

struct Answered {
    body: String,
    took: Duration,
}

/// Answers the requests of one connection.
fn serve(stream: TcpStream, account: &Account, lambda: &Lambda) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut stream = stream;
    let mut began = None;
    loop {
        let (path, headers, body) = request(&mut reader)?;
        if path.ends_with("/invocation/next") {
            let event = lambda.event.lock().unwrap_or_else(PoisonError::into_inner).take();
            let Some(event) = event else {
                thread::park(); // no more events: the process is ended
                return None;
            };
            #[expect(clippy::disallowed_methods, reason = "an invocation has a deadline")]
            let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_millis();
            let head = format!(
                "Lambda-Runtime-Aws-Request-Id: 1\r\nLambda-Runtime-Deadline-Ms: {}\r\n\
                 Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:{}:{}:function:measured\r\n",
                now + 900_000,
                account::REGION,
                account::ACCOUNT
            );
            began = Some(Instant::now());
            respond(&mut stream, "application/json", &head, &event)?;
        } else if path.starts_with("/2018-06-01/") {
            let took = began.map(|began| began.elapsed()).unwrap_or_default();
            let answers = lambda.answers.lock().unwrap_or_else(PoisonError::into_inner);
            answers.send(Answered { body, took }).ok()?;
            respond(&mut stream, "application/json", "", "{}")?;
        } else if headers.contains_key("x-amz-target") {
            respond(&mut stream, "application/x-amz-json-1.1", "", &account::key())?;
        } else {
            respond(&mut stream, "text/xml", "", &account.answer(&form(&body)))?;
        }
    }
}

type Request = (String, BTreeMap<String, String>, String);

fn request(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => {
                headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
            }
            None => break,
        }
    }
    let body = if headers.get("transfer-encoding").is_some_and(|it| it == "chunked") {
        chunks(reader)?
    } else {
        let length = headers.get("content-length").and_then(|it| it.parse().ok()).unwrap_or(0);
        exactly(reader, length)?
    };
    Some((path, headers, String::from_utf8(body).ok()?))
}

fn chunks(reader: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let length = usize::from_str_radix(line.trim(), 16).ok()?;
        body.extend(exactly(reader, length)?);
        exactly(reader, 2)?; // the end of the line
        if length == 0 {
            return Some(body);
        }
    }
}

fn exactly(reader: &mut BufReader<TcpStream>, length: usize) -> Option<Vec<u8>> {
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(body)
}

fn respond(stream: &mut TcpStream, kind: &str, more: &str, body: &str) -> Option<()> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n{more}\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(body.as_bytes()).ok()
}

/// Values are only compared and counted, so that nothing needs decoding but the colon of our tags.
fn form(body: &str) -> BTreeMap<String, String> {
    let pairs = body.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.replace("%3A", ":"))).collect()
}

/// So many hours before.
fn earlier(at: Timestamp, hours: usize) -> Timestamp {
    at - SignedDuration::from_hours(i64::try_from(hours).unwrap_or(i64::MAX / 3600))
}
