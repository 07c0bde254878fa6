"""EventBridge: EBS's own events, and what rules do with any event.

Nothing here runs inside the call that caused the event: it goes through a timer thread, and Lambda
targets through a queue (see `functions`).
"""

from __future__ import annotations

import copy
import datetime as dt
import json
import sys
import threading
import time
import urllib.request
import uuid
from collections import deque
from typing import Any

from moto.events import models as events_m
from moto.events.utils import EventTemplateParser

from .functions import FUNCTIONS
from .world import DELAYS, KNOBS, LOCK, now, parse_time, partition, rfc3339

HISTORY: deque[dict[str, Any]] = deque(maxlen=100_000)
KIND = "EBS Snapshot Notification"


def snapshot_arn(region: str, snapshot: str) -> str:
    """As the EBS guide prints it in events, with the Region where the account should be."""
    return f"arn:{partition(region)}:ec2::{region}:snapshot/{snapshot}"


def volume_arn(region: str, volume: str) -> str:
    return f"arn:{partition(region)}:ec2::{region}:volume/{volume}"


def emit_snapshot(
    account: str, region: str, event: str, snapshot: Any, source: str, cause: str = "", **more: Any
) -> None:
    """One of EBS's snapshot notifications, on the default bus of `account`."""
    arn = snapshot_arn(region, snapshot.id)
    detail = {
        "event": event,
        "result": "failed" if cause else "succeeded",
        "cause": cause,
        "request-id": "",
        "snapshot_id": arn,
        "source": source,
        "startTime": rfc3339(snapshot.start_time),
        "endTime": rfc3339(now()),
        **more,
    }
    emit(account, region, {"resources": [arn], "detail": detail})


def emit(
    account: str,
    region: str,
    event: dict[str, Any],
    rule: str | None = None,
    bus: str = "default",
    faithfully: bool = False,
) -> dict[str, Any]:
    """Fills `event` up to a whole one and sends it, later. `faithfully`: the event knobs do not apply."""
    whole = {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": KIND,
        "source": "aws.ec2",
        "account": account,
        "time": rfc3339(now()),
        "region": region,
        "resources": [],
        "detail": {},
        **event,
    }
    record = {
        "account": account,
        "region": region,
        "rule": rule,
        "event": whole,
        "dropped": False,
        "rules": [],
    }
    HISTORY.append(record)
    times = 1
    if not faithfully:
        with LOCK:
            if KNOBS["drop_events"]:
                KNOBS["drop_events"] -= KNOBS["drop_events"] > 0
                record["dropped"] = True
                return whole
        times += int(KNOBS["duplicate_events"])
    for _ in range(times):
        DELAYS.at(
            time.time() + (0 if faithfully else KNOBS["delay_events"]),
            lambda: record["rules"].extend(route(account, region, bus, whole, rule)),
        )
    return whole


def route(account: str, region: str, bus: str, event: dict[str, Any], only: str | None = None) -> list[str]:
    """Hands `event` to the targets of every matching rule (or of rule `only`, whatever its pattern)."""
    if account not in events_m.events_backends:
        return []
    with LOCK:
        found = events_m.events_backends[account][region].event_buses.get(bus)
        rules = list(found.rules.values()) if found else []
    matched = []
    for rule in rules:
        wanted = rule.name == only if only else rule.state == "ENABLED" and matches(rule, event)
        if wanted:
            matched.append(rule.name)
            send_to_targets(rule, event, matched=True)
    return matched


def matches(rule: Any, event: dict[str, Any]) -> bool:
    pattern = rule.event_pattern
    return bool(pattern and pattern.get_pattern()) and pattern.matches_event(event)


def send_to_targets(
    rule: Any, event: dict[str, Any], transform_input: bool = True, matched: bool = False
) -> None:
    """Replaces moto's `Rule.send_to_targets`: a target that fails does not fail PutEvents."""
    event = copy.deepcopy(dict(event))
    if isinstance(event.get("time"), (int, float)):
        event["time"] = rfc3339(dt.datetime.fromtimestamp(event["time"], dt.timezone.utc))
    ingested = event.pop("ingestion-time", time.time())
    if not matched and not matches(rule, event):
        return
    for target in list(rule.targets):
        try:
            deliver(rule, target, event, transformed(target, event, ingested) if transform_input else event)
        except Exception as error:
            print(
                f"local-aws: rule {rule.name}, target {target['Arn']}: {error!r}", file=sys.stderr, flush=True
            )


def transformed(target: dict[str, Any], event: dict[str, Any], ingested: float) -> Any:
    if target.get("Input"):
        return json.loads(target["Input"])
    if target.get("InputPath"):
        from jsonpath_ng.ext import parse

        found = parse(target["InputPath"]).find(event)
        return found[0].value if found else None
    transformer = target.get("InputTransformer")
    if not transformer:
        return event
    return EventTemplateParser.parse(
        transformer.get("InputTemplate"),
        transformer.get("InputPathsMap", {}),
        {**event, "ingestion-time": ingested},
    )


def deliver(rule: Any, target: dict[str, Any], event: dict[str, Any], payload: Any) -> None:
    _, _, service, region, account, rest = target["Arn"].split(":", 5)
    if service == "lambda":
        FUNCTIONS.enqueue(
            rest.split(":")[1], payload, source=f"rule/{rule.account_id}/{rule.region_name}/{rule.name}"
        )
    elif service == "sqs":
        group = target.get("SqsParameters", {}).get("MessageGroupId")
        rule._send_to_sqs_queue(rest, with_float_time(payload), group)
    elif service == "logs":
        rule._send_to_cw_log_group(rest.split(":")[1], with_float_time(payload))
    elif service == "states":
        from moto.stepfunctions.models import stepfunctions_backends

        machines = stepfunctions_backends[account][region]
        machines.start_execution(target["Arn"], str(uuid.uuid4()), json.dumps(payload))
    elif rest.startswith("event-bus/"):
        DELAYS.at(time.time(), lambda: route(account, region, rest.split("/", 1)[1], event))
    elif rest.startswith("api-destination/"):
        destination = rule._find_api_destination(rest.split("/", 1)[1])
        threading.Thread(target=post, args=(destination, payload), daemon=True).start()
    else:
        raise NotImplementedError(f"no such target: {service}")


def with_float_time(payload: Any) -> Any:
    """moto's SQS and log targets format a number of seconds."""
    if isinstance(payload, dict) and isinstance(payload.get("time"), str):
        return {**payload, "time": parse_time(payload["time"]).timestamp()}
    return payload


def post(destination: Any, payload: Any) -> None:
    request = urllib.request.Request(
        destination.invocation_endpoint,
        json.dumps(payload).encode(),
        {"content-type": "application/json"},
        method=destination.http_method,
    )
    try:
        urllib.request.urlopen(request, timeout=60).read()
    except OSError as error:
        print(f"local-aws: {destination.invocation_endpoint}: {error}", file=sys.stderr, flush=True)


def install() -> None:
    events_m.Rule.send_to_targets = send_to_targets
