//! Systems Manager Run Command: instances with agents, the applications on them, and what commands do to those.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::{SignedDuration, Timestamp};
use snapferry_core::commands::{
    Command, CommandId, Managed, Progress, SendCommand, Status, Step, exit_code,
};
use snapferry_core::ec2::{CommandFilter, CreateSnapshots, ErrorKind};
use snapferry_core::ids::{InstanceId, Scope};
use snapferry_core::policy::Tags;
use snapferry_core::tags;

use crate::calls::{Refusal, refuse};
use crate::world::{Sim, World};

/// How a command ends on its instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// As it should.
    Well,
    /// With this exit code, and the application as it was before.
    Fails(i32),
    /// With this exit code, half-way: a pre-script has the application stand still, a post-script leaves it so, a VSS backup
    /// has made its snapshots.
    FailsHalfWay(i32),
    /// Never: it goes on running. A pre-script and a VSS backup have done what they should; of a post-script the application
    /// notices nothing.
    Hangs,
    /// A pre-script takes so many seconds, and has the application stand still only then, whatever is asked meanwhile.
    Late(i64),
    /// The agent never fetches it.
    Lost,
    /// A VSS backup says that it was successful, and one volume has no snapshot.
    LeavesOneOut,
    /// A VSS backup is successful, and not application-consistent.
    NotConsistent,
}

/// An instance as Systems Manager knows it, and the application on it.
#[derive(Clone, Debug)]
pub struct Agent {
    /// `Online`, `ConnectionLost`.
    pub ping_status: String,
    /// `Linux`, `Windows`.
    pub platform: String,
    /// How the next commands end, of each step; then all end well.
    pub endings: BTreeMap<Step, VecDeque<Ending>>,
    /// How long a command runs.
    pub takes: SignedDuration,
    /// Since when the application stands still.
    pub still_since: Option<Timestamp>,
    /// When it will, by a pre-script that takes its time.
    stops_at: Option<Timestamp>,
    /// How often it has begun to stand still, and gone on.
    pub stops: usize,
    /// See `stops`.
    pub goes: usize,
}

/// A command that was sent.
#[derive(Clone, Debug)]
pub struct Sent {
    /// What was asked for.
    pub request: SendCommand,
    /// When.
    pub at: Timestamp,
    ends: Option<Timestamp>,
    end: Progress,
    scope: Scope,
    cancelled: bool,
}

/// Systems Manager shows a command only after so long.
const SEEN_AFTER: SignedDuration = SignedDuration::from_secs(1);

impl Sim {
    /// Gives an instance an agent, and a Linux application that goes on.
    pub fn agent(&self, instance: &InstanceId, change: impl FnOnce(&mut Agent)) {
        let mut agent = Agent {
            ping_status: "Online".into(),
            platform: "Linux".into(),
            endings: BTreeMap::new(),
            takes: SignedDuration::from_secs(3),
            still_since: None,
            stops_at: None,
            stops: 0,
            goes: 0,
        };
        change(&mut agent);
        self.world().agents.insert(instance.clone(), agent);
    }

    /// The agent of an instance, if it has one.
    #[must_use]
    pub fn agent_of(&self, instance: &InstanceId) -> Option<Agent> {
        self.world().agents.get(instance).cloned()
    }

    /// Changes an agent.
    pub fn change_agent(&self, instance: &InstanceId, change: impl FnOnce(&mut Agent)) {
        if let Some(agent) = self.world().agents.get_mut(instance) {
            change(agent);
        }
    }

    /// Systems Manager does not know the instance any more.
    pub fn remove_agent(&self, instance: &InstanceId) {
        self.world().agents.remove(instance);
    }

    /// Every command that was sent, oldest first.
    #[must_use]
    pub fn commands(&self) -> Vec<Sent> {
        let mut sent: Vec<Sent> = self.world().commands.values().cloned().collect();
        sent.sort_by_key(|it| it.at);
        sent
    }
}

impl Agent {
    /// The next commands of this step end so.
    pub fn ends(&mut self, step: Step, endings: &[Ending]) {
        self.endings.entry(step).or_default().extend(endings);
    }

    fn stop(&mut self, now: Timestamp) {
        if self.still_since.is_none() {
            self.still_since = Some(now);
            self.stops += 1;
        }
    }

    /// What is due by now happens.
    pub(crate) fn pass(&mut self, now: Timestamp) {
        if let Some(at) = self.stops_at.take_if(|at| *at <= now) {
            self.stop(at);
        }
    }

    fn go_on(&mut self) {
        if self.still_since.take().is_some() {
            self.goes += 1;
        }
    }
}

fn ended(status: Status, details: &str, code: Option<i32>) -> Progress {
    let output = code.and_then(exit_code).unwrap_or_default().to_owned();
    Progress { status, details: details.into(), response_code: code, output }
}

fn failed(code: i32) -> Progress {
    ended(Status::Failed, "Failed", Some(code))
}

fn well() -> Progress {
    ended(Status::Success, "Success", Some(0))
}

impl World {
    pub(crate) fn describe_instance_information(
        &self,
        scope: &Scope,
        instances: &BTreeSet<InstanceId>,
    ) -> BTreeMap<InstanceId, Managed> {
        let here = |id: &InstanceId| self.instances.get(id).is_some_and(|(at, _)| at == scope);
        let known = instances.iter().filter(|id| here(id));
        let managed = |agent: &Agent| Managed {
            ping_status: agent.ping_status.clone(),
            platform: agent.platform.clone(),
            agent_version: "3.3.2299.0".into(),
        };
        known.filter_map(|id| Some((id.clone(), managed(self.agents.get(id)?)))).collect()
    }

    pub(crate) fn list_commands(&self, scope: &Scope, which: &CommandFilter) -> Vec<Command> {
        let seen = self.commands.iter().filter(|(_, sent)| {
            sent.scope == *scope
                && sent.at >= which.since
                && sent.request.document == which.document
                && which.instance.as_ref().is_none_or(|it| *it == sent.request.instance)
                && self.now.duration_since(sent.at) >= SEEN_AFTER
        });
        seen.map(|(id, sent)| Command {
            id: id.clone(),
            instance: sent.request.instance.clone(),
            document: sent.request.document.clone(),
            errand: sent.request.errand.clone(),
            requested: sent.at,
            finished: sent.ends.filter(|at| *at <= self.now),
            progress: self.progress(sent),
        })
        .collect()
    }

    pub(crate) fn get_command(
        &self,
        command: &CommandId,
        instance: &InstanceId,
    ) -> Result<Progress, Refusal> {
        let sent = self.commands.get(command).filter(|it| it.request.instance == *instance);
        match sent.filter(|it| self.now.duration_since(it.at) >= SEEN_AFTER) {
            Some(sent) => Ok(self.progress(sent)),
            None => refuse(ErrorKind::NotReady, "InvocationDoesNotExist", "not known yet"),
        }
    }

    fn progress(&self, sent: &Sent) -> Progress {
        match sent.ends {
            _ if sent.cancelled => ended(Status::Unclear, "Cancelled", None),
            Some(at) if at <= self.now => sent.end.clone(),
            _ => ended(Status::Running, "In Progress", None),
        }
    }

    pub(crate) fn cancel_command(&mut self, command: &CommandId) {
        let now = self.now;
        if let Some(sent) = self.commands.get_mut(command) {
            sent.cancelled |= sent.ends.is_none_or(|at| at > now);
        }
    }

    pub(crate) fn send_command(
        &mut self,
        scope: &Scope,
        request: &SendCommand,
    ) -> Result<CommandId, Refusal> {
        let is_here = self
            .instances
            .get(&request.instance)
            .is_some_and(|(at, instance)| at == scope && instance.state.is_usable());
        let now = self.now;
        let Some(agent) = self.agents.get_mut(&request.instance).filter(|_| is_here) else {
            let what = "Instances not in a valid state for account";
            return refuse(ErrorKind::Invalid, "InvalidInstanceId", what);
        };
        let endings = agent.endings.entry(request.errand.step).or_default();
        let mut ending = endings.pop_front().unwrap_or(Ending::Well);
        if agent.ping_status != "Online" {
            ending = Ending::Lost;
        }
        let takes = agent.takes;
        let lost = SignedDuration::from_secs(i64::from(request.delivery_seconds));
        let (after, end) = match ending {
            Ending::Lost => (Some(lost), ended(Status::Unclear, "Delivery Timed Out", None)),
            _ => match request.errand.step {
                Step::PreScript => pre_script(agent, ending, now, takes),
                Step::PostScript => post_script(agent, ending, takes),
                Step::VssBackup => self.vss_backup(scope, request, ending, takes),
            },
        };
        let id = CommandId(format!("{:08x}-0000-4000-8000-000000000000", self.commands.len()));
        let sent = Sent {
            request: request.clone(),
            at: now,
            ends: after.map(|after| self.after(after)),
            end,
            scope: scope.clone(),
            cancelled: false,
        };
        self.commands.insert(id.clone(), sent);
        Ok(id)
    }

    /// The instance makes the snapshots, with its own credentials.
    fn vss_backup(
        &mut self,
        scope: &Scope,
        request: &SendCommand,
        ending: Ending,
        takes: SignedDuration,
    ) -> End {
        let told = told(request.parameters.get("tags").map_or("", String::as_str));
        if ["Device", "AppConsistent", "AwsVssConfig"].iter().any(|key| told.contains_key(key)) {
            return (Some(takes), failed(1));
        }
        if let Ending::Fails(code) = ending {
            return (Some(takes), failed(code));
        }
        let mut tags = told;
        tags.insert("AwsVssConfig".into(), "2.5.1;0".into());
        let excluded = |name: &str| request.parameters.get(name).is_some_and(|it| it == "True");
        let made = self.create_snapshots(
            scope,
            &CreateSnapshots {
                instance: request.instance.clone(),
                volumes: BTreeSet::new(),
                exclude_boot_volume: excluded("ExcludeBootVolume"),
                exclude_data_volumes: BTreeSet::new(),
                description: request.parameters.get("description").cloned().unwrap_or_default(),
                copy_tags: false,
                tags,
                script: None,
            },
        );
        let Ok(mut made) = made else {
            return (Some(takes), failed(1));
        };
        if ending == Ending::LeavesOneOut
            && let Some(id) = made.pop()
        {
            self.snapshots.remove(&id);
        }
        if matches!(ending, Ending::Well | Ending::LeavesOneOut) {
            for id in &made {
                if let Some(record) = self.snapshots.get_mut(id) {
                    record.snapshot.tags.insert(tags::VSS_CONSISTENT.into(), "True".into());
                }
            }
        }
        match ending {
            Ending::Hangs => (None, well()),
            Ending::FailsHalfWay(code) => (Some(takes), failed(code)),
            _ => (Some(takes), well()),
        }
    }
}

type End = (Option<SignedDuration>, Progress);

fn pre_script(agent: &mut Agent, ending: Ending, now: Timestamp, takes: SignedDuration) -> End {
    if agent.still_since.is_some() {
        return (Some(takes), failed(204));
    }
    match ending {
        Ending::Fails(_) => {}
        Ending::Late(seconds) => {
            let takes = SignedDuration::from_secs(seconds);
            agent.stops_at = now.checked_add(takes).ok();
            return (Some(takes), well());
        }
        _ => agent.stop(now),
    }
    match ending {
        Ending::Fails(code) | Ending::FailsHalfWay(code) => (Some(takes), failed(code)),
        Ending::Hangs => (None, well()),
        _ => (Some(takes), well()),
    }
}

fn post_script(agent: &mut Agent, ending: Ending, takes: SignedDuration) -> End {
    match ending {
        Ending::Fails(code) | Ending::FailsHalfWay(code) => {
            if matches!(code, 203 | 205) {
                agent.go_on(); // by itself
            }
            return (Some(takes), failed(code));
        }
        Ending::Hangs => return (None, well()),
        _ => {}
    }
    if agent.still_since.is_none() {
        return (Some(takes), failed(205));
    }
    agent.go_on();
    (Some(takes), well())
}

/// `Key=a,Value=b;Key=c,Value=d`
fn told(text: &str) -> Tags {
    let pair = |part: &str| {
        let (key, value) = part.strip_prefix("Key=")?.split_once(",Value=")?;
        Some((key.to_owned(), value.to_owned()))
    };
    text.split(';').filter_map(pair).collect()
}
