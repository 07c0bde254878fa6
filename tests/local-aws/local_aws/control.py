"""The control plane, `/local-aws/…`: how tests and the demo steer and watch this AWS. See ../README.md."""
from __future__ import annotations

import datetime as dt
import json
import re
import time
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from moto.ec2.models.elastic_block_store import Volume

from . import keys
from .backup import JOBS
from .calls import FAULTS, LOG, Request, Response
from .errors import AwsError
from .events import HISTORY, emit
from .functions import FUNCTIONS
from .query import timestamp
from .snapshots import Snapshot, keep
from .world import (
    DELAYS, KNOBS, LOCK, TIMERS, WORLD, Caller, backend, backends, naive, now, parse_time, random_id, reset, rfc3339,
)

PREFIX = "/local-aws/"
TIME_TAGS = ("snapferry:slot", "snapferry:expires-at")
Body = dict[str, Any]


class Wrong(Exception):
    """A 400 for whoever steers."""


def handle(request: Request) -> Response:
    name = request.path[len(PREFIX):].strip("/")
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
        HISTORY.clear()
        JOBS.clear()
    return {}


# ---- functions and events -------------------------------------------------------------------------

def get_functions(body: Body, query: dict[str, str]) -> Body:
    return FUNCTIONS.map()


def set_functions(body: dict[str, list[str]], query: dict[str, str]) -> Body:
    for name, urls in body.items():
        FUNCTIONS.set(name, [urls] if isinstance(urls, str) else list(urls or []))
    return FUNCTIONS.map()


def get_deliveries(body: Body, query: dict[str, str]) -> Body:
    """`?wait=idle`: first wait until nothing is queued, running or delayed; `settled`: no copy pending either."""
    wanted, until = query.get("wait"), time.time() + float(query.get("timeout", 30))
    if wanted not in (None, "idle", "settled"):
        raise Wrong("wait: idle or settled")

    def quiet() -> bool:
        return FUNCTIONS.idle() and (wanted != "settled" or TIMERS.pending() == 0) and FUNCTIONS.idle()

    is_quiet = quiet()
    while wanted and not is_quiet and time.time() < until:
        time.sleep(0.01)
        is_quiet = quiet()
    found = [job.view() for job in list(FUNCTIONS.deliveries) if query.get("function") in (None, job.function)]
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
        sent = emit(body["account"], body["region"], event, body.get("rule"), body.get("bus", "default"),
                    faithfully=True)
    return sent


def get_events(body: Body, query: dict[str, str]) -> Body:
    found = [e for e in list(HISTORY) if all(str(e.get(k)) == v for k, v in query.items())]
    return {"events": found}


def clear_events(body: Body, query: dict[str, str]) -> Body:
    HISTORY.clear()
    return {}


# ---- the world, from outside ----------------------------------------------------------------------

def snapshot_row(s: Snapshot) -> Body:
    lock = s.lock and {k: timestamp(v) if isinstance(v, dt.datetime) else v for k, v in s.lock.items()}
    return {"id": s.id, "account": s.owner_id, "region": s.region, "volume": s.volume_id, "size": s.size,
            "state": s.status, "state_message": s.state_message, "start_time": timestamp(s.start_time),
            "encrypted": s.encrypted, "key": s.kms_key_id, "tags": dict(s.tags(s.ec2_backend)),
            "shared_with": sorted(s.shared_users | s.shared_groups), "description": s.description,
            "copied": s.copied, "source": s.source and {"region": s.source[0], "id": s.source[1]},
            "tier": s.storage_tier, "lock": lock or None}


def get_snapshots(body: Body, query: dict[str, str]) -> list[Body]:
    with LOCK:
        rows = [snapshot_row(s) for b in backends(query.get("region"), query.get("account"))
                for s in b.snapshots.values()]
    return sorted(rows, key=lambda r: (r["account"], r["region"], r["start_time"], r["id"]))


def get_volumes(body: Body, query: dict[str, str]) -> list[Body]:
    with LOCK:
        rows = [{"id": v.id, "account": b.account_id, "region": b.region_name, "state": v.status, "size": v.size,
                 "type": v.volume_type, "encrypted": bool(v.encrypted), "key": v.kms_key_id,
                 "created": timestamp(v.create_time), "tags": dict(b.tags.get(v.id) or {}),
                 "attached_to": [a.instance.id for a in v.attachments]}
                for b in backends(query.get("region"), query.get("account")) for v in b.volumes.values()]
    return sorted(rows, key=lambda r: (r["account"], r["region"], r["id"]))


def set_snapshot(body: Body, query: dict[str, str]) -> Body:
    with LOCK:
        found = [s for b in backends() if (s := b.snapshots.get(body["id"]))]
        if not found:
            raise Wrong(f"no such snapshot: {body['id']}")
        snapshot = found[0]
        if "state" in body:
            snapshot.forced = body["state"]
        if "state_message" in body:
            snapshot.message = body["state_message"]
        if "start_time" in body:
            snapshot.start_time = parse_time(body["start_time"])
        if "description" in body:
            snapshot.description = body["description"]
        if "tags" in body:
            snapshot.ec2_backend.tags[snapshot.id] = dict(body["tags"])
        snapshot.announce()
        return snapshot_row(snapshot)


def age(body: Body, query: dict[str, str]) -> Body:
    """Everything there is becomes older; also the times that snapferry wrote into tags and descriptions."""
    shift = dt.timedelta(days=float(body["days"]))
    count = 0
    with LOCK:
        for state in backends():
            if body.get("accounts") and state.account_id not in body["accounts"]:
                continue
            for volume in state.volumes.values():
                volume.create_time -= shift
            for snapshot in state.snapshots.values():
                age_snapshot(snapshot, shift)
                count += 1
    return {"snapshots": count}


def age_snapshot(snapshot: Snapshot, shift: dt.timedelta) -> None:
    def older(text: str) -> str:
        try:
            return rfc3339(parse_time(text) - shift)
        except ValueError:
            return text

    snapshot.start_time -= shift
    snapshot.completed_at = snapshot.completed_at and snapshot.completed_at - shift
    tags = snapshot.tags(snapshot.ec2_backend)
    for name in TIME_TAGS:
        if name in tags:
            tags[name] = older(tags[name])
    snapshot.description = re.sub(r"(?<=\bslot: )\S+Z", lambda m: older(m.group()), snapshot.description)
    for name, value in (snapshot.lock or {}).items():
        if isinstance(value, dt.datetime):
            snapshot.lock[name] = value - shift


def seed(body: Body, query: dict[str, str]) -> Body:
    """Many volumes at once, and snapshots of them where `snapshots` says how many of each."""
    account, region, key = body["account"], body["region"], body.get("kms_key")
    tags, snapshot_tags = body.get("tags", {}), body.get("snapshot_tags", {})
    made, snapped = [], []
    with LOCK:
        state = backend(account, region)
        if key == "alias/aws/ebs":
            state._create_default_encryption_key()
        arn = keys.usable(Caller(account, f"arn:aws:iam::{account}:root"), region, key) if key else None
        if key and arn is None:
            raise Wrong(f"no usable key: {key}")
        zone = state.get_zone_by_name(body.get("zone", f"{region}a"))
        for _ in range(int(body.get("count", 1))):
            volume = Volume(state, random_id("vol"), int(body.get("size", 8)), zone, encrypted=arn is not None,
                            kms_key_id=arn, volume_type=body.get("volume_type", "gp3"))
            volume.create_time = naive(now())
            state.volumes[volume.id] = volume
            state.tags[volume.id].update(tags)
            made.append(volume.id)
            for _ in range(int(body.get("snapshots", 0))):
                snapshot = Snapshot(state, volume.id, volume.size, body.get("description", ""), arn)
                snapshot.announced = True
                snapped.append(keep(snapshot, snapshot_tags).id)
    return {"volumes": made, "snapshots": snapped}


def get_regions(body: Body, query: dict[str, str]) -> Body:
    return {"disabled": [{"account": a, "region": r, "code": c} for (a, r), c in sorted(WORLD.disabled.items())]}


def set_region(body: Body, query: dict[str, str]) -> Body:
    place = (body["account"], body["region"])
    with LOCK:
        if body.get("enabled", False):
            WORLD.disabled.pop(place, None)
            WORLD.enabled.add(place)
        else:
            WORLD.disabled[place] = body.get("code", "AuthFailure")
    return get_regions({}, {})


# ---- calls and faults -----------------------------------------------------------------------------

def get_calls(body: Body, query: dict[str, str]) -> Body:
    with_params = query.pop("params", "1") not in ("0", "false")
    return {"calls": LOG.list(query, with_params)}


def get_counts(body: Body, query: dict[str, str]) -> Body:
    return LOG.counts(query)


def clear_calls(body: Body, query: dict[str, str]) -> Body:
    LOG.clear()
    return {}


def get_faults(body: Body, query: dict[str, str]) -> Body:
    return {"faults": FAULTS.list()}


FAULT_KEYS = {"service", "region", "account", "action", "key", "role", "match", "times", "skip", "code", "status",
              "message", "delay", "delay_after", "drop", "after", "truncate"}


def add_faults(body: Any, query: dict[str, str]) -> Body:
    faults = body if isinstance(body, list) else [body]
    for each in faults:
        if set(each) - FAULT_KEYS:
            raise Wrong(f"no such key of a fault: {', '.join(sorted(set(each) - FAULT_KEYS))}")
        if each.get("drop") not in (None, "before", "after"):
            raise Wrong("drop: before or after")
    return {"faults": FAULTS.add(faults)}


def clear_faults(body: Body, query: dict[str, str]) -> Body:
    FAULTS.clear(int(query["id"]) if "id" in query else None)
    return get_faults({}, {})


def health(body: Body, query: dict[str, str]) -> Body:
    return {"ok": True, "timers": TIMERS.pending(), "delays": DELAYS.pending()}


ROUTES: dict[tuple[str, str], Callable[[Any, dict[str, str]], Any]] = {
    ("GET", "health"): health,
    ("GET", "config"): get_config, ("POST", "config"): set_config,
    ("POST", "reset"): forget_everything,
    ("GET", "functions"): get_functions, ("POST", "functions"): set_functions,
    ("GET", "deliveries"): get_deliveries, ("DELETE", "deliveries"): clear_deliveries,
    ("POST", "invoke"): invoke,
    ("POST", "emit"): emit_event,
    ("GET", "events"): get_events, ("DELETE", "events"): clear_events,
    ("GET", "snapshots"): get_snapshots, ("GET", "volumes"): get_volumes,
    ("POST", "snapshot"): set_snapshot, ("POST", "age"): age, ("POST", "seed"): seed,
    ("GET", "regions"): get_regions, ("POST", "regions"): set_region,
    ("GET", "calls"): get_calls, ("GET", "calls/counts"): get_counts, ("DELETE", "calls"): clear_calls,
    ("GET", "faults"): get_faults, ("POST", "faults"): add_faults, ("DELETE", "faults"): clear_faults,
}
