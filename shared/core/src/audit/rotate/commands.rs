//! Whether a command may be sent: it runs as the administrator of somebody's instance.

use std::collections::BTreeSet;

use super::world::World;
use super::{Claim, Planned, Selection, Serving, tags};
use crate::commands::{SendCommand, Step};
use crate::ec2::{CreateSnapshots, ScriptRun};
use crate::ids::SnapshotId;
use crate::policy::{Handler, Script, Tags};

impl World<'_> {
    /// Only documents that the policy names, on instances that it targets; a post-script ends what was begun, whatever became
    /// of the policy's targets since.
    pub(super) fn command(
        &self,
        request: &SendCommand,
        served: &mut BTreeSet<Serving>,
    ) -> Result<(), String> {
        let errand = &request.errand;
        let (policy, details) =
            self.policy(&errand.policy).ok_or("its policy does not target this scope")?;
        let scripts = details.schedules.iter().filter_map(|it| it.script.as_ref());
        let mut named = scripts.filter(|it| it.document() == request.document);
        let plain = |c: char| c.is_ascii_alphanumeric() || " ()./-@_+:=,;".contains(c);
        for (name, value) in &request.parameters {
            if let Some(c) = value.chars().find(|c| !plain(*c)) {
                return Err(format!("{c:?} has no place in the parameter {name} of a command"));
            }
        }
        match errand.step {
            Step::PreScript => Err("a pre-script is sent only around a creation".into()),
            Step::PostScript => {
                let ends = |script: &Script| match &script.handler {
                    Handler::Document(it) => it.stages.has_pre() && it.stages.has_post(),
                    Handler::Vss(_) => false,
                };
                if !named.any(ends) {
                    return Err(format!("the policy has no post-script in {}", request.document));
                }
                let plain =
                    SendCommand::script(&request.instance, &request.document, errand.clone());
                if request.parameters != plain.parameters {
                    return Err("its parameters are not those of a post-script".into());
                }
                let known = self.facts.inventory.commands.as_ref();
                let is_begun = known.is_ok_and(|known| {
                    known.iter().any(|it| {
                        // Of a pre-script that is forgotten, a post-script that was sent before.
                        it.errand.step != Step::VssBackup
                            && it.instance == request.instance
                            && it.errand.execution_id(&it.instance, &request.document)
                                == errand.execution_id(&request.instance, &request.document)
                    })
                });
                if is_begun { Ok(()) } else { Err("no pre-script of it was sent".into()) }
            }
            Step::VssBackup => {
                let is_vss = |script: &Script| matches!(script.handler, Handler::Vss(_));
                if !policy.enabled || !named.any(is_vss) {
                    return Err(format!("the policy does not have {} run", request.document));
                }
                let known = ["ExcludeBootVolume", "description", "tags"];
                if let Some(name) =
                    request.parameters.keys().find(|it| !known.contains(&it.as_str()))
                {
                    return Err(format!("a VSS backup has no parameter {name} here"));
                }
                let told = read(request.parameters.get("tags").map_or("", String::as_str));
                let (claim, details) = self.creating(&told)?;
                if claim.policy != errand.policy || claim.slot != errand.slot {
                    return Err("its snapshots would be another policy's, or slot's".into());
                }
                self.of_target(&claim, &request.instance)?;
                let excludes = request.parameters.get("ExcludeBootVolume");
                let may = matches!(
                    details.selection,
                    Selection::Instances { exclude_boot_volume: true, .. }
                );
                if excludes.is_some_and(|it| it != "False") && !may {
                    return Err("the policy does not exclude the boot volume".into());
                }
                self.is_lacking(request.instance.as_str(), &claim, served)
            }
        }
    }

    /// The scripts around a creation are those of every schedule that it serves.
    pub(super) fn scripts(
        &self,
        request: &CreateSnapshots,
        claim: &Claim,
        run: &ScriptRun,
    ) -> Result<(), String> {
        let (_, details) = self.policy(&claim.policy).ok_or("its policy is not in force here")?;
        if run.policy != claim.policy || run.slot != claim.slot {
            return Err("its scripts are another policy's, or slot's".into());
        }
        let mut served =
            details.schedules.iter().filter(|it| claim.schedules.contains(&it.name)).peekable();
        let said = Script {
            handler: Handler::Document(run.document.clone()),
            goes_on: run.goes_on,
            retries: run.retries,
        };
        if served.peek().is_none() || served.any(|it| it.script.as_ref() != Some(&said)) {
            return Err("its scripts are not those of its schedules".into());
        }
        let instance = self.facts.inventory.instances.get(&request.instance);
        if !instance.is_some_and(|it| it.running) {
            return Err("scripts cannot run on an instance that does not run".into());
        }
        Ok(())
    }

    /// What became of scripts may be written on our own snapshots, and nothing else.
    pub(super) fn record(
        &self,
        planned: &Planned,
        snapshots: &[SnapshotId],
        told: &Tags,
    ) -> Result<(), String> {
        let ours = [tags::POST_SCRIPT, tags::APP_CONSISTENT];
        if let Some(key) = told.keys().find(|key| !ours.contains(&key.as_str())) {
            return Err(format!("{key} is not for what became of scripts"));
        }
        for id in snapshots {
            let snapshot = self.by_id.get(id).ok_or("it was not seen in this run")?;
            let is_scripted = snapshot.tags.contains_key(tags::SCRIPT);
            if snapshot.owner != planned.scope.account
                || !is_scripted
                || Claim::read(&snapshot.tags).is_none()
            {
                return Err(format!("{id} is no snapshot of ours with scripts"));
            }
            if snapshot.tags.contains_key(tags::APP_CONSISTENT) {
                return Err(format!("it is written on {id} already"));
            }
        }
        Ok(())
    }
}

/// `Key=a,Value=b;Key=c,Value=d`
pub(super) fn read(text: &str) -> Tags {
    let pair = |part: &str| {
        let (key, value) = part.strip_prefix("Key=")?.split_once(",Value=")?;
        Some((key.to_owned(), value.to_owned()))
    };
    text.split(';').filter_map(pair).collect()
}
