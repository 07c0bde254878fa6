"""Systems Manager's Run Command. What runs on the instances is in `commands`."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable
from typing import Any

from . import agents, documents, managed
from .commands import COMMANDS, DELIVERY, EXECUTION, FAILED, Command, Invocation, commands_of, send
from .errors import AwsError, request_id
from .managed import INSTANCE, Params, bad, page, tags_of, within
from .query import timestamp
from .world import KNOBS, LOCK, Caller, parse_time

COMMAND = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
DEFAULT_TIMEOUT = 3600


def seconds(time: dt.datetime) -> float:
    return round(time.timestamp(), 3)


def send_command(caller: Caller, region: str, p: Params) -> Params:
    if p.get("Targets"):
        raise AwsError("InvalidAction", "Targets are not in this local AWS, InstanceIds are")
    names = p.get("InstanceIds") or []
    check_limits(p, names)
    with LOCK:
        name, version = p.get("DocumentName") or "", p.get("DocumentVersion")
        document = documents.find(caller.account, region, name, version)
        found = [agents.find(caller.account, region, each) for each in names]
        ready = [agent for agent in found if agent and agent.online]
        if lost := sorted(set(names) - {agent.instance for agent in ready}):
            raise AwsError(
                "InvalidInstanceId",
                f"Instances [[{', '.join(lost)}]] not in a valid state for account {caller.account}",
            )
        if other := [a for a in ready if a.platform not in document.platforms]:
            raise AwsError(
                "UnsupportedPlatformType",
                f"{document.name} is not for {other[0].platform}, which {other[0].instance} is",
            )
        if p.get("DocumentHash") and p["DocumentHash"].lower() != document.hash:
            raise AwsError("InvalidDocument", f"{document.name} has another hash than {p['DocumentHash']}")
        asked = p.get("Parameters") or {}
        command = Command(
            caller.account,
            region,
            document,
            asked,
            documents.checked(document, asked),
            p.get("Comment") or "",
            int(p.get("TimeoutSeconds") or DEFAULT_TIMEOUT),
        )
        shown = summary(send(command, ready))
    return {"Command": shown}


def check_limits(p: Params, names: list[str]) -> None:
    if not names or len(names) > 50:
        raise bad("instanceIds", names, "have length between 1 and 50")
    for each in names:
        if not INSTANCE.fullmatch(each):
            raise bad("instanceIds", each, "satisfy regular expression pattern: (^i-(\\w{8}|\\w{17})$)")
    if len(set(names)) < len(names):
        raise AwsError("DuplicateInstanceId", "You can't specify a managed node ID in more than one command.")
    if not re.fullmatch(r"[a-zA-Z0-9_\-.:/]{3,128}", p.get("DocumentName") or ""):
        raise bad("documentName", p.get("DocumentName"), "satisfy regular expression pattern: …{3,128}")
    if len(p.get("Comment") or "") > 100:
        raise bad("comment", p["Comment"], "have length less than or equal to 100")
    if p.get("TimeoutSeconds") is not None:
        within("timeoutSeconds", int(p["TimeoutSeconds"]), 30, 2_592_000)


def summary(command: Command) -> Params:
    status, details = command.status
    each = command.invocations
    return {
        "CommandId": command.id,
        "DocumentName": command.document.name,
        "DocumentVersion": command.document.version,
        "Comment": command.comment,
        "ExpiresAfter": seconds(command.requested + dt.timedelta(seconds=command.timeout + command.limit)),
        "Parameters": command.asked,
        "InstanceIds": [i.agent.instance for i in each],
        "Targets": [],
        "RequestedDateTime": seconds(command.requested),
        "Status": status,
        "StatusDetails": spelled(details),
        "MaxConcurrency": "50",
        "MaxErrors": "0",
        "TargetCount": len(each),
        "CompletedCount": sum(i.ended is not None for i in each),
        "ErrorCount": sum(i.details in (FAILED, EXECUTION) for i in each),
        "DeliveryTimedOutCount": sum(i.details == DELIVERY for i in each),
        "TimeoutSeconds": command.timeout,
    }


def spelled(details: str) -> str:
    """`InProgress`, or `In Progress` as the API reference has it."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", details) if KNOBS["status_details_spaced"] else details


def command_id(p: Params, needed: bool = False) -> str | None:
    name = p.get("CommandId")
    if (name or needed) and not COMMAND.fullmatch(name or ""):
        raise AwsError("InvalidCommandId", f"The specified command ID is not valid: {name}")
    return name


def selected(
    caller: Caller, region: str, p: Params, stages: bool
) -> tuple[list[Command], Callable[[str, str], bool]]:
    """The commands that the call asks for, and which statuses."""
    wanted = command_id(p)
    found = [c for c in commands_of(caller.account, region) if c.visible and wanted in (None, c.id)]
    statuses: list[str] = []
    for each in p.get("Filters") or []:
        key, value = each["key"], each["value"]
        if key == "DocumentName":
            found = [c for c in found if c.document.name == value]
        elif key in ("InvokedAfter", "InvokedBefore"):
            try:
                limit, after = parse_time(value), key == "InvokedAfter"
            except ValueError:
                raise bad("filters", value, "be a time") from None
            found = [c for c in found if (c.requested > limit) == after]
        elif key == "Status":
            statuses.append(value)
        elif key == "ExecutionStage" and stages:
            found = [c for c in found if (value == "Complete") == all(i.ended for i in c.invocations)]
        else:
            raise AwsError("InvalidFilterKey", f"The specified key is not valid: {key}")
    return found, lambda status, details: all(s in (status, details) for s in statuses)


def list_commands(caller: Caller, region: str, p: Params) -> Params:
    with LOCK:
        found, is_wanted = selected(caller, region, p, stages=True)
        instance = p.get("InstanceId")
        rows = [
            (c.id, summary(c))
            for c in found
            if is_wanted(*c.status) and instance in (None, *(i.agent.instance for i in c.invocations))
        ]
    shown, more = page(p, rows, least=1)
    return {"Commands": shown, "NextToken": more}


def list_command_invocations(caller: Caller, region: str, p: Params) -> Params:
    with LOCK:
        found, is_wanted = selected(caller, region, p, stages=False)
        rows = [
            (f"{c.id}/{i.agent.instance}", listed(i, bool(p.get("Details"))))
            for c in found
            for i in c.invocations
            if is_wanted(i.status, i.details) and p.get("InstanceId") in (None, i.agent.instance)
        ]
    shown, more = page(p, rows, least=1)
    return {"CommandInvocations": shown, "NextToken": more}


def listed(invocation: Invocation, in_detail: bool) -> Params:
    command = invocation.command
    return {
        "CommandId": command.id,
        "InstanceId": invocation.agent.instance,
        "InstanceName": tags_of(invocation.agent).get("Name", ""),
        "Comment": command.comment,
        "DocumentName": command.document.name,
        "DocumentVersion": command.document.version,
        "RequestedDateTime": seconds(command.requested),
        "Status": invocation.status,
        "StatusDetails": spelled(invocation.details),
        "CommandPlugins": [plugin(invocation, s) for s in invocation.steps()] if in_detail else [],
    }


def plugin(invocation: Invocation, step: str) -> Params:
    result, started, ended = invocation.result, invocation.started, invocation.ended
    return {
        "Name": step,
        "Status": "Pending" if invocation.status == "Delayed" else invocation.status,
        "StatusDetails": spelled(invocation.details),
        "ResponseCode": result.exit,
        "ResponseStartDateTime": started and seconds(started),
        "ResponseFinishDateTime": ended and seconds(ended),
        "Output": (result.output + result.error)[:2500],
    }


def get_command_invocation(caller: Caller, region: str, p: Params) -> Params:
    name, instance = command_id(p, needed=True), p.get("InstanceId")
    with LOCK:
        command = COMMANDS.get(name or "")
        mine = command and command.visible and (command.account, command.region) == (caller.account, region)
        found = [i for i in command.invocations if i.agent.instance == instance] if command and mine else []
        if not found:
            raise AwsError("InvocationDoesNotExist", "")
        return invocation_of(found[0], p.get("PluginName"))


def invocation_of(invocation: Invocation, step: str | None) -> Params:
    command, result, steps = invocation.command, invocation.result, invocation.steps()
    if step is not None and step not in steps:
        raise AwsError("InvalidPluginName", f"{command.document.name} has no step {step}")
    started, ended = invocation.started, invocation.ended
    took = (ended - started).total_seconds() if started and ended else None
    return {
        "CommandId": command.id,
        "InstanceId": invocation.agent.instance,
        "Comment": command.comment,
        "DocumentName": command.document.name,
        "DocumentVersion": command.document.version,
        "PluginName": step or (steps[0] if len(steps) == 1 else ""),
        "ResponseCode": result.exit,
        "ExecutionStartDateTime": timestamp(started) if started else "",
        "ExecutionElapsedTime": f"PT{took:.3f}S" if took is not None else "",
        "ExecutionEndDateTime": timestamp(ended) if started and ended else "",
        "Status": invocation.status,
        "StatusDetails": spelled(invocation.details),
        "StandardOutputContent": result.output[:24000],
        "StandardOutputUrl": "",
        "StandardErrorContent": result.error[:8000],
        "StandardErrorUrl": "",
        "CloudWatchOutputConfig": {"CloudWatchLogGroupName": "", "CloudWatchOutputEnabled": False},
    }


def cancel_command(caller: Caller, region: str, p: Params) -> Params:
    name, only = command_id(p, needed=True), p.get("InstanceIds")
    with LOCK:
        command = COMMANDS.get(name or "")
        if command is None or (command.account, command.region) != (caller.account, region):
            raise AwsError("InvalidCommandId", f"The specified command ID is not valid: {name}")
        for each in command.invocations:
            if not only or each.agent.instance in only:
                each.cancel()
    return {}


ACTIONS: dict[str, Callable[[Caller, str, Params], Params]] = {
    "CancelCommand": cancel_command,
    "DescribeInstanceInformation": managed.describe_instance_information,
    "GetCommandInvocation": get_command_invocation,
    "ListCommandInvocations": list_command_invocations,
    "ListCommands": list_commands,
    "SendCommand": send_command,
}


def answer(caller: Caller, region: str, action: str, p: Params) -> tuple[int, dict[str, str], bytes]:
    members = {k: v for k, v in ACTIONS[action](caller, region, p).items() if v is not None}
    headers = {"content-type": "application/x-amz-json-1.1", "x-amzn-requestid": request_id()}
    return 200, headers, json.dumps(members).encode()
