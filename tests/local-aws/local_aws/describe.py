"""EC2's Describe calls for snapshots, volumes and Regions, with real filters and real pages."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from .errors import AwsError
from .query import Params, answer, tag_set, timestamp
from .snapshots import Result, Snapshot, check_ids, not_found, view
from .world import LOCK, WORLD, Caller, backend, backends

Predicate = Callable[[Any], bool]


# ---- filters --------------------------------------------------------------------------------------


def matcher(values: Iterable[str]) -> Callable[[Any], bool]:
    """Any of `values`, which may hold `*` and `?`; a backslash takes their meaning away."""
    plain, patterns = set(), []
    for value in values:
        if not re.search(r"[*?\\]", value):
            plain.add(value)
            continue
        parts = re.findall(r"\\.|.", value, re.DOTALL)
        pattern = "".join(".*" if c == "*" else "." if c == "?" else re.escape(c[-1]) for c in parts)
        patterns.append(re.compile(pattern, re.DOTALL))
    if not patterns:
        return plain.__contains__
    return lambda text: text in plain or any(p.fullmatch(text) for p in patterns)


def compile_filters(
    filters: list[tuple[str, list[str]]],
    fields: dict[str, Callable[[Any], Any]],
    tags_of: Callable[[Any], dict[str, str]],
) -> list[Predicate]:
    """One predicate per filter; an object must pass all. A field may give a list: any of it."""
    result: list[Predicate] = []
    for name, values in filters:
        if not values:
            raise AwsError("InvalidParameterValue", f"The filter '{name}' needs a value.")
        test = matcher(values)
        if name.startswith("tag:"):
            result.append(tag_predicate(name[4:], test, tags_of))
        elif name == "tag-key":
            result.append(lambda o, t=test: any(t(k) for k in tags_of(o)))
        elif name == "tag-value":
            result.append(lambda o, t=test: any(t(v) for v in tags_of(o).values()))
        elif name in fields:
            result.append(field_predicate(fields[name], test))
        else:
            raise AwsError("InvalidParameterValue", f"The filter '{name}' is invalid")
    return result


def tag_predicate(
    key: str, test: Callable[[Any], bool], tags_of: Callable[[Any], dict[str, str]]
) -> Predicate:
    def check(item: Any) -> bool:
        value = tags_of(item).get(key)
        return value is not None and test(value)

    return check


def field_predicate(field: Callable[[Any], Any], test: Callable[[Any], bool]) -> Predicate:
    def check(item: Any) -> bool:
        value = field(item)
        if isinstance(value, (list, tuple, set)):
            return any(test(str(v)) for v in value)
        if isinstance(value, bool):
            value = str(value).lower()
        return value is not None and test(str(value))

    return check


# ---- pages ----------------------------------------------------------------------------------------


def page(
    p: Params, items: list[Any], ids: list[str], name: str, least: int = 5, most: int = 1000
) -> tuple[list[Any], str | None]:
    """The page of `items` (which must have an `id`) that the call asks for, and the token of the next.

    The token names the last id of a page, so that deleting while paging skips nothing.
    """
    limit, token = p.number("MaxResults"), p.get("NextToken")
    if limit is not None and ids:
        raise AwsError(
            "InvalidParameterCombination",
            f"The parameter {name} cannot be used with the parameter maxResults",
        )
    if limit is not None and limit < least:
        raise AwsError(
            "InvalidParameterValue",
            f"Value ( {limit} ) for parameter maxResults is invalid. Expecting a "
            f"value greater than or equal to {least}.",
        )
    items = sorted(items, key=lambda item: item.id)
    if token is not None:
        try:
            last = bytes.fromhex(token).decode()
        except ValueError:
            raise AwsError("InvalidParameterValue", f"Unable to parse pagination token: {token}") from None
        items = [item for item in items if item.id > last]
    if not limit:
        return items, None
    shown = items[: min(limit, most)]
    return shown, shown[-1].id.encode().hex() if len(items) > len(shown) else None


# ---- snapshots ------------------------------------------------------------------------------------

SNAPSHOT_FIELDS: dict[str, Callable[[Snapshot], Any]] = {
    "description": lambda s: s.description,
    "encrypted": lambda s: s.encrypted,
    "owner-alias": lambda s: None,
    "owner-id": lambda s: s.owner_id,
    "progress": lambda s: s.progress,
    "snapshot-id": lambda s: s.id,
    "start-time": lambda s: timestamp(s.start_time),
    "status": lambda s: s.status,
    "storage-tier": lambda s: s.storage_tier,
    "transfer-type": lambda s: s.transfer.get("type"),
    "volume-id": lambda s: s.volume_id,
    "volume-size": lambda s: s.size,
}


def describe_snapshots(caller: Caller, region: str, p: Params) -> Result:
    me, viewer = caller.account, backend(caller.account, region)
    ids, owners, users = p.items("SnapshotId"), p.items("Owner"), p.items("RestorableBy")
    check_ids(ids)
    p.refuse_dry_run()
    tests = compile_filters(p.filters(), SNAPSHOT_FIELDS, lambda s: s.tags(viewer))
    with LOCK:
        if ids:
            seen = []
            for each in dict.fromkeys(ids):
                found = [s for b in backends(region) if (s := b.snapshots.get(each)) and s.visible_to(me)]
                if not found:
                    raise not_found(each)
                seen += found
        else:
            seen = [
                s for b in backends(region) for s in b.snapshots.values() if b is viewer or s.visible_to(me)
            ]
        if owners:
            wanted = {me if o == "self" else o for o in owners}
            seen = [s for s in seen if s.owner_id in wanted]
        if users:
            wanted = {me if u == "self" else u for u in users}
            seen = [
                s
                for s in seen
                if wanted & s.shared_users
                or "all" in wanted
                and "all" in s.shared_groups
                or me in wanted
                and s.owner_id == me
            ]
        for test in tests:
            seen = [s for s in seen if test(s)]
        shown, token = page(p, seen, ids, "snapshotSet")
        rows = [view(s, viewer) for s in shown]
    return answer("DescribeSnapshots", {"snapshotSet": rows, "nextToken": token})


# ---- volumes --------------------------------------------------------------------------------------

VOLUME_FIELDS: dict[str, Callable[[Any], Any]] = {
    "attachment.attach-time": lambda v: [timestamp(a.attach_time) for a in v.attachments],
    "attachment.delete-on-termination": lambda v: [deletes_on_termination(a) for a in v.attachments],
    "attachment.device": lambda v: [a.device for a in v.attachments],
    "attachment.instance-id": lambda v: [a.instance.id for a in v.attachments],
    "attachment.status": lambda v: [a.status for a in v.attachments],
    "availability-zone": lambda v: v.availability_zone,
    "create-time": lambda v: timestamp(v.create_time),
    "encrypted": lambda v: bool(v.encrypted),
    "fast-restored": lambda v: False,
    "multi-attach-enabled": lambda v: bool(v.multi_attach_enabled),
    "size": lambda v: v.size,
    "snapshot-id": lambda v: v.snapshot_id,
    "status": lambda v: v.status,
    "volume-id": lambda v: v.id,
    "volume-type": lambda v: v.volume_type,
}


def deletes_on_termination(attachment: Any) -> bool:
    mapping = attachment.instance.block_device_mapping.get(attachment.device)
    return bool(mapping and mapping.delete_on_termination)


def volume_view(volume: Any, tags: dict[str, str]) -> dict[str, Any]:
    attached = [
        {
            "volumeId": volume.id,
            "instanceId": a.instance.id,
            "device": a.device,
            "status": a.status,
            "attachTime": a.attach_time,
            "deleteOnTermination": deletes_on_termination(a),
        }
        for a in volume.attachments
    ]
    return {
        "volumeId": volume.id,
        "size": volume.size,
        "snapshotId": volume.snapshot_id or "",
        "availabilityZone": volume.availability_zone,
        "status": volume.status,
        "createTime": volume.create_time,
        "attachmentSet": attached,
        "tagSet": tag_set(tags) or None,
        "volumeType": volume.volume_type,
        "iops": volume.iops,
        "throughput": volume.throughput,
        "encrypted": bool(volume.encrypted),
        "kmsKeyId": volume.kms_key_id if volume.encrypted else None,
        "multiAttachEnabled": bool(volume.multi_attach_enabled),
    }


def describe_volumes(caller: Caller, region: str, p: Params) -> Result:
    state, ids = backend(caller.account, region), p.items("VolumeId")
    check_ids(ids, "vol", "InvalidVolumeID.Malformed")
    p.refuse_dry_run()

    def tags_of(volume: Any) -> dict[str, str]:
        return state.tags.get(volume.id) or {}

    tests = compile_filters(p.filters(), VOLUME_FIELDS, tags_of)
    with LOCK:
        for each in ids:
            if each not in state.volumes:
                raise AwsError("InvalidVolume.NotFound", f"The volume '{each}' does not exist.")
        seen = [state.volumes[i] for i in dict.fromkeys(ids)] if ids else list(state.volumes.values())
        for test in tests:
            seen = [v for v in seen if test(v)]
        shown, token = page(p, seen, ids, "volumeSet")
        rows = [volume_view(v, tags_of(v)) for v in shown]
    return answer("DescribeVolumes", {"volumeSet": rows, "nextToken": token})


# ---- Regions --------------------------------------------------------------------------------------


def opt_in_status(account: str, region: Any) -> str:
    if (account, region.name) in WORLD.disabled:
        return "not-opted-in"
    if (account, region.name) in WORLD.enabled and region.opt_in_status != "opt-in-not-required":
        return "opted-in"
    return region.opt_in_status


def describe_regions(caller: Caller, region: str, p: Params) -> Result:
    """Only those of the calling account; the others with AllRegions, as EC2 has it."""
    state, names = backend(caller.account, region), p.items("RegionName")
    p.refuse_dry_run()
    known = [
        r
        for r in state.regions
        if r.endpoint.endswith(".cn") == region.startswith("cn-")
        and r.name.startswith("us-gov-") == region.startswith("us-gov-")
    ]
    unknown = [n for n in names if n not in {r.name for r in known}]
    if unknown:
        raise AwsError("InvalidParameterValue", f"Invalid region(s): [{', '.join(unknown)}]")
    rows = [
        {"regionName": r.name, "regionEndpoint": r.endpoint, "optInStatus": opt_in_status(caller.account, r)}
        for r in known
    ]
    fields = {
        "endpoint": lambda r: r["regionEndpoint"],
        "opt-in-status": lambda r: r["optInStatus"],
        "region-name": lambda r: r["regionName"],
    }
    for test in compile_filters(p.filters(), fields, lambda r: {}):
        rows = [r for r in rows if test(r)]
    if names:
        rows = [r for r in rows if r["regionName"] in names]
    elif not p.flag("AllRegions"):
        rows = [r for r in rows if r["optInStatus"] != "not-opted-in"]
    return answer("DescribeRegions", {"regionInfo": rows})


# ---- zones ----------------------------------------------------------------------------------------

ZONE_FIELDS: dict[str, Callable[[Any], Any]] = {
    "group-name": lambda z: z.region_name,
    "message": lambda z: [m["message"] for m in z.messages],
    "opt-in-status": lambda z: "opt-in-not-required",
    "region-name": lambda z: z.region_name,
    "state": lambda z: z.state,
    "zone-id": lambda z: z.zone_id,
    "zone-name": lambda z: z.name,
    "zone-type": lambda z: z.zone_type,
}


def describe_availability_zones(caller: Caller, region: str, p: Params) -> Result:
    zones = backend(caller.account, region).zones.get(region, [])
    names, ids = p.items("ZoneName"), p.items("ZoneId")
    p.refuse_dry_run()
    unknown = [n for n in names if n not in {z.name for z in zones}]
    unknown += [i for i in ids if i not in {z.zone_id for z in zones}]
    if unknown:
        raise AwsError("InvalidParameterValue", f"Invalid availability zone: [{', '.join(unknown)}]")
    seen = [z for z in zones if (not names or z.name in names) and (not ids or z.zone_id in ids)]
    for test in compile_filters(p.filters(), ZONE_FIELDS, lambda z: {}):
        seen = [z for z in seen if test(z)]
    rows = [
        {
            "optInStatus": "opt-in-not-required",
            "messageSet": [],
            "regionName": z.region_name,
            "zoneName": z.name,
            "zoneId": z.zone_id,
            "groupName": z.region_name,
            "networkBorderGroup": z.region_name,
            "zoneType": z.zone_type,
            "zoneState": z.state,
        }
        for z in seen
    ]
    return answer("DescribeAvailabilityZones", {"availabilityZoneInfo": rows})


ACTIONS = {
    "DescribeAvailabilityZones": describe_availability_zones,
    "DescribeRegions": describe_regions,
    "DescribeSnapshots": describe_snapshots,
    "DescribeVolumes": describe_volumes,
}
