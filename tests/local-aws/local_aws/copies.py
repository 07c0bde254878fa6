"""CopySnapshot."""

from __future__ import annotations

from typing import Any

from . import keys, presigned
from .errors import AwsError
from .query import Params, answer, tag_set
from .snapshots import Result, Snapshot, check_description, check_ids, keep, not_found, visible
from .world import KNOBS, LOCK, Caller, backend, partition, spend

NOT_ACCESSIBLE = "Given key ID is not accessible"
NO_VOLUME = "vol-ffffffff"  # what EC2 shows as the volume of a copy
MOST_THROUGHPUT = 500  # MiB/s of one time-based copy


def copy_snapshot(caller: Caller, region: str, p: Params) -> Result:
    state, tags = backend(caller.account, region), p.tag_specification("snapshot")
    source_id, source_region = p.need("SourceSnapshotId"), p.need("SourceRegion")
    encrypt, key, minutes = p.flag("Encrypted"), p.get("KmsKeyId"), p.number("CompletionDurationMinutes")
    check_ids([source_id])
    check_description(p)
    if (p.get("Encrypted") or "").lower() == "false":
        raise AwsError("InvalidParameterValue", "You cannot set the parameter Encrypted to false")
    if key and not encrypt:
        raise AwsError(
            "InvalidParameterDependency", "The parameter KmsKeyId requires the parameter Encrypted to be set."
        )
    if minutes is not None and (minutes % 15 or not 15 <= minutes <= 2880):
        raise AwsError(
            "InvalidParameterValue",
            f"Value ( {minutes} ) for parameter completionDurationMinutes is invalid.",
        )
    with LOCK:
        source, failure = visible(caller.account, source_region, source_id), None
        if source is None and KNOBS["copy_refusal"] == "sync":
            raise not_found(source_id)
        if source is not None and (source.status != "completed" or source.archived):
            state_of = "archived" if source.archived else source.status
            raise AwsError("IncorrectState", f"The snapshot '{source_id}' is {state_of}.")
        p.refuse_dry_run()
        limit = KNOBS["copy_limit"]
        if limit and sum(s.copied and s.status == "pending" for s in state.snapshots.values()) >= limit:
            raise AwsError(
                "ResourceLimitExceeded",
                f"Too many snapshot copies in progress. The limit is {limit} for this destination region.",
            )
        if minutes and throughput(state, source_region) >= KNOBS["copy_throughput"]:
            raise AwsError(
                "ResourceLimitExceeded",
                f"The snapshot copy throughput quota from {source_region} to {region} is used up.",
            )
        arn = None
        if source is None:
            failure = "Source snapshot is not found"
        elif source.encrypted or encrypt or state.ebs_encryption_by_default:
            # an encrypted source takes the chosen default key only where encryption is the default
            chosen = not source.encrypted or state.ebs_encryption_by_default
            default = keys.default_key if chosen else keys.ebs_key
            wanted = key or default(caller.account, region)
            arn = keys.usable(caller, region, wanted)
            if arn is None or (
                source.encrypted and keys.usable(caller, source_region, source.kms_key_id, keys.READ) is None
            ):
                failure = NOT_ACCESSIBLE
                found = keys.find(caller.account, region, wanted)
                arn = arn or (found.arn if found else key_arn(caller.account, region, wanted))
        failure = failure or presigned.fault(caller, region, p, bool(source and source.encrypted))
        made = Snapshot(
            state,
            NO_VOLUME,
            source.size if source else 1,
            p.get("Description") or "",
            arn,
            KNOBS["copy_seconds"],
        )
        made.source, made.failure = (source_region, source_id), failure
        made.transfer = {"type": "time-based", "minutes": minutes} if minutes else {"type": "standard"}
        if source:
            made.lineage = source.lineage
            made.incremental = builds_on_another(state, source, arn) and not spend("full_copies")
        keep(made, tags)
    return answer("CopySnapshot", {"snapshotId": made.id, "tagSet": tag_set(tags)})


def throughput(state: Any, source_region: str) -> float:
    """MiB/s that time-based copies from there have taken. While some is left, EC2 takes another one."""
    timed = (s for s in state.snapshots.values() if s.transfer.get("minutes") and s.status == "pending")
    return sum(
        min(MOST_THROUGHPUT, s.size * 1024 / (60 * s.transfer["minutes"]))
        for s in timed
        if s.source[0] == source_region
    )


def builds_on_another(state: Any, source: Snapshot, key: str | None) -> bool:
    """Whether EC2 copies only what has changed since an earlier copy of the volume, or nothing at all."""
    if source.ec2_backend is state and source.kms_key_id == key:
        return True
    before = [
        s
        for s in state.snapshots.values()
        if s.copied and s.lineage == source.lineage and s.status == "completed"
    ]
    if not before or max(before, key=lambda s: s.start_time).archived:
        return False
    return all(s.kms_key_id == key for s in before)


def key_arn(account: str, region: str, name: str) -> str:
    if name.startswith("arn:"):
        return name
    what = name if name.startswith("alias/") else f"key/{name}"
    return f"arn:{partition(region)}:kms:{region}:{account}:{what}"


ACTIONS = {"CopySnapshot": copy_snapshot}
