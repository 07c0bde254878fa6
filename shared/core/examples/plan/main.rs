//! What would happen, and why: for every snapshot in an inventory whether it is kept or deleted, and what would be made.
//!
//! ```sh
//! aws ec2 describe-volumes > volumes.json
//! aws ec2 describe-snapshots --owner-ids self > snapshots.json
//! jq -s 'add + {Region: "eu-central-1"}' volumes.json snapshots.json > inventory.json
//! cargo run --example plan -- policy.json inventory.json 2026-03-01T03:05:00Z
//! ```
//!
//! The policy file has one document, or a list of them; one that has no `Name` has the file's, as a parameter's would
//! be. With `--all` at the end these are all documents there are, so that snapshots of other policies are taken for
//! orphans, as the function takes them. What the inventory may have, see [`inventory`]. Nothing is asked of AWS, and
//! nothing done.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::{env, fs};

use jiff::Timestamp;
use snapferry_core::chain::Chain;
use snapferry_core::documents::{Content, Documents, Raw};
use snapferry_core::strict_json;

mod explain;
mod inventory;

const USAGE: &str = "usage: cargo run --example plan -- policy.json inventory.json NOW [--all]
--all: there are no other policies, and what they made is orphaned; NOW is a time such as 2026-03-01T03:05:00Z; the documentation of the example says what the files have";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (policy, inventory, now, all) = match &arguments[..] {
        [policy, inventory, now] => (policy, inventory, now, false),
        [policy, inventory, now, all] if all == "--all" => (policy, inventory, now, true),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(policy, inventory, now, all) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(err) => {
            eprintln!("{err}");
            ExitCode::FAILURE
        }
    }
}

fn run(policy: &str, inventory: &str, now: &str, all: bool) -> Result<String, Box<dyn Error>> {
    let now: Timestamp = now
        .parse()
        .map_err(|_| format!("NOW: want a time such as 2026-03-01T03:05:00Z, found {now:?}"))?;
    let world = inventory::read(&text_of(inventory)?)
        .map_err(|err| format!("{inventory}: {}", Chain(&*err)))?;
    let documents = documents(policy, &text_of(policy)?, all);
    if let Some(invalid) = documents.invalid.first() {
        let all: Vec<String> = documents.invalid.iter().map(explain::invalid).collect();
        return Err(if documents.invalid.len() == 1 {
            explain::invalid(invalid).into()
        } else {
            all.join("\n").into()
        });
    }
    Ok(explain::explain(&documents, &world, now))
}

fn text_of(path: &str) -> Result<String, String> {
    fs::read_to_string(path).map_err(|err| format!("{path}: {err}"))
}

fn documents(path: &str, text: &str, all: bool) -> Documents {
    let stem = Path::new(path).file_stem().unwrap_or_default().to_string_lossy();
    let raw = match strict_json::parse(text) {
        Ok(serde_json::Value::Array(documents)) => documents
            .into_iter()
            .map(|it| Raw { default_name: String::new(), content: Content::Json(it) })
            .collect(),
        _ => vec![Raw { default_name: stem.into_owned(), content: Content::Text(text.to_owned()) }],
    };
    Documents::read(raw, all)
}
