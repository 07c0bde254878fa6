"""The world as tests see and change it, past every API: the control plane's part about state."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

from moto.ec2.models.elastic_block_store import Volume

from . import keys
from .query import timestamp
from .snapshots import Snapshot, keep
from .world import LOCK, WORLD, Caller, backend, backends, naive, now, parse_time, random_id, rfc3339

TIME_TAGS = ("snapferry:slot", "snapferry:expires-at")
Body = dict[str, Any]


class Wrong(Exception):
    """A 400 for whoever steers."""


def snapshot_row(s: Snapshot) -> Body:
    lock = s.lock and {k: timestamp(v) if isinstance(v, dt.datetime) else v for k, v in s.lock.items()}
    return {
        "id": s.id,
        "account": s.owner_id,
        "region": s.region,
        "volume": s.volume_id,
        "size": s.size,
        "state": s.status,
        "state_message": s.state_message,
        "start_time": timestamp(s.start_time),
        "encrypted": s.encrypted,
        "key": s.kms_key_id,
        "tags": dict(s.tags(s.ec2_backend)),
        "shared_with": sorted(s.shared_users | s.shared_groups),
        "description": s.description,
        "copied": s.copied,
        "source": s.source and {"region": s.source[0], "id": s.source[1]},
        "tier": s.storage_tier,
        "lock": lock or None,
    }


def get_snapshots(body: Body, query: dict[str, str]) -> list[Body]:
    with LOCK:
        rows = [
            snapshot_row(s)
            for b in backends(query.get("region"), query.get("account"))
            for s in b.snapshots.values()
        ]
    return sorted(rows, key=lambda r: (r["account"], r["region"], r["start_time"], r["id"]))


def get_volumes(body: Body, query: dict[str, str]) -> list[Body]:
    with LOCK:
        rows = [
            {
                "id": v.id,
                "account": b.account_id,
                "region": b.region_name,
                "state": v.status,
                "size": v.size,
                "type": v.volume_type,
                "encrypted": bool(v.encrypted),
                "key": v.kms_key_id,
                "created": timestamp(v.create_time),
                "tags": dict(b.tags.get(v.id) or {}),
                "attached_to": [a.instance.id for a in v.attachments],
            }
            for b in backends(query.get("region"), query.get("account"))
            for v in b.volumes.values()
        ]
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
            volume = Volume(
                state,
                random_id("vol"),
                int(body.get("size", 8)),
                zone,
                encrypted=arn is not None,
                kms_key_id=arn,
                volume_type=body.get("volume_type", "gp3"),
            )
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
    return {
        "disabled": [{"account": a, "region": r, "code": c} for (a, r), c in sorted(WORLD.disabled.items())]
    }


def set_region(body: Body, query: dict[str, str]) -> Body:
    place = (body["account"], body["region"])
    with LOCK:
        if body.get("enabled", False):
            WORLD.disabled.pop(place, None)
            WORLD.enabled.add(place)
        else:
            WORLD.disabled[place] = body.get("code", "AuthFailure")
    return get_regions({}, {})
