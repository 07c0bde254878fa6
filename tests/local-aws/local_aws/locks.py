"""Snapshot locks, tags and EBS's account settings."""

from __future__ import annotations

import datetime as dt
from typing import Any

from . import keys
from .describe import compile_filters, page
from .errors import AwsError
from .query import Params, answer, check_tags
from .snapshots import Result, own, start_lock, visible
from .world import LOCK, Caller, backend, now

# ---- locks ----------------------------------------------------------------------------------------


def lock_snapshot(caller: Caller, region: str, p: Params) -> Result:
    mode, days, cool = p.need("LockMode"), p.number("LockDuration"), p.number("CoolOffPeriod")
    expires = p.time("ExpirationDate")
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
        if snapshot.status == "error":
            raise AwsError("IncorrectState", f"The snapshot '{snapshot.id}' is in error.")
        if expires is not None and expires <= at:
            raise AwsError("InvalidParameterValue", "ExpirationDate must be in the future")
        old = snapshot.lock
        if old and lock_state(old) == "compliance":
            ends = old.get("lockExpiresOn") or at + dt.timedelta(days=old["lockDuration"])
            if mode != "compliance" or cool or (expires or at + dt.timedelta(days=days)) < ends:
                raise AwsError(
                    "OperationNotPermitted",
                    f"The snapshot '{snapshot.id}' is locked in compliance mode: it can only be extended.",
                )
        lock = {
            "mode": mode,
            "lockDuration": days or max(1, (expires - at).days),
            "lockCreatedOn": at,
        }
        if expires is not None:
            lock |= {"lockDurationStartTime": at, "lockExpiresOn": expires}
        if cool:
            lock |= {"coolOffPeriod": cool, "coolOffPeriodExpiresOn": at + dt.timedelta(hours=cool)}
        snapshot.lock = lock
        if expires is None and snapshot.status == "completed":
            start_lock(snapshot)  # that of a pending one starts when it is complete
    return answer("LockSnapshot", lock_view(snapshot))


def lock_state(lock: dict[str, Any]) -> str:
    if "lockExpiresOn" in lock and lock["lockExpiresOn"] <= now():
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
        backend(caller.account, region).default_kms_key_id = ""
        arn = keys.default_key(caller.account, region)
    return answer("ResetEbsDefaultKmsKeyId", {"kmsKeyId": arn})


def get_snapshot_block_public_access_state(caller: Caller, region: str, p: Params) -> Result:
    return answer("GetSnapshotBlockPublicAccessState", {"state": "unblocked"})


ACTIONS = {
    "CreateTags": create_tags,
    "DeleteTags": delete_tags,
    "DescribeLockedSnapshots": describe_locked_snapshots,
    "GetEbsDefaultKmsKeyId": get_ebs_default_kms_key_id,
    "GetEbsEncryptionByDefault": get_ebs_encryption_by_default,
    "GetSnapshotBlockPublicAccessState": get_snapshot_block_public_access_state,
    "LockSnapshot": lock_snapshot,
    "ResetEbsDefaultKmsKeyId": reset_ebs_default_kms_key_id,
    "UnlockSnapshot": unlock_snapshot,
}
