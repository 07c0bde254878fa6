"""Snapshot locks, storage tiers, tags and EBS's account settings."""

from __future__ import annotations

import datetime as dt
from typing import Any

from . import keys
from .describe import SNAPSHOT_FIELDS, compile_filters, page
from .errors import AwsError
from .query import Params, answer, check_tags, tag_set
from .snapshots import Result, own, visible
from .world import LOCK, Caller, backend, now, parse_time

# ---- locks ----------------------------------------------------------------------------------------


def lock_snapshot(caller: Caller, region: str, p: Params) -> Result:
    mode, days, cool = p.need("LockMode"), p.number("LockDuration"), p.number("CoolOffPeriod")
    expires = parse_time(p.need("ExpirationDate")) if p.get("ExpirationDate") else None
    if mode not in ("governance", "compliance"):
        raise AwsError("InvalidParameterValue", f"Value ({mode}) for parameter lockMode is invalid.")
    if (days is None) == (expires is None):
        raise AwsError(
            "InvalidParameterCombination", "Exactly one of LockDuration and ExpirationDate is needed"
        )
    if days is not None and not 1 <= days <= 36500:
        raise AwsError("InvalidParameterValue", f"Value ({days}) for parameter lockDuration is invalid.")
    if cool is not None and (mode == "governance" or not 1 <= cool <= 72):
        raise AwsError("InvalidParameterValue", f"Value ({cool}) for parameter coolOffPeriod is invalid.")
    with LOCK:
        snapshot, at = own(backend(caller.account, region), p.need("SnapshotId")), now()
        p.refuse_dry_run()
        expires = expires or at + dt.timedelta(days=days)
        if expires <= at:
            raise AwsError("InvalidParameterValue", "ExpirationDate must be in the future")
        old = snapshot.lock
        if (
            old
            and lock_state(old) == "compliance"
            and (mode != "compliance" or expires < old["lockExpiresOn"])
        ):
            raise AwsError(
                "OperationNotPermitted",
                f"The snapshot '{snapshot.id}' is locked in compliance mode: it can only be extended.",
            )
        lock = {
            "mode": mode,
            "lockDuration": days or max(1, (expires - at).days),
            "lockCreatedOn": at,
            "lockDurationStartTime": at,
            "lockExpiresOn": expires,
        }
        if cool:
            lock |= {"coolOffPeriod": cool, "coolOffPeriodExpiresOn": at + dt.timedelta(hours=cool)}
        snapshot.lock = lock
    return answer("LockSnapshot", lock_view(snapshot))


def lock_state(lock: dict[str, Any]) -> str:
    if lock["lockExpiresOn"] <= now():
        return "expired"
    if lock["mode"] == "compliance" and lock.get("coolOffPeriodExpiresOn", now()) > now():
        return "compliance-cooloff"
    return lock["mode"]


def lock_view(snapshot: Any) -> dict[str, Any]:
    lock = dict(snapshot.lock)
    state = lock_state(lock)
    del lock["mode"]
    return {"snapshotId": snapshot.id, "lockState": state, **lock}


def unlock_snapshot(caller: Caller, region: str, p: Params) -> Result:
    with LOCK:
        snapshot = own(backend(caller.account, region), p.need("SnapshotId"))
        p.refuse_dry_run()
        if snapshot.lock and lock_state(snapshot.lock) == "compliance":
            raise AwsError(
                "OperationNotPermitted", f"The snapshot '{snapshot.id}' is locked in compliance mode."
            )
        snapshot.lock = None
    return answer("UnlockSnapshot", {"snapshotId": snapshot.id})


def describe_locked_snapshots(caller: Caller, region: str, p: Params) -> Result:
    state, ids = backend(caller.account, region), p.items("SnapshotId")
    fields = {"lock-state": lambda s: lock_state(s.lock)}
    with LOCK:
        chosen = [own(state, i) for i in ids] if ids else state.snapshots.values()
        seen = [s for s in chosen if s.lock]
        for test in compile_filters(p.filters(), fields, lambda s: {}):
            seen = [s for s in seen if test(s)]
        shown, token = page(p, seen, ids, "snapshotSet")
        rows = [{"ownerId": s.owner_id, **lock_view(s)} for s in shown]
    return answer("DescribeLockedSnapshots", {"snapshotSet": rows, "nextToken": token})


# ---- storage tiers --------------------------------------------------------------------------------


def modify_snapshot_tier(caller: Caller, region: str, p: Params) -> Result:
    with LOCK:
        snapshot = own(backend(caller.account, region), p.need("SnapshotId"))
        p.refuse_dry_run()
        if p.get("StorageTier", "archive") != "archive":
            raise AwsError("InvalidParameterValue", "StorageTier must be archive")
        if snapshot.status != "completed":
            raise AwsError("IncorrectState", f"{snapshot.id} is {snapshot.status}")
        snapshot.storage_tier = "archive"
        snapshot.tier = {
            "lastTieringStartTime": now(),
            "lastTieringProgress": 100,
            "lastTieringOperationStatus": "archival-completed",
            "archivalCompleteTime": now(),
        }
    return answer(
        "ModifySnapshotTier",
        {"snapshotId": snapshot.id, "tieringStartTime": snapshot.tier["lastTieringStartTime"]},
    )


def restore_snapshot_tier(caller: Caller, region: str, p: Params) -> Result:
    days, permanent = p.number("TemporaryRestoreDays"), p.flag("PermanentRestore")
    with LOCK:
        snapshot = own(backend(caller.account, region), p.need("SnapshotId"))
        p.refuse_dry_run()
        if permanent:
            snapshot.storage_tier = "standard"
        kind = "permanent" if permanent else "temporary"
        snapshot.tier["lastTieringOperationStatus"] = f"{kind}-restore-completed"
        if not permanent:
            snapshot.tier["restoreExpiryTime"] = now() + dt.timedelta(days=days or 1)
    return answer(
        "RestoreSnapshotTier",
        {
            "snapshotId": snapshot.id,
            "restoreStartTime": now(),
            "restoreDuration": days,
            "isPermanentRestore": permanent,
        },
    )


def describe_snapshot_tier_status(caller: Caller, region: str, p: Params) -> Result:
    state = backend(caller.account, region)
    fields = {**SNAPSHOT_FIELDS, "last-tiering-operation": lambda s: s.tier.get("lastTieringOperationStatus")}
    with LOCK:
        seen = list(state.snapshots.values())
        for test in compile_filters(p.filters(), fields, lambda s: s.tags(state)):
            seen = [s for s in seen if test(s)]
        shown, token = page(p, seen, [], "")
        rows = [
            {
                "snapshotId": s.id,
                "volumeId": s.volume_id,
                "status": s.status,
                "ownerId": s.owner_id,
                "tagSet": tag_set(s.tags(state)),
                "storageTier": s.storage_tier,
                **s.tier,
            }
            for s in shown
        ]
    return answer("DescribeSnapshotTierStatus", {"snapshotTierStatusSet": rows, "nextToken": token})


# ---- tags -----------------------------------------------------------------------------------------


def check_resources(caller: Caller, region: str, ids: list[str]) -> Any:
    """A shared snapshot may be tagged too: with tags that only the tagging account sees."""
    state = backend(caller.account, region)
    if not ids:
        raise AwsError("MissingParameter", "The request must contain the parameter resourceIdSet")
    for each in ids:
        if each.startswith("snap-"):
            if visible(caller.account, region, each) is None:
                own(state, each)
        else:
            state.do_resources_exist([each])
    return state


def create_tags(caller: Caller, region: str, p: Params) -> Result:
    ids, tags = p.items("ResourceId"), {k: v or "" for k, v in p.tags()}
    check_tags(tags)
    with LOCK:
        state = check_resources(caller, region, ids)
        p.refuse_dry_run()
        for each in ids:
            mine = {k for k in {**state.tags.get(each, {}), **tags} if not k.startswith("aws:")}
            if len(mine) > 50:
                raise AwsError(
                    "TagLimitExceeded", "The maximum number of Tags for a resource has been reached."
                )
        for each in ids:
            state.tags[each].update(tags)
    return answer("CreateTags", {"return": True})


def delete_tags(caller: Caller, region: str, p: Params) -> Result:
    ids, tags = p.items("ResourceId"), p.tags()
    with LOCK:
        state = check_resources(caller, region, ids)
        p.refuse_dry_run()
        for each in ids:
            held = state.tags[each]
            for key in [k for k in held if not k.startswith("aws:")] if not tags else [k for k, _ in tags]:
                value = dict(tags).get(key)
                if value is None or held.get(key) == value:
                    held.pop(key, None)
    return answer("DeleteTags", {"return": True})


# ---- settings -------------------------------------------------------------------------------------


def get_ebs_encryption_by_default(caller: Caller, region: str, p: Params) -> Result:
    state = backend(caller.account, region)
    return answer(
        "GetEbsEncryptionByDefault", {"ebsEncryptionByDefault": bool(state.ebs_encryption_by_default)}
    )


def get_ebs_default_kms_key_id(caller: Caller, region: str, p: Params) -> Result:
    with LOCK:
        return answer("GetEbsDefaultKmsKeyId", {"kmsKeyId": keys.default_key(caller.account, region)})


def reset_ebs_default_kms_key_id(caller: Caller, region: str, p: Params) -> Result:
    with LOCK:
        arn = backend(caller.account, region)._create_default_encryption_key()
    return answer("ResetEbsDefaultKmsKeyId", {"kmsKeyId": arn})


def get_snapshot_block_public_access_state(caller: Caller, region: str, p: Params) -> Result:
    return answer("GetSnapshotBlockPublicAccessState", {"state": "unblocked"})


ACTIONS = {
    "CreateTags": create_tags,
    "DeleteTags": delete_tags,
    "DescribeLockedSnapshots": describe_locked_snapshots,
    "DescribeSnapshotTierStatus": describe_snapshot_tier_status,
    "GetEbsDefaultKmsKeyId": get_ebs_default_kms_key_id,
    "GetEbsEncryptionByDefault": get_ebs_encryption_by_default,
    "GetSnapshotBlockPublicAccessState": get_snapshot_block_public_access_state,
    "LockSnapshot": lock_snapshot,
    "ModifySnapshotTier": modify_snapshot_tier,
    "ResetEbsDefaultKmsKeyId": reset_ebs_default_kms_key_id,
    "RestoreSnapshotTier": restore_snapshot_tier,
    "UnlockSnapshot": unlock_snapshot,
}
