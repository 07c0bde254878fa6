//! `CreateRule.Scripts`: what runs on an instance so that its snapshots are application-consistent
//! ([Automate application-consistent snapshots](https://docs.aws.amazon.com/ebs/latest/userguide/automate-app-consistent-backups.html)).

/// One of `Scripts`, of which a schedule has one at the most.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Script {
    /// `ExecutionHandler`
    pub handler: Handler,
    /// `ExecuteOperationOnScriptFailure`: where it cannot be application-consistent, a crash-consistent snapshot is made.
    pub goes_on: bool,
    /// `MaximumRetryCount`, 0 to 3: of a failed pre-script or VSS backup the whole creation, of a failed post-script that.
    pub retries: u8,
}

/// What makes the snapshots application-consistent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Handler {
    /// `AWS_VSS_BACKUP`: the instance makes the snapshots itself
    /// ([VSS](https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/application-consistent-snapshots.html)).
    Vss(VssDocument),
    /// A document with the parameters `command` and `executionId` runs before and after.
    Document(DocumentScript),
}

/// A document with scripts, and how they run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DocumentScript {
    /// Name, or ARN.
    pub name: String,
    /// `Stages`
    pub stages: Stages,
    /// `ExecutionTimeout`: how long each script may run, 10 to 120.
    pub timeout_seconds: u8,
}

/// `VssDocumentName`
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum VssDocument {
    /// Brings the VSS components of the instance up to date, then makes the snapshots: what AWS recommends.
    InstallAndSnapshot,
    /// Makes the snapshots with the components that are there: what Data Lifecycle Manager does.
    CreateSnapshot,
}

/// `Stages`
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stages {
    /// Before only.
    Pre,
    /// After only.
    Post,
    /// Before and after.
    Both,
}

impl Stages {
    /// Whether something runs before.
    #[must_use]
    pub fn has_pre(self) -> bool {
        matches!(self, Self::Pre | Self::Both)
    }

    /// Whether something runs after.
    #[must_use]
    pub fn has_post(self) -> bool {
        matches!(self, Self::Post | Self::Both)
    }
}

impl VssDocument {
    /// The document's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::InstallAndSnapshot => "AWSEC2-VssInstallAndSnapshot",
            Self::CreateSnapshot => "AWSEC2-CreateVssSnapshot",
        }
    }
}

impl Script {
    /// The name or ARN of the document that it runs.
    #[must_use]
    pub fn document(&self) -> &str {
        match &self.handler {
            Handler::Vss(document) => document.name(),
            Handler::Document(script) => &script.name,
        }
    }
}
