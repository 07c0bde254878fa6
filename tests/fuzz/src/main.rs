//! Fuzz targets by hand: one input again, or many.
//!
//! ```sh
//! cargo run -p snapferry-fuzz -- events '{\"DryRun\": 1}'    # one input, as a literal
//! cargo run -p snapferry-fuzz -- events @crash-0123          # one input, from a file
//! cargo run -p snapferry-fuzz -- run all 100000 7            # so many inputs of every target, by seed 7
//! cargo run -p snapferry-fuzz -- seeds events corpus/events  # what mutation begins with, as files
//! ```

use std::path::Path;
use std::process::ExitCode;
use std::{env, fs};

use snapferry_fuzz::{TARGETS, Target, literal, run, target};

const USAGE: &str = "usage: cargo run -p snapferry-fuzz -- TARGET 'LITERAL'
       cargo run -p snapferry-fuzz -- TARGET @FILE
       cargo run -p snapferry-fuzz -- run TARGET|all [EXECUTIONS [SEED]]
       cargo run -p snapferry-fuzz -- seeds TARGET FOLDER
TARGET is events, policies, descriptions, tags, texts, rotation, vault or within";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match command(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn command(arguments: &[&str]) -> Result<(), String> {
    match arguments {
        ["run", name] => many(&targets(name)?, None, 0),
        ["run", name, executions] => many(&targets(name)?, Some(number(executions)?), 0),
        ["run", name, executions, seed] => {
            many(&targets(name)?, Some(number(executions)?), number(seed)?)
        }
        ["seeds", name, folder] => write_seeds(target(name).ok_or(USAGE)?, Path::new(folder)),
        [name, input] => {
            let target = target(name).ok_or(USAGE)?;
            let data = match input.strip_prefix('@') {
                Some(path) => fs::read(path).map_err(|err| format!("{path}: {err}"))?,
                None => literal::unescaped(input),
            };
            println!("{name}: {:?}", (target.run)(&data));
            Ok(())
        }
        _ => Err(USAGE.to_owned()),
    }
}

fn targets(name: &str) -> Result<Vec<Target>, String> {
    if name == "all" {
        return Ok(TARGETS.to_vec());
    }
    target(name).map(|target| vec![target]).ok_or_else(|| USAGE.to_owned())
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("want a number, found {text:?}\n{USAGE}"))
}

fn write_seeds(target: Target, folder: &Path) -> Result<(), String> {
    let failed = |err: std::io::Error| format!("{}: {err}", folder.display());
    fs::create_dir_all(folder).map_err(failed)?;
    for (n, seed) in (target.seeds)().into_iter().enumerate() {
        fs::write(folder.join(format!("seed-{n:02}")), seed).map_err(failed)?;
    }
    Ok(())
}

fn many(targets: &[Target], executions: Option<u32>, seed: u64) -> Result<(), String> {
    for target in targets {
        let tally = run::run(target, executions.unwrap_or(target.executions), seed)?;
        println!("{}", run::line(target, tally));
    }
    Ok(())
}
