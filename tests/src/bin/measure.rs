//! `cargo measure`: size, cold start and memory of the release binaries, as ratios to a minimal `lambda_runtime`
//! function built and run beside them. Ratios, because machines are noisy. With `--scale`: memory and time in a large
//! account.

use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use snapferry_tests::Result;
use snapferry_tests::machine::{Machine, build, project};
use snapferry_tests::scale::{self, peak_kib};

/// Starts of each program, in turns.
const ROUNDS: usize = 15;
const PROGRAMS: [&str; 3] = ["hello", "rotate-snapshots", "copy-shared-snapshots"];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let measured = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => measure(),
        ["--scale"] => at_scale(false),
        ["--scale", "dev"] => at_scale(true),
        _ => Err("usage: cargo measure [--scale [dev]]".into()),
    };
    if let Err(err) = measured {
        eprintln!("cannot measure: {err}");
        std::process::exit(1);
    }
}

/// What was seen of one program.
#[derive(Default)]
struct Seen {
    bytes: u64,
    zipped_bytes: u64,
    start_us: Vec<u64>,
    peak_kib: Vec<u64>,
}

fn measure() -> Result<()> {
    eprintln!("· building for release (the first time takes half an hour)");
    let packages = ["snapferry-hello", "rotate-snapshots", "copy-shared-snapshots"];
    let packages = packages.iter().flat_map(|name| ["--package", name]);
    build(&["--release"].into_iter().chain(packages).collect::<Vec<_>>())?;
    let release = release()?;
    let mut seen: Vec<Seen> = Vec::new();
    for name in PROGRAMS {
        let path = release.join(name);
        let bytes = std::fs::metadata(&path)?.len();
        seen.push(Seen { bytes, zipped_bytes: zipped(&path)?, ..Seen::default() });
    }
    eprintln!("· {ROUNDS} starts of each, in turns");
    for round in 0..=ROUNDS {
        for (name, seen) in PROGRAMS.iter().zip(&mut seen) {
            let (start_us, peak_kib) = start(&release.join(name))?;
            if round > 0 {
                seen.start_us.push(start_us); // the first round warms the disk
                seen.peak_kib.push(peak_kib);
            }
        }
    }
    print(&seen);
    Ok(())
}

/// Peak memory and time of the release or dev binary in a large account.
fn at_scale(dev: bool) -> Result<()> {
    if dev {
        build(&["--package", "rotate-snapshots"])?;
        return scale::measure(&Machine::folder()?.join("rotate-snapshots"));
    }
    eprintln!("· building for release (the first time takes half an hour)");
    build(&["--release", "--package", "rotate-snapshots"])?;
    scale::measure(&release()?.join("rotate-snapshots"))
}

/// Where the release binaries are.
fn release() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let target = program.parent().and_then(Path::parent).ok_or("no target folder")?;
    Ok(target.join("release"))
}

/// Spawns the program and waits until it asks for its first event.
fn start(program: &Path) -> Result<(u64, u64)> {
    let api = TcpListener::bind("127.0.0.1:0")?;
    let began = Instant::now();
    let mut child = Command::new(program)
        .current_dir(project())
        .env("AWS_LAMBDA_RUNTIME_API", api.local_addr()?.to_string())
        .env("AWS_LAMBDA_FUNCTION_NAME", "measured")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
        .env("AWS_REGION", "eu-central-1")
        .env("POLICIES", "[]")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()?;
    let asked = first_next(&api).map(|_| began.elapsed());
    let peak = peak_kib(&child);
    end(&mut child);
    Ok((u64::try_from(asked?.as_micros())?, peak?))
}

fn first_next(api: &TcpListener) -> Result<TcpStream> {
    let (stream, _) = api.accept()?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line)?;
    if line.contains("/runtime/invocation/next") { Ok(stream) } else { Err(line.into()) }
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// The size as Lambda counts it: in a zip archive.
fn zipped(path: &Path) -> Result<u64> {
    const ZIP: &str = "import io, sys, zipfile\nb = io.BytesIO()\n\
        with zipfile.ZipFile(b, 'w', zipfile.ZIP_DEFLATED, compresslevel=9) as z:\n    \
        z.write(sys.argv[1], 'bootstrap')\nprint(len(b.getvalue()))";
    let output = Command::new("python3").args(["-c", ZIP]).arg(path).output()?;
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

fn print(seen: &[Seen]) {
    let median = |numbers: &[u64]| {
        let mut sorted = numbers.to_vec();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied().unwrap_or(0)
    };
    let least = |numbers: &[u64]| numbers.iter().copied().min().unwrap_or(0);
    let figures = |seen: &Seen| {
        [
            seen.bytes,
            seen.zipped_bytes,
            least(&seen.start_us),
            median(&seen.start_us),
            median(&seen.peak_kib),
        ]
    };
    let base = seen.first().map(figures).unwrap_or_default();
    println!(
        "\n{:<24} {:>10} {:>10} {:>10} {:>10} {:>10}",
        "", "raw KiB", "zip KiB", "start min", "median ms", "peak MiB"
    );
    for (name, seen) in PROGRAMS.iter().zip(seen) {
        let [raw, zip, min, mid, peak] = figures(seen);
        println!(
            "{name:<24} {:>10} {:>10} {:>10} {:>10} {:>10}",
            raw / 1024,
            zip / 1024,
            tenths(min, 1000),
            tenths(mid, 1000),
            tenths(peak, 1024)
        );
    }
    println!("\nas ratios to hello");
    for (name, seen) in PROGRAMS.iter().zip(seen).skip(1) {
        print!("{name:<24}");
        for (figure, base) in figures(seen).into_iter().zip(base) {
            print!(" {:>10}", tenths(figure, base.max(1)));
        }
        println!();
    }
}

/// `number / unit` with one decimal.
fn tenths(number: u64, unit: u64) -> String {
    let tenths = (number * 10 + unit / 2) / unit;
    format!("{}.{}", tenths / 10, tenths % 10)
}
