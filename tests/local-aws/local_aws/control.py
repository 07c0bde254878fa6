"""The control plane, `/local-aws/…`: how tests and the demo steer and watch this AWS. See ../README.md."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from . import backup, commands, organizations, outside, wire
from .calls import FAULTS, LOG, Request, Response
from .errors import AwsError
from .events import HISTORY, emit
from .functions import FUNCTIONS
from .outside import Body, Wrong
from .proof import RECORD, prove
from .world import DELAYS, KNOBS, LOCK, TIMERS, reset

PREFIX = "/local-aws/"


def handle(request: Request) -> Response:
    name = request.path[len(PREFIX) :].strip("/")
    action = ROUTES.get((request.method, name))
    try:
        if action is None:
            raise Wrong(f"no such thing: {request.method} {request.path}")
        body = json.loads(request.body) if request.body else {}
        status, result = 200, action(body, dict(parse_qsl(request.query)))
    except (Wrong, AwsError, KeyError, TypeError, ValueError) as error:
        status, result = 400, {"error": f"{type(error).__name__}: {error}"}
    return Response(status, {"content-type": "application/json"}, json.dumps(result, default=str).encode())


# ---- knobs, reset ---------------------------------------------------------------------------------


def get_config(body: Body, query: dict[str, str]) -> Body:
    return dict(KNOBS)


def set_config(body: Body, query: dict[str, str]) -> Body:
    unknown = set(body) - set(KNOBS)
    if unknown:
        raise Wrong(f"no such knob: {', '.join(sorted(unknown))}")
    KNOBS.update(body)
    return dict(KNOBS)


def forget_everything(body: Body, query: dict[str, str]) -> Body:
    with LOCK:
        reset()
        FUNCTIONS.reset()
        FAULTS.clear()
        LOG.clear()
        RECORD.clear()
        HISTORY.clear()
        backup.forget()
        organizations.forget()
        commands.forget()
    return {}


# ---- functions and events -------------------------------------------------------------------------


def get_functions(body: Body, query: dict[str, str]) -> Body:
    return FUNCTIONS.map()


def set_functions(body: dict[str, list[str]], query: dict[str, str]) -> Body:
    for name, urls in body.items():
        FUNCTIONS.set(name, [urls] if isinstance(urls, str) else list(urls or []))
    return FUNCTIONS.map()


def get_deliveries(body: Body, query: dict[str, str]) -> Body:
    """`?wait=idle`: waits until nothing is queued, running or delayed; `settled`: nor any copy pending."""
    wanted, until = query.get("wait"), time.time() + float(query.get("timeout", 30))
    if wanted not in (None, "idle", "settled"):
        raise Wrong("wait: idle or settled")

    def quiet() -> bool:
        return FUNCTIONS.idle() and (wanted != "settled" or TIMERS.pending() == 0) and FUNCTIONS.idle()

    is_quiet = quiet()
    while wanted and not is_quiet and time.time() < until:
        time.sleep(0.01)
        is_quiet = quiet()
    found = [
        job.view() for job in list(FUNCTIONS.deliveries) if query.get("function") in (None, job.function)
    ]
    return {"idle": is_quiet, "deliveries": found}


def clear_deliveries(body: Body, query: dict[str, str]) -> Body:
    FUNCTIONS.deliveries.clear()
    return {}


def invoke(body: Body, query: dict[str, str]) -> Body:
    """Through the function's queue, so that a process never gets two events at once."""
    if body.get("type", "RequestResponse") == "Event":
        return {"queued": FUNCTIONS.enqueue(body["function"], body.get("event", {}), "control").id}
    return FUNCTIONS.call(body["function"], body.get("event", {}), "control").view()


def emit_event(body: Body, query: dict[str, str]) -> Body:
    event = {k: v for k, v in body.items() if k not in ("account", "region", "rule", "bus", "times")}
    event.setdefault("id", str(uuid.uuid4()))  # `times`: the same event again, as EventBridge may do
    for _ in range(int(body.get("times", 1))):
        sent = emit(
            body["account"],
            body["region"],
            event,
            body.get("rule"),
            body.get("bus", "default"),
            faithfully=True,
        )
    return sent


def get_events(body: Body, query: dict[str, str]) -> Body:
    found = [e for e in list(HISTORY) if all(str(e.get(k)) == v for k, v in query.items())]
    return {"events": found}


def clear_events(body: Body, query: dict[str, str]) -> Body:
    HISTORY.clear()
    return {}


# ---- calls and faults -----------------------------------------------------------------------------


def get_calls(body: Body, query: dict[str, str]) -> Body:
    with_params = query.pop("params", "1") not in ("0", "false")
    return {"calls": LOG.list(query, with_params)}


def get_counts(body: Body, query: dict[str, str]) -> Body:
    return LOG.counts(query)


def clear_calls(body: Body, query: dict[str, str]) -> Body:
    LOG.clear()
    return {}


def prove_policies(body: Body, query: dict[str, str]) -> Body:
    return prove(body["policies"], body["actors"])


def get_faults(body: Body, query: dict[str, str]) -> Body:
    if query.get("wait") not in (None, "held"):
        raise Wrong("wait: held")
    if query.get("wait"):
        which = int(query["id"]) if "id" in query else None
        FAULTS.wait_until_held(which, float(query.get("timeout", 30)))
    return {"faults": FAULTS.list()}


FAULT_KEYS = {
    "service",
    "region",
    "account",
    "action",
    "key",
    "role",
    "match",
    "agent",
    "times",
    "skip",
    "code",
    "status",
    "message",
    "delay",
    "delay_after",
    "drop",
    "hold",
    "after",
    "truncate",
    *wire.KEYS,
}


def add_faults(body: Any, query: dict[str, str]) -> Body:
    faults = body if isinstance(body, list) else [body]
    for each in faults:
        if set(each) - FAULT_KEYS:
            raise Wrong(f"no such key of a fault: {', '.join(sorted(set(each) - FAULT_KEYS))}")
        for name in ("drop", "hold"):
            if each.get(name) not in (None, "before", "after"):
                raise Wrong(f"{name}: before or after")
        if mistake := wire.wrong(each):
            raise Wrong(mistake)
    return {"faults": FAULTS.add(faults)}


def clear_faults(body: Body, query: dict[str, str]) -> Body:
    FAULTS.clear(int(query["id"]) if "id" in query else None)
    return get_faults({}, {})


def set_organization(body: Body, query: dict[str, str]) -> Body:
    organizations.put(body["account"], body["units"])
    return {}


def get_jobs(body: Body, query: dict[str, str]) -> list[Body]:
    return [{**job.view(), "Asked": job.asked, "Snapshots": job.snapshots} for job in backup.JOBS.values()]


def plan_jobs(body: Body, query: dict[str, str]) -> Body:
    """How the jobs of a resource are to end, those after this; without `state` well."""
    unknown = set(body) - {"resource", "state", "message", "vss"}
    if unknown or body.get("state", "COMPLETED") not in backup.OVER:
        raise Wrong(f"resource, state (of {', '.join(sorted(backup.OVER))}), message or vss, not {body}")
    backup.ENDS[body.pop("resource")] = body
    return {}


def health(body: Body, query: dict[str, str]) -> Body:
    return {"ok": True, "timers": TIMERS.pending(), "delays": DELAYS.pending()}


ROUTES: dict[tuple[str, str], Callable[[Any, dict[str, str]], Any]] = {
    ("GET", "health"): health,
    ("GET", "config"): get_config,
    ("POST", "config"): set_config,
    ("POST", "reset"): forget_everything,
    ("GET", "functions"): get_functions,
    ("POST", "functions"): set_functions,
    ("GET", "deliveries"): get_deliveries,
    ("DELETE", "deliveries"): clear_deliveries,
    ("POST", "invoke"): invoke,
    ("POST", "emit"): emit_event,
    ("GET", "events"): get_events,
    ("DELETE", "events"): clear_events,
    ("GET", "snapshots"): outside.get_snapshots,
    ("GET", "volumes"): outside.get_volumes,
    ("GET", "instances"): outside.get_instances,
    ("GET", "agents"): outside.get_agents,
    ("POST", "agents"): outside.set_agent,
    ("PUT", "agents"): outside.set_agent,
    ("DELETE", "agents"): outside.remove_agents,
    ("GET", "restores"): outside.get_restores,
    ("POST", "snapshot"): outside.set_snapshot,
    ("POST", "age"): outside.age,
    ("POST", "seed"): outside.seed,
    ("POST", "instances"): outside.seed_instances,
    ("POST", "restores"): outside.set_restore,
    ("GET", "backups"): get_jobs,
    ("POST", "backups"): plan_jobs,
    ("GET", "regions"): outside.get_regions,
    ("POST", "regions"): outside.set_region,
    ("POST", "organization"): set_organization,
    ("GET", "calls"): get_calls,
    ("GET", "calls/counts"): get_counts,
    ("DELETE", "calls"): clear_calls,
    ("POST", "proof"): prove_policies,
    ("GET", "faults"): get_faults,
    ("POST", "faults"): add_faults,
    ("DELETE", "faults"): clear_faults,
}
