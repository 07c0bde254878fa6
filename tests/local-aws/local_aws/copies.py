"""CopySnapshot."""

from __future__ import annotations

from . import keys, presigned
from .errors import AwsError
from .query import Params, answer, tag_set
from .snapshots import Result, Snapshot, check_description, check_ids, keep, not_found, visible
from .world import KNOBS, LOCK, Caller, backend, partition

NOT_ACCESSIBLE = "Given key ID is not accessible"
NO_VOLUME = "vol-ffffffff"  # what EC2 shows as the volume of a copy


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
                source.encrypted and keys.usable(caller, source_region, source.kms_key_id) is None
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
        keep(made, tags)
    return answer("CopySnapshot", {"snapshotId": made.id, "tagSet": tag_set(tags)})


def key_arn(account: str, region: str, name: str) -> str:
    if name.startswith("arn:"):
        return name
    what = name if name.startswith("alias/") else f"key/{name}"
    return f"arn:{partition(region)}:kms:{region}:{account}:{what}"


ACTIONS = {"CopySnapshot": copy_snapshot}
