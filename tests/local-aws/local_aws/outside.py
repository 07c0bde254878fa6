"""The world as tests see and change it, past every API: the control plane's part about state."""

from __future__ import annotations

import datetime as dt
import re
import time
from collections.abc import Callable
from typing import Any

from moto.ec2.models.elastic_block_store import Volume

from . import agents, commands, instances, keys, restores, tiers
from .query import timestamp
from .snapshots import Snapshot, deleted_of, keep
from .world import LOCK, WORLD, Caller, backend, backends, naive, now, parse_time, random_id, rfc3339

TIME_TAGS = ("snapferry:slot", "snapferry:expires-at", "snapferry:source-start-time")
Body = dict[str, Any]


class Wrong(Exception):
    """A 400 for whoever steers."""


def snapshot_row(s: Snapshot, fast: list[Body]) -> Body:
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
        "frozen": s.frozen,
        "copied": s.copied,
        "source": s.source and {"region": s.source[0], "id": s.source[1]},
        "transfer": s.transfer.get("type"),
        "incremental": s.incremental if s.copied else None,
        "tier": s.storage_tier,
        "tiering": tiers.operation(s),
        "lock": lock or None,
        "fast_restores": [{k: r[k] for k in ("account", "zone", "state")} for r in fast],
    }


def get_snapshots(body: Body, query: dict[str, str]) -> list[Body]:
    with LOCK:
        fast: dict[str, list[Body]] = {}
        for each in get_restores({}, {}):  # an account can have some of another one's snapshot
            fast.setdefault(each["snapshot"], []).append(each)
        rows = [
            snapshot_row(s, fast.get(s.id, []))
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
                "multi_attach": bool(v.multi_attach_enabled),
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
        if "tiering" in body:
            ends = {"archival-completed": True, "archival-failed": False}
            if tiers.operation(snapshot) != tiers.IN_PROGRESS or body["tiering"] not in ends:
                raise Wrong(f"{snapshot.id} is {tiers.operation(snapshot)}, cannot be {body['tiering']}")
            tiers.finish(snapshot, ends[body["tiering"]])
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
        return snapshot_row(snapshot, [r for r in get_restores({}, {}) if r["snapshot"] == snapshot.id])


def age(body: Body, query: dict[str, str]) -> Body:
    """Everything there is becomes older; also the times that snapferry wrote into tags and descriptions. Of commands
    only, with `only`: what they were for stays as it is."""
    if not {"days", "seconds"} & set(body):
        raise Wrong("days, seconds or both are needed")
    shift = dt.timedelta(days=float(body.get("days", 0)), seconds=float(body.get("seconds", 0)))
    if body.get("only") not in (None, "commands"):
        raise Wrong("only: commands")
    count = 0
    with LOCK:
        for state in [] if body.get("only") else backends():
            if body.get("accounts") and state.account_id not in body["accounts"]:
                continue
            for volume in state.volumes.values():
                volume.create_time -= shift
            for instance in state.all_instances():
                instance.launch_time -= shift
            for volume_id, last in deleted_of(state).items():
                deleted_of(state)[volume_id] = last - shift
            for restore in restores.restores_of(state).values():
                restore.times = {phase: at - shift for phase, at in restore.times.items()}
            for snapshot in state.snapshots.values():
                age_snapshot(snapshot, shift)
                count += 1
        commands.older(body.get("accounts"), shift, lambda text: text if body.get("only") else earlier(text, shift))
    return {"snapshots": count}


def earlier(text: str, shift: dt.timedelta) -> str:
    """Every time in it."""
    return re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", lambda m: older(m.group(), shift), text)


def older(text: str, shift: dt.timedelta) -> str:
    try:
        return rfc3339(parse_time(text) - shift)
    except ValueError:
        return text


def age_snapshot(snapshot: Snapshot, shift: dt.timedelta) -> None:
    snapshot.start_time -= shift
    snapshot.completed_at = snapshot.completed_at and snapshot.completed_at - shift
    tags = snapshot.tags(snapshot.ec2_backend)
    for name in TIME_TAGS:
        if name in tags:
            tags[name] = older(tags[name], shift)
    snapshot.description = re.sub(
        r"(?<=\bslot: )\S+Z", lambda m: older(m.group(), shift), snapshot.description
    )
    for times in (snapshot.lock or {}, snapshot.tier):
        for name, value in times.items():
            if isinstance(value, dt.datetime):
                times[name] = value - shift


def seed(body: Body, query: dict[str, str]) -> Body:
    """Many volumes at once, and snapshots of them where `snapshots` says how many of each."""
    account, region, snapshot_tags = body["account"], body["region"], body.get("snapshot_tags", {})
    made, snapped = [], []
    with LOCK:
        state = backend(account, region)
        make = volume_maker(state, body)
        for _ in range(int(body.get("count", 1))):
            volume = make()
            made.append(volume.id)
            for _ in range(int(body.get("snapshots", 0))):
                key = volume.kms_key_id
                snapshot = Snapshot(state, volume.id, volume.size, body.get("description", ""), key)
                snapshot.announced = snapshot.seeded = True
                share_with = set(body.get("shared_with", []))
                snapshot.shared_users, snapshot.shared_groups = share_with - {"all"}, share_with & {"all"}
                snapped.append(keep(snapshot, snapshot_tags).id)
    return {"volumes": made, "snapshots": snapped}


def volume_maker(state: Any, body: Body) -> Callable[[], Any]:
    """Makes volumes as `body` describes them."""
    account, region, key = state.account_id, state.region_name, body.get("kms_key")
    arn = keys.usable(Caller(account, f"arn:aws:iam::{account}:root"), region, key) if key else None
    if key and arn is None:
        raise Wrong(f"no usable key: {key}")
    zone = state.get_zone_by_name(body.get("zone", f"{region}a"))
    multi = bool(body.get("multi_attach", False))

    def make() -> Any:
        volume = Volume(
            state,
            random_id("vol"),
            int(body.get("size", 8)),
            zone,
            encrypted=arn is not None,
            kms_key_id=arn,
            volume_type=body.get("volume_type", "io2" if multi else "gp3"),
            multi_attach_enabled=multi,
        )
        volume.create_time = naive(now())
        state.volumes[volume.id] = volume
        state.tags[volume.id].update(body.get("tags", {}))
        return volume

    return make


# ---- instances ------------------------------------------------------------------------------------


def seed_instances(body: Body, query: dict[str, str]) -> Body:
    """Instances with their volumes. A volume given by its id is attached, whatever else it is attached to."""
    account, region = body["account"], body["region"]
    zone, root = body.get("zone", f"{region}a"), body.get("root_device", instances.ROOT)
    specs = ([] if body.get("root", {}) is None else [(root, body.get("root", {}))]) + [
        (None, each) for each in body.get("volumes", [])
    ]
    made = []
    with LOCK:
        state = backend(account, region)
        for spec in (s for _, s in specs if isinstance(s, str)):
            if spec not in state.volumes:
                raise Wrong(f"no such volume: {spec}")
        profile = body.get("profile")
        if profile and profile not in {p.name for p in instances.profiles_of(state)}:
            raise Wrong(f"no such instance profile: {profile}")
        for _ in range(int(body.get("count", 1))):
            reservation = state.run_instances(
                body.get("image", "ami-12345678"),
                1,
                None,
                [],
                region_name=region,
                instance_type=body.get("type", "m5.large"),
                is_instance_type_default=False,
                block_device_mappings=[],
                tags={"instance": dict(body.get("tags", {}))},
            )
            instance = reservation.instances[0]
            instance.root_device_name, instance.placement.zone = root, zone
            if profile:
                state.associate_iam_instance_profile(instance.id, iam_instance_profile_name=profile)
            devices = {}
            for device, spec in specs:
                there = isinstance(spec, str)
                volume = state.volumes[spec] if there else volume_maker(state, {"zone": zone, **spec})()
                if device is None and not there:
                    device = spec.get("device")
                device = device or free_device(instance)
                instances.attach(state, volume, instance, device, goes_with_it=device == root)
                devices[device] = volume.id
            if body.get("state", "running") == "stopped":
                instance.stop()
            made.append({"id": instance.id, "volumes": devices})
    return {"instances": made}


def free_device(instance: Any) -> str:
    names = (f"/dev/sd{letter}" for letter in "fghijklmnopqrstuvwxyz")
    more = (f"/dev/xvd{a}{b}" for a in "bcd" for b in "abcdefghijklmnopqrstuvwxyz")
    return next(name for name in (*names, *more) if name not in instance.block_device_mapping)


def get_instances(body: Body, query: dict[str, str]) -> list[Body]:
    with LOCK:
        rows = [
            {
                "id": i.id,
                "account": b.account_id,
                "region": b.region_name,
                "state": i.state,
                "type": i.instance_type,
                "zone": i.availability_zone,
                "root_device": i.root_device_name,
                "volumes": {device: m.volume_id for device, m in i.get_block_device_mapping},
                "platform": i.platform,
                "profile": (i.iam_instance_profile or {}).get("Arn"),
                "tags": dict(b.tags.get(i.id) or {}),
            }
            for b in backends(query.get("region"), query.get("account"))
            for i in b.all_instances()
        ]
    return sorted(rows, key=lambda r: (r["account"], r["region"], r["id"]))


# ---- agents ---------------------------------------------------------------------------------------


def get_agents(body: Body, query: dict[str, str]) -> list[Body]:
    """`?wait=idle`: waits until no command is under way, and all can be seen."""
    if query.get("wait") not in (None, "idle"):
        raise Wrong("wait: idle")
    until = time.time() + float(query.get("timeout", 30))
    while query.get("wait") and not commands.are_over() and time.time() < until:
        time.sleep(0.01)
    with LOCK:
        found = agents.agents_of(query.get("account"), query.get("region"))
        return [a.row() for a in found if query.get("instance") in (None, a.instance)]


def set_agent(body: Body, query: dict[str, str]) -> Body:
    if mistake := agents.mistake(body):
        raise Wrong(mistake)
    with LOCK:
        return agents.put(body).row()


def remove_agents(body: Body, query: dict[str, str]) -> Body:
    with LOCK:
        for each in get_agents(body, query):
            agents.AGENTS.pop(each["instance"]).ping = "ConnectionLost"
    return {}


# ---- fast restores --------------------------------------------------------------------------------


def get_restores(body: Body, query: dict[str, str]) -> list[Body]:
    with LOCK:
        rows = [
            {
                "account": b.account_id,
                "region": b.region_name,
                "snapshot": r.snapshot_id,
                "zone": r.zone.name,
                "state": r.state,
            }
            for b in backends(query.get("region"), query.get("account"))
            for r in restores.restores_of(b).values()
        ]
    return sorted(rows, key=lambda r: (r["account"], r["region"], r["snapshot"], r["zone"]))


def set_restore(body: Body, query: dict[str, str]) -> list[Body]:
    """The restores of a snapshot (in a zone, of an account) take this state, and go on from there."""
    if body["state"] not in {*restores.PHASES, *restores.PHASES.values()}:
        raise Wrong(f"no such state: {body['state']}")
    with LOCK:
        found = [
            r
            for b in backends(account=body.get("account"))
            for r in restores.restores_of(b).values()
            if r.snapshot_id == body["snapshot"] and body.get("zone") in (None, r.zone.name)
        ]
        if not found:
            raise Wrong(f"no fast restores of {body['snapshot']}")
        for each in found:
            each.begin(body["state"], restores.SYSTEM)
    return [r for r in get_restores({}, {}) if r["snapshot"] == body["snapshot"]]


# ---- Regions --------------------------------------------------------------------------------------


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
