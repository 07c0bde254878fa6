//! The functions' calls, held against the policies that the templates give to the roles in which they would be made.
//!
//! Every [`Stage`] does that when it ends: a call that was served, and that the role of a deployment may not make, fails
//! the test. It makes no difference whether the local AWS asked roles meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use crate::Result;
use crate::machine::Machine;
use crate::roles::script_documents;
use crate::stage::{MEMBERS, Stage, VAULT};

const MAIN: &str = "template.yaml";
const ROTATE: &str = "rotate-snapshots";
const COPY: &str = "copy-shared-snapshots";
/// As the local cloud calls tasks that are calls of AWS.
const MACHINE: &str = "state-machine";

/// In which role a function acts: the parameter with the name of the one that it assumes (empty: its own), and where the
/// policies are.
const ROLES: [(&str, &str, &str, &str); 6] = [
    (MACHINE, "", MAIN, "OnDemandBackupRole"),
    (ROTATE, "", MAIN, "RotateSnapshotsRole"),
    (ROTATE, "MemberRoleName", "functions/rotate-snapshots/member-role.yaml", "MemberRole"),
    (
        ROTATE,
        "VaultReaderRoleName",
        "functions/rotate-snapshots/vault-reader-role.yaml",
        "VaultReaderRole",
    ),
    (COPY, "", MAIN, "CopySharedSnapshotsRole"),
    (
        COPY,
        "SourceReaderRoleName",
        "functions/copy-shared-snapshots/source-reader-role.yaml",
        "SourceReaderRole",
    ),
];
/// What the central function's role has besides, with `ActInOwnAccount`.
const OWN_ACCOUNT: &str = "RotateSnapshotsOwnAccountPolicy";

/// How the functions of a stage would be deployed.
#[derive(Debug)]
pub(crate) struct Deployment {
    parameters: Mutex<BTreeMap<&'static str, Value>>,
    /// How many calls were tried that a role must not make.
    tried: Mutex<BTreeMap<String, u64>>,
    file: PathBuf,
}

impl Deployment {
    pub(crate) fn new(name: &str, folder: &Path) -> Result<Self> {
        static NAMES: Mutex<BTreeMap<String, u32>> = Mutex::new(BTreeMap::new());
        std::fs::create_dir_all(folder)?;
        let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
        let n = names.entry(name.to_owned()).and_modify(|n| *n += 1).or_default();
        let parameters = [
            // The stack is in the account of the role.
            ("AWS::AccountId", json!("${aws:PrincipalAccount}")),
            ("SourceAccounts", json!(MEMBERS)),
            ("VaultAccounts", json!([VAULT])),
            ("ScriptDocumentArns", script_documents()),
            ("BackupServiceRole.Arn", json!("no stack has made it")),
            ("OnDemandBackupVault.BackupVaultArn", json!("no stack has made it")),
        ];
        Ok(Self {
            parameters: Mutex::new(parameters.into()),
            tried: Mutex::default(),
            file: folder.join(format!("{name}-{n}.json")),
        })
    }
}

impl Stage {
    /// Says which parameters a deployment of this stage's functions would have, other than the members as sources and
    /// the vault to share with.
    pub fn deployed_with(&self, parameters: impl IntoIterator<Item = (&'static str, Value)>) {
        let mut all = self.deployment.parameters.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend(parameters);
    }

    /// Says that these accounts, too, are a source, and one to share with.
    pub fn deployed_for(&self, source: &str, vault: &str) {
        let mut all = self.deployment.parameters.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, account) in [("SourceAccounts", source), ("VaultAccounts", vault)] {
            if let Some(accounts) = all.get_mut(name).and_then(Value::as_array_mut) {
                accounts.push(json!(account));
            }
        }
    }

    /// Says that the test has tried a call that the role must not make.
    pub fn tried(&self, role: &str) {
        let mut tried = self.deployment.tried.lock().unwrap_or_else(PoisonError::into_inner);
        *tried.entry(role.to_owned()).or_default() += 1;
    }

    /// Holds every call that the functions have made so far against the templates' policies.
    ///
    /// # Errors
    /// When the templates cannot be understood.
    pub fn prove(&self) -> Result<Proof> {
        let parameters = self.deployment.parameters.lock().unwrap_or_else(PoisonError::into_inner);
        let parameters: Vec<_> = parameters.iter().map(|(k, v)| (*k, v.clone())).collect();
        let (mut policies, mut actors) = (BTreeMap::new(), BTreeMap::new());
        for (function, assumed, path, name) in ROLES {
            let template = self.template(path, &parameters)?;
            policies.insert(name.to_owned(), template.policy(name)?);
            let mut held = vec![name.to_owned()];
            let mut actor = function.to_owned();
            if !assumed.is_empty() {
                let role = template.parameter(assumed)?;
                write!(actor, " as {}", role.as_str().unwrap_or_default())?;
            } else if function == ROTATE && template.parameter("ActInOwnAccount")? == "true" {
                policies.insert(OWN_ACCOUNT.to_owned(), template.policy(OWN_ACCOUNT)?);
                held.push(OWN_ACCOUNT.to_owned());
            }
            actors.insert(actor, held);
        }
        let mut found = self.aws.post("proof", &json!({"policies": policies, "actors": actors}))?;
        let tried = self.deployment.tried.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = found.as_object_mut() {
            found.insert("tried".to_owned(), json!(*tried));
        }
        std::fs::write(&self.deployment.file, found.to_string())?;
        Ok(Proof::read(&found))
    }
}

impl Drop for Stage {
    #[expect(clippy::panic, reason = "it fails the test that ends here")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        match self.prove() {
            Ok(proof) if proof.refused.is_empty() => (),
            Ok(proof) => panic!(
                "the roles of template.yaml and functions/*/*.yaml do not allow {} of these, such as\n{}",
                proof.refused.len(),
                proof.refused.iter().take(20).map(String::as_str).collect::<Vec<_>>().join("\n")
            ),
            Err(err) => panic!("the functions' calls cannot be held against policies: {err}"),
        }
    }
}

/// What came of holding calls against policies.
#[derive(Clone, Debug, Default)]
pub struct Proof {
    /// By role.
    pub rows: BTreeMap<String, Row>,
    /// By `<role or policy>/<Sid>`.
    pub statements: BTreeMap<String, Use>,
    /// What would have been refused, in words.
    pub refused: Vec<String>,
    /// How many calls were tried that a role must not make.
    pub tried: BTreeMap<String, u64>,
}

/// What was done in a role.
#[derive(Clone, Copy, Debug, Default)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Row {
    pub calls: u64,
    pub authorizations: u64,
    pub allowed: u64,
}

/// What a statement was good for.
#[derive(Clone, Debug, Default)]
pub struct Use {
    /// It is no Deny.
    pub allows: bool,
    /// How many authorizations it alone allowed.
    pub alone: u64,
    /// Its actions that no call needed.
    pub idle: BTreeSet<String>,
}

impl Proof {
    fn read(found: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let number = |value: &Value| value.as_u64().unwrap_or_default();
        let members = |name: &str| found[name].as_object().into_iter().flatten();
        let list = |name: &str| found[name].as_array().into_iter().flatten();
        let mut proof = Self {
            tried: members("tried").map(|(role, n)| (role.clone(), number(n))).collect(),
            ..Self::default()
        };
        for (actor, row) in members("actors") {
            let policies: Vec<String> =
                row["policies"].as_array().into_iter().flatten().map(text).collect();
            let role = policies.last().unwrap_or(actor);
            let row = Row {
                calls: number(&row["calls"]),
                authorizations: number(&row["needs"]),
                allowed: number(&row["allowed"]),
            };
            proof.rows.entry(role.clone()).or_default().add(row);
        }
        for (name, it) in members("statements") {
            let actions = it["actions"].as_object().into_iter().flatten();
            let idle = actions.filter(|(_, n)| number(n) == 0).map(|(action, _)| action.clone());
            let (allows, alone) = (it["effect"] == "Allow", number(&it["alone"]));
            let one = Use { allows, alone, idle: idle.collect() };
            proof.statements.insert(name.clone(), one);
        }
        for it in list("refused") {
            let [actor, call, action, resource] =
                ["actor", "call", "action", "resource"].map(|name| text(&it[name]));
            proof.refused.push(format!(
                "{}\u{d7} {call} by {actor}: {action} on {resource}",
                number(&it["count"])
            ));
        }
        proof
    }

    /// What all stages have found when they ended last, whichever process they were in.
    ///
    /// # Errors
    /// When something is there that is none of it.
    pub fn of_the_suite() -> Result<Self> {
        let target = Machine::folder()?;
        let folder = target.parent().ok_or("no target")?.join("local-aws/permissions");
        let mut all = Self::default();
        for entry in std::fs::read_dir(folder)? {
            all.add(&Self::read(&serde_json::from_slice(&std::fs::read(entry?.path())?)?));
        }
        Ok(all)
    }

    /// This and another.
    pub fn add(&mut self, other: &Self) {
        for (role, row) in &other.rows {
            self.rows.entry(role.clone()).or_default().add(*row);
        }
        for (name, more) in &other.statements {
            let known = self.statements.entry(name.clone()).or_insert_with(|| more.clone());
            known.alone += more.alone;
            known.idle.retain(|action| more.idle.contains(action));
        }
        for (role, n) in &other.tried {
            *self.tried.entry(role.clone()).or_default() += n;
        }
        self.refused.extend(other.refused.iter().cloned());
    }

    /// As README shows it.
    #[must_use]
    pub fn table(&self) -> String {
        let mut table = "| role | calls | authorizations | allowed | statements needed | \
                         must be refused, and is |\n| --- | --- | --- | --- | --- | --- |\n"
            .to_owned();
        let names = self.statements.keys().filter_map(|it| Some(it.split_once('/')?.0));
        let names: BTreeSet<&str> = names.chain(self.tried.keys().map(String::as_str)).collect();
        for name in names {
            let row = self.rows.get(name).copied().unwrap_or_default();
            let of_role = self
                .statements
                .iter()
                .filter(|(it, _)| it.split_once('/').is_some_and(|(role, _)| role == name));
            let allows: Vec<&Use> = of_role.map(|(_, it)| it).filter(|it| it.allows).collect();
            let needed = allows.iter().filter(|it| it.alone > 0).count();
            let tried = self.tried.get(name).copied().unwrap_or_default();
            let Row { calls, authorizations, allowed } = row;
            let all = allows.len();
            let line = format!(
                "| {name} | {calls} | {authorizations} | {allowed} | {needed} of {all} | {tried} |\n"
            );
            table.push_str(&line);
        }
        table
    }
}

impl Row {
    fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.authorizations += other.authorizations;
        self.allowed += other.allowed;
    }
}
