//! Systems Manager Run Command, as far as application-consistent snapshots need it.
//!
//! Systems Manager remembers commands for 30 days: that is the memory by which the next run knows what the last one began
//! and may not have ended. A command says in its comment what it is for.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::chain::one_line;
use crate::ids::{InstanceId, VolumeId};
use crate::schedule::Slot;

#[cfg(test)]
mod tests;

/// `CommandId`, as Systems Manager gives it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CommandId(pub String);

impl fmt::Display for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a command does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Gets the application ready: it may stand still from then on.
    PreScript,
    /// Lets it go on.
    PostScript,
    /// Makes the snapshots.
    VssBackup,
}

impl Step {
    /// In the comment, which has no room for more.
    fn short(self) -> &'static str {
        match self {
            Self::PreScript => "pre",
            Self::PostScript => "end",
            Self::VssBackup => "vss",
        }
    }

    /// Data Lifecycle Manager's word for it, which is the value of the document's parameter `command` too.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::PreScript => "pre-script",
            Self::PostScript => "post-script",
            Self::VssBackup => "VSS backup",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a command is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Errand {
    /// The policy's name.
    pub policy: String,
    /// The slot that the snapshots are to serve.
    pub slot: Slot,
    /// From 1.
    pub attempt: u8,
    /// Which step.
    pub step: Step,
}

/// What every comment of ours begins with.
const OURS: &str = "snapferry ";

impl Errand {
    /// As the command's `Comment`, of which Systems Manager takes 100 characters
    /// ([SendCommand](https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_SendCommand.html)): a name of 64
    /// just fits.
    #[must_use]
    pub fn comment(&self) -> String {
        let Self { policy, slot, attempt, step } = self;
        format!("{OURS}{}{attempt} {slot} {policy}", step.short())
    }

    /// `None` for a comment that is not ours.
    #[must_use]
    pub fn read(comment: &str) -> Option<Self> {
        let (step, rest) = comment.strip_prefix(OURS)?.split_once(' ')?;
        let (slot, policy) = rest.split_once(' ')?;
        let (attempt, step) = [Step::PreScript, Step::PostScript, Step::VssBackup]
            .into_iter()
            .find_map(|it| Some((step.strip_prefix(it.short())?, it)))?;
        let attempt = attempt.parse().ok().filter(|attempt| (1..=9).contains(attempt))?;
        let slot = slot.parse().ok()?;
        (!policy.is_empty()).then(|| Self { policy: policy.to_owned(), slot, attempt, step })
    }

    /// The id by which a document knows that its pre- and its post-script belong together: a UUID (version 8) that follows
    /// from what they are for, so that another run knows it too.
    #[must_use]
    pub fn execution_id(&self, instance: &InstanceId, document: &str) -> String {
        let Self { policy, slot, attempt, .. } = self;
        let of = format!("{policy}\n{slot}\n{attempt}\n{instance}\n{document}");
        let digest = Sha256::digest(of);
        let mut hex = String::new();
        for byte in digest.iter().take(16) {
            let _ = write!(hex, "{byte:02x}"); // a String takes it
        }
        hex.replace_range(12..13, "8"); // the version
        hex.replace_range(16..17, "a"); // the variant
        for at in [20, 16, 12, 8] {
            hex.insert(at, '-');
        }
        hex
    }
}

/// `SendCommand` to one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendCommand {
    /// Where it runs.
    pub instance: InstanceId,
    /// The document's name, or ARN.
    pub document: String,
    /// The volumes that it makes snapshots of, for the record.
    pub volumes: BTreeSet<VolumeId>,
    /// The document's parameters, one value each.
    pub parameters: BTreeMap<String, String>,
    /// What it is for: its comment.
    pub errand: Errand,
    /// `TimeoutSeconds`: when the agent has not fetched it by then, it never runs. 30 at the least.
    pub delivery_seconds: u16,
}

impl SendCommand {
    /// A pre- or a post-script.
    #[must_use]
    pub fn script(instance: &InstanceId, document: &str, errand: Errand) -> Self {
        let parameters = BTreeMap::from([
            ("command".to_owned(), errand.step.name().to_owned()),
            ("executionId".to_owned(), errand.execution_id(instance, document)),
        ]);
        // A pre-script that comes late must not come at all. A post-script is better late than never.
        let delivery_seconds = if errand.step == Step::PostScript { 600 } else { 30 };
        Self {
            instance: instance.clone(),
            document: document.to_owned(),
            volumes: BTreeSet::new(),
            parameters,
            errand,
            delivery_seconds,
        }
    }
}

/// How far a command is on its instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// `Pending`, `InProgress`, `Delayed`, `Cancelling`.
    Running,
    /// `Success`
    Success,
    /// `Failed`: it ran to its end, and said so.
    Failed,
    /// It never got to the instance, or was not begun there.
    NeverRan,
    /// It may have been begun, and nobody knows how it ended: `Execution Timed Out`, `Delivery Timed Out`, `Cancelled`, or
    /// something younger than this program.
    Unclear,
}

/// What became of a command on its instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// How far it is.
    pub status: Status,
    /// `StatusDetails`, in Systems Manager's words.
    pub details: String,
    /// The exit code of its script.
    pub response_code: Option<i32>,
    /// The end of what it wrote, errors first, as far as it is known.
    pub output: String,
}

impl Progress {
    /// Of a post-script: the application did not stand still any more.
    #[must_use]
    pub fn had_nothing_to_do(&self) -> bool {
        matches!(self.response_code, Some(203 | 205))
    }

    /// Of a post-script: the application goes on, as it says, or it had nothing to do.
    #[must_use]
    pub fn lets_go_on(&self) -> bool {
        self.status == Status::Success || self.had_nothing_to_do()
    }

    /// As the tags have it: `Success`, `Failed 202`, `Execution Timed Out`.
    #[must_use]
    pub fn ending(&self) -> String {
        let code = self.response_code.filter(|code| *code != 0);
        code.map_or_else(|| self.details.clone(), |code| format!("{} {code}", self.details))
    }
}

/// `Failed, exit code 201 (the pre-script failed): what it wrote`, or `Success`.
impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.details)?;
        if let Some(code) = self.response_code.filter(|code| *code != 0) {
            write!(f, ", exit code {code}")?;
            if let Some(meaning) = exit_code(code) {
                write!(f, " ({meaning})")?;
            }
        }
        if self.status != Status::Success && !self.output.is_empty() {
            write!(f, ": {}", one_line(&self.output))?;
        }
        Ok(())
    }
}

/// A command of ours that Systems Manager remembers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Its id.
    pub id: CommandId,
    /// Where it ran.
    pub instance: InstanceId,
    /// Name or ARN, as it was asked for.
    pub document: String,
    /// What for.
    pub errand: Errand,
    /// When.
    pub requested: Timestamp,
    /// When it ended, where that is told.
    pub finished: Option<Timestamp>,
    /// What became of it.
    pub progress: Progress,
}

impl Command {
    /// Whether it is, or was, a run of that document.
    #[must_use]
    pub fn is_of(&self, document: &str) -> bool {
        let name = |document: &str| document.rsplit('/').next().unwrap_or_default().to_owned();
        name(&self.document) == name(document)
    }
}

/// An instance as Systems Manager knows it (`DescribeInstanceInformation`). One that it does not know has no agent, no role
/// or no way to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Managed {
    /// `PingStatus`: `Online` when all is well.
    pub ping_status: String,
    /// `PlatformType`: `Windows`, `Linux`, `MacOS`.
    pub platform: String,
    /// `AgentVersion`
    pub agent_version: String,
}

/// What an exit code of a document that keeps to Data Lifecycle Manager's rules says
/// ([Automate application-consistent snapshots](https://docs.aws.amazon.com/ebs/latest/userguide/automate-app-consistent-backups.html)).
#[must_use]
pub fn exit_code(code: i32) -> Option<&'static str> {
    Some(match code {
        201 => "the pre-script failed",
        202 => "the post-script failed",
        203 => "the application had gone on by itself before the post-script",
        204 => "the application stood still already, and a post-script was expected",
        205 => "the application did not stand still any more, and a pre-script was expected",
        206 => "the application was not ready",
        _ => return None,
    })
}
