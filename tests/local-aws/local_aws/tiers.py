"""The archive: ModifySnapshotTier takes time, and may fail; what is archived is nobody else's any more."""

from __future__ import annotations

import datetime as dt
import time
from typing import Any

from . import restores
from .describe import compile_filters, page
from .errors import AwsError
from .query import Params, answer, tag_set
from .snapshots import Result, Snapshot, images_of, own
from .world import KNOBS, LOCK, TIMERS, Caller, backend, now, spend

IN_PROGRESS = "archival-in-progress"


def modify_snapshot_tier(caller: Caller, region: str, p: Params) -> Result:
    with LOCK:
        state = backend(caller.account, region)
        snapshot = own(state, p.need("SnapshotId"))
        if p.get("StorageTier", "archive") != "archive":
            raise AwsError(
                "InvalidParameterValue",
                f"Value ({p.get('StorageTier')}) for parameter storageTier is invalid.",
            )
        if snapshot.status != "completed" or snapshot.archived or operation(snapshot) == IN_PROGRESS:
            state_of = "archived" if snapshot.archived else operation(snapshot) or snapshot.status
            raise AwsError("IncorrectState", f"The snapshot '{snapshot.id}' is {state_of}.")
        for image in images_of(snapshot):
            if image.state != "disabled":
                raise AwsError(
                    "InvalidSnapshot.InUse", f"The snapshot {snapshot.id} is currently in use by {image.id}"
                )
        check_limit(state, snapshot)
        p.refuse_dry_run()
        archive(snapshot)
    return answer(
        "ModifySnapshotTier",
        {"snapshotId": snapshot.id, "tieringStartTime": snapshot.tier["lastTieringStartTime"]},
    )


def operation(snapshot: Snapshot) -> str | None:
    return snapshot.tier.get("lastTieringOperationStatus")


def check_limit(state: Any, snapshot: Snapshot) -> None:
    limit, others = KNOBS["archive_limit"], list(state.snapshots.values())
    if limit and sum(operation(s) == IN_PROGRESS for s in others) >= limit:
        raise AwsError("ResourceLimitExceeded", f"Too many archivings in progress. The limit is {limit}.")
    same = [s for s in others if s.archived and s.volume_id == snapshot.volume_id and not s.copied]
    if limit and len(same) >= limit:
        raise AwsError("ResourceLimitExceeded", f"Too many archived for a volume. The limit is {limit}.")


def archive(snapshot: Snapshot) -> None:
    """Begins; ends by itself, or with `finish`."""
    seconds, fails = KNOBS["archive_seconds"], spend("archive_failures")
    began = now()
    snapshot.tier = {
        "lastTieringStartTime": began,
        "lastTieringProgress": 0,
        "lastTieringOperationStatus": IN_PROGRESS,
    }

    def end() -> None:
        with LOCK:
            mine = snapshot.tier.get("lastTieringStartTime") == began and operation(snapshot) == IN_PROGRESS
            if mine and snapshot.ec2_backend.snapshots.get(snapshot.id) is snapshot:
                finish(snapshot, not fails)

    if seconds == 0:
        end()
    elif seconds > 0:
        TIMERS.at(time.time() + seconds, end)


def finish(snapshot: Snapshot, succeeded: bool) -> None:
    """The archiving under way ends, one way or the other."""
    at = now()
    if not succeeded:
        snapshot.tier |= {
            "lastTieringOperationStatus": "archival-failed",
            "lastTieringOperationStatusDetail": "The snapshot could not be archived.",
        }
        return
    snapshot.tier |= {
        "lastTieringProgress": 100,
        "lastTieringOperationStatus": "archival-completed",
        "archivalCompleteTime": at,
    }
    snapshot.storage_tier = "archive"
    snapshot.shared_users, snapshot.shared_groups = set(), set()
    restores.end(snapshot)


def restore_snapshot_tier(caller: Caller, region: str, p: Params) -> Result:
    days, permanent = p.number("TemporaryRestoreDays"), p.flag("PermanentRestore")
    with LOCK:
        snapshot = own(backend(caller.account, region), p.need("SnapshotId"))
        p.refuse_dry_run()
        if not snapshot.archived:
            raise AwsError("IncorrectState", f"The snapshot '{snapshot.id}' is not archived.")
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


FIELDS = {
    "last-tiering-operation": operation,
    "snapshot-id": lambda s: s.id,
    "volume-id": lambda s: s.volume_id,
}


def describe_snapshot_tier_status(caller: Caller, region: str, p: Params) -> Result:
    """All of the account's own snapshots, those that were never archived as well."""
    state = backend(caller.account, region)
    p.refuse_dry_run()
    tests = compile_filters(p.filters(), FIELDS, lambda s: s.tags(state))
    with LOCK:
        seen = list(state.snapshots.values())
        for test in tests:
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


ACTIONS = {
    "DescribeSnapshotTierStatus": describe_snapshot_tier_status,
    "ModifySnapshotTier": modify_snapshot_tier,
    "RestoreSnapshotTier": restore_snapshot_tier,
}
