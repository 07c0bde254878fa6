//! `cargo sim`: plays stories of months, and prints what became of them. See [`snapferry_sim::years`].

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use snapferry_sim::years::{self, Failed, Tally};

const USAGE: &str = "cargo sim [--seeds N] [--from SEED] [--days N] [--first]
    plays N stories (1500) of at most so many days of events (40), from the given seed on; --first ends with the first bad one
cargo sim --seed SEED [--days N]
    plays one, and if it ends badly tells a shorter one that does too";

struct Asked {
    seed: Option<u64>,
    from: u64,
    seeds: u64,
    days: i64,
    first: bool,
}

fn main() -> ExitCode {
    match read(std::env::args().skip(1)) {
        Err(wrong) => {
            eprintln!("{wrong}\n\n{USAGE}");
            ExitCode::from(2)
        }
        Ok(Asked { seed: Some(seed), days, .. }) => one(seed, days),
        Ok(asked) => many(&asked),
    }
}

fn read(mut arguments: impl Iterator<Item = String>) -> Result<Asked, String> {
    let mut asked = Asked { seed: None, from: 0, seeds: 1500, days: 40, first: false };
    while let Some(name) = arguments.next() {
        if name == "--first" {
            asked.first = true;
            continue;
        }
        if !["--seed", "--seeds", "--from", "--days"].contains(&name.as_str()) {
            return Err(format!("{name}: want --seeds, --from, --days, --first or --seed"));
        }
        let value = arguments.next().unwrap_or_default();
        let number: u64 =
            value.parse().map_err(|_| format!("{name}: want a number, found {value:?}"))?;
        match name.as_str() {
            "--seed" => asked.seed = Some(number),
            "--seeds" => asked.seeds = number,
            "--from" => asked.from = number,
            _ => asked.days = i64::try_from(number).unwrap_or(i64::MAX),
        }
    }
    Ok(asked)
}

fn one(seed: u64, days: i64) -> ExitCode {
    match years::play(seed, days) {
        Ok(tally) => {
            println!("seed {seed} ends well\n\n{tally}");
            ExitCode::SUCCESS
        }
        Err(failed) => {
            println!("seed {seed}: {}\n\nshortened:\n{}", failed.why, years::shorten(seed, days));
            ExitCode::FAILURE
        }
    }
}

fn many(asked: &Asked) -> ExitCode {
    let begun = Instant::now();
    let next = AtomicU64::new(asked.from);
    let end = asked.from.saturating_add(asked.seeds);
    let (tally, failures) = (Mutex::new(Tally::default()), Mutex::new(Vec::<Failed>::new()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        break;
                    }
                    match years::play(seed, asked.days) {
                        Ok(more) => locked(&tally).add(&more),
                        Err(failed) => {
                            println!("seed {}: {}", failed.seed, failed.why);
                            println!("    cargo sim --seed {} --days {}", failed.seed, asked.days);
                            locked(&failures).push(failed);
                            if asked.first {
                                next.store(end, Ordering::Relaxed);
                            }
                        }
                    }
                }
            });
        }
    });
    println!("{}", locked(&tally));
    let n = locked(&failures).len();
    println!(
        "{} seeds from {}: {n} ended badly; {} s",
        asked.seeds,
        asked.from,
        begun.elapsed().as_secs()
    );
    if n == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
