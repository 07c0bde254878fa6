//! Systems Manager Run Command.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws_sdk_ssm::config::Builder as ConfigOverride;
use aws_sdk_ssm::operation::send_command::SendCommandError;
use aws_sdk_ssm::types::{
    CommandFilter as SdkFilter, CommandFilterKey, CommandInvocation, CommandInvocationStatus,
    CommandPlugin, InstanceInformationStringFilter,
};
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use jiff::Timestamp;
use snapferry_core::commands::{
    Command, CommandId, Errand, Managed, Progress, SendCommand, Status, Step,
};
use snapferry_core::ec2::{CommandFilter, Ec2Error, ErrorKind};
use snapferry_core::ids::InstanceId;
use snapferry_core::tags;

use super::AwsEc2;
use crate::convert;
use crate::only_refused::OnlyRefused;
use crate::pages::Pages;

/// Most results of one page
/// ([ListCommandInvocations](https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_ListCommandInvocations.html)).
const PAGE: i32 = 50;

/// Most values of one filter
/// ([InstanceInformationStringFilter](https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_InstanceInformationStringFilter.html)).
const FILTER_VALUES: usize = 100;

/// So much of what a script wrote is enough to know what went wrong.
const OUTPUT_CHARS: usize = 200;

impl AwsEc2 {
    pub(super) async fn instance_information(
        &self,
        instances: &BTreeSet<InstanceId>,
    ) -> Result<BTreeMap<InstanceId, Managed>, Ec2Error> {
        const OPERATION: &str = "DescribeInstanceInformation";
        let ids: Vec<String> = instances.iter().map(ToString::to_string).collect();
        let mut known = BTreeMap::new();
        for ids in ids.chunks(FILTER_VALUES) {
            let filter = InstanceInformationStringFilter::builder()
                .key("InstanceIds")
                .set_values(Some(ids.to_vec()))
                .build()
                .map_err(|err| Ec2Error::NotSent { operation: OPERATION, source: err.into() })?;
            let call = self
                .ssm
                .describe_instance_information()
                .filters(filter)
                .into_paginator()
                .page_size(PAGE)
                .stop_on_duplicate_token(false);
            let (mut read, mut pages) = (call.send(), Pages::default());
            while let Some(page) = self.deadline.answer(OPERATION, read.try_next()).await? {
                pages.turn(OPERATION, page.next_token())?;
                let found = page.instance_information_list;
                for it in convert::list(OPERATION, "InstanceInformationList", found)? {
                    let id =
                        convert::member(OPERATION, "an instance with the id", it.instance_id())?;
                    let managed = Managed {
                        ping_status: it
                            .ping_status()
                            .map_or("unknown", |it| it.as_str())
                            .to_owned(),
                        platform: it.platform_type().map_or("unknown", |it| it.as_str()).to_owned(),
                        agent_version: it.agent_version().unwrap_or("unknown").to_owned(),
                    };
                    known.insert(id, managed);
                }
            }
        }
        Ok(known)
    }

    pub(super) async fn known_commands(
        &self,
        which: &CommandFilter,
    ) -> Result<Vec<Command>, Ec2Error> {
        let filter = |key, value: &str| {
            let filter = SdkFilter::builder().key(key).value(value).build();
            filter.map_err(|err| Ec2Error::NotSent { operation: LIST, source: err.into() })
        };
        let since = tags::instant(which.since);
        let mut call = self
            .ssm
            .list_command_invocations()
            .details(true)
            .filters(filter(CommandFilterKey::InvokedAfter, &since)?);
        // Of a document of another account AWS does not tell by which of its names it is filed.
        if !which.document.contains(':') {
            call = call.filters(filter(CommandFilterKey::DocumentName, &which.document)?);
        }
        if let Some(instance) = &which.instance {
            call = call.instance_id(instance.as_str());
        }
        let call = call.into_paginator().page_size(PAGE).stop_on_duplicate_token(false);
        let (mut read, mut pages) = (call.send(), Pages::default());
        let mut ours = Vec::new();
        while let Some(page) = self.deadline.answer(LIST, read.try_next()).await? {
            pages.turn(LIST, page.next_token())?;
            // There may be very many, of which few are ours.
            for found in convert::list(LIST, "CommandInvocations", page.command_invocations)? {
                ours.extend(command(&found)?.filter(|it| it.is_of(&which.document)));
            }
        }
        Ok(ours)
    }

    pub(super) async fn progress(
        &self,
        command: &CommandId,
        instance: &InstanceId,
    ) -> Result<Progress, Ec2Error> {
        let call = self
            .ssm
            .list_command_invocations()
            .command_id(&command.0)
            .instance_id(instance.as_str())
            .details(true)
            .max_results(PAGE)
            .customize()
            // Whoever waits looks again anyway.
            .config_override(
                ConfigOverride::default()
                    .retry_config(RetryConfig::disabled())
                    .timeout_config(look_time_outs()),
            );
        let answer = self.deadline.answer(LIST, call.send()).await?;
        let found = convert::list(LIST, "CommandInvocations", answer.command_invocations)?;
        // Right after it was sent, nothing is listed.
        found.first().map(progress_of).ok_or_else(|| Ec2Error::Refused {
            operation: LIST,
            kind: ErrorKind::NotReady,
            code: "InvocationDoesNotExist".to_owned(),
            message: format!("command {command} is not known on {instance} yet"),
            request_id: "none".to_owned(),
        })
    }

    pub(super) async fn send(&self, request: &SendCommand) -> Result<CommandId, Ec2Error> {
        const OPERATION: &str = "SendCommand";
        let parameters =
            request.parameters.iter().map(|(name, value)| (name.clone(), vec![value.clone()]));
        let call = self
            .ssm
            .send_command()
            .instance_ids(request.instance.as_str())
            .document_name(&request.document)
            .set_parameters(Some(parameters.collect()))
            .comment(request.errand.comment())
            .timeout_seconds(i32::from(request.delivery_seconds));
        let answer = if request.errand.step == Step::PostScript {
            self.deadline.answer(OPERATION, call.send()).await?
        } else {
            let once = OnlyRefused::<SendCommandError>::new();
            let call =
                call.customize().config_override(ConfigOverride::default().retry_classifier(once));
            self.deadline.answer(OPERATION, call.send()).await?
        };
        let id = answer.command().and_then(|it| it.command_id());
        convert::text(OPERATION, "the command", id).map(CommandId)
    }

    pub(super) async fn cancel(&self, command: &CommandId) -> Result<(), Ec2Error> {
        let call = self.ssm.cancel_command().command_id(&command.0);
        self.deadline.answer("CancelCommand", call.send()).await.map(|_| ())
    }
}

/// Of one look among many.
fn look_time_outs() -> TimeoutConfig {
    TimeoutConfig::builder().operation_timeout(Duration::from_secs(10)).build()
}

const LIST: &str = "ListCommandInvocations";

/// How the agent says that a step's precondition is another platform.
const SKIPPED: &str = "Step execution skipped";

/// `None`: not ours.
fn command(found: &CommandInvocation) -> Result<Option<Command>, Ec2Error> {
    let Some(errand) = found.comment().and_then(Errand::read) else {
        return Ok(None);
    };
    let finished = found.command_plugins().iter().filter_map(|it| it.response_finish_date_time());
    Ok(Some(Command {
        id: CommandId(convert::text(LIST, "a command with the id", found.command_id())?),
        instance: convert::member(LIST, "a command on the instance", found.instance_id())?,
        document: convert::text(LIST, "a command of the document", found.document_name())?,
        errand,
        requested: convert::time(LIST, found.requested_date_time())?,
        finished: finished.max().and_then(|at| Timestamp::from_second(at.secs()).ok()),
        progress: progress_of(found),
    }))
}

fn progress_of(found: &CommandInvocation) -> Progress {
    let details = found.status_details().filter(|it| !it.is_empty());
    let details =
        details.or(found.status().map(CommandInvocationStatus::as_str)).unwrap_or("unknown");
    let plugins = found.command_plugins();
    // Of several steps the one that failed is the one that tells.
    let failed = plugins.iter().find(|it| it.response_code() > 0).or_else(|| plugins.last());
    let output = failed.and_then(|it| it.output()).unwrap_or_default();
    let skipped = output.chars().count().saturating_sub(OUTPUT_CHARS);
    // Nothing of it is for this platform: Systems Manager calls that a success
    // (https://docs.aws.amazon.com/systems-manager/latest/userguide/documents-schemas-features.html).
    let is_skipped = |it: &CommandPlugin| it.output().is_some_and(|it| it.starts_with(SKIPPED));
    let all_skipped = !plugins.is_empty() && plugins.iter().all(is_skipped);
    Progress {
        status: if all_skipped && status(details) == Status::Success {
            Status::NeverRan
        } else {
            status(details)
        },
        details: details.to_owned(),
        // -1: it has not begun, or did not say
        // (https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetCommandInvocation.html).
        response_code: failed.map(CommandPlugin::response_code).filter(|code| *code >= 0),
        output: output.chars().skip(skipped).collect::<String>().trim().to_owned(),
    }
}

/// AWS writes the same detail in several ways
/// ([Statuses](https://docs.aws.amazon.com/systems-manager/latest/userguide/monitor-commands.html)).
fn status(details: &str) -> Status {
    let letters = details.chars().filter(char::is_ascii_alphabetic);
    let word: String = letters.map(|c| c.to_ascii_lowercase()).collect();
    match word.as_str() {
        "pending" | "inprogress" | "delayed" | "cancelling" => Status::Running,
        "success" => Status::Success,
        "failed" => Status::Failed,
        "undeliverable" | "terminated" | "invalidplatform" | "accessdenied" => Status::NeverRan,
        _ => Status::Unclear,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_have_run_is_not_taken_for_what_has_not() {
        for (details, want) in [
            ("Pending", Status::Running),
            ("In Progress", Status::Running),
            ("InProgress", Status::Running),
            ("Delayed", Status::Running),
            ("Success", Status::Success),
            ("Failed", Status::Failed),
            ("Undeliverable", Status::NeverRan),
            ("Access Denied", Status::NeverRan),
            ("Delivery Timed Out", Status::Unclear),
            ("ExecutionTimedOut", Status::Unclear),
            ("Cancelled", Status::Unclear),
            ("Canceled", Status::Unclear),
            ("a word of tomorrow", Status::Unclear),
        ] {
            assert_eq!(status(details), want, "{details}");
        }
    }
}
