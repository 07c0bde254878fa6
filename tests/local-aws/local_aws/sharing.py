"""Sharing snapshots with other accounts."""

from __future__ import annotations

import re

from . import keys, restores
from .errors import AwsError
from .events import emit_snapshot
from .query import Params, answer
from .snapshots import Result, Snapshot, own
from .world import LOCK, Caller, backend


def modify_snapshot_attribute(caller: Caller, region: str, p: Params) -> Result:
    state = backend(caller.account, region)
    permission = p.structure("CreateVolumePermission")
    add, remove = p.items("Add", permission), p.items("Remove", permission)
    flat = [{"UserId": u} for u in p.items("UserId")] + [{"Group": g} for g in p.items("UserGroup")]
    operation = p.get("OperationType")
    if flat and operation not in ("add", "remove"):
        raise AwsError(
            "InvalidParameterValue", f"Value ({operation}) for parameter operationType is invalid."
        )
    add += flat if operation == "add" else []
    remove += flat if operation == "remove" else []
    if add and remove:
        raise AwsError("InvalidParameterCombination", "Only one of add or remove may be given")
    if len(add + remove) > 500:
        raise AwsError("InvalidParameterValue", "No more than 500 modifications may be given")
    for entry in add + remove:
        if "UserId" in entry and not re.fullmatch(r"\d{12}", entry["UserId"]):
            raise AwsError(
                "InvalidAMIAttributeItemValue",
                f'Invalid attribute item value "{entry["UserId"]}" for userId item type.',
            )
        if entry.get("Group", "all") != "all":
            raise AwsError(
                "InvalidAMIAttributeItemValue",
                f'Invalid attribute item value "{entry["Group"]}" for userGroup item type.',
            )
    with LOCK:
        snapshot = own(state, p.need("SnapshotId"))
        p.refuse_dry_run()
        if add and snapshot.archived:
            raise AwsError("IncorrectState", f"The snapshot '{snapshot.id}' is archived.")
        if add and snapshot.encrypted and keys.aws_managed(snapshot.kms_key_id):
            raise AwsError(
                "OperationNotPermitted", "Encrypted snapshots with EBS default key cannot be shared"
            )
        if snapshot.encrypted and any("Group" in entry for entry in add):
            raise AwsError("OperationNotPermitted", "Encrypted snapshots cannot be shared publicly")
        new = {e["UserId"] for e in add if "UserId" in e} - snapshot.shared_users - {caller.account}
        snapshot.shared_users |= new
        snapshot.shared_groups |= {e["Group"] for e in add if "Group" in e}
        before = set(snapshot.shared_users)
        snapshot.shared_users -= {e["UserId"] for e in remove if "UserId" in e}
        snapshot.shared_groups -= {e["Group"] for e in remove if "Group" in e}
        unshare(snapshot, before)
    for account in sorted(new):
        emit_snapshot(account, region, "shareSnapshot", snapshot, caller.account)
    return answer("ModifySnapshotAttribute", {"return": True})


def unshare(snapshot: Snapshot, before: set[str]) -> None:
    """Whoever can no longer see the snapshot has no fast restores of it either."""
    lost = {account for account in before if not snapshot.visible_to(account)}
    if lost:
        restores.end(snapshot, lost)


def reset_snapshot_attribute(caller: Caller, region: str, p: Params) -> Result:
    with LOCK:
        snapshot = own(backend(caller.account, region), p.need("SnapshotId"))
        p.refuse_dry_run()
        before, snapshot.shared_users, snapshot.shared_groups = snapshot.shared_users, set(), set()
        unshare(snapshot, before)
    return answer("ResetSnapshotAttribute", {"return": True})


def describe_snapshot_attribute(caller: Caller, region: str, p: Params) -> Result:
    snapshot = own(backend(caller.account, region), p.need("SnapshotId"))
    rows = [{"group": g} for g in sorted(snapshot.shared_groups)] + [
        {"userId": u} for u in sorted(snapshot.shared_users)
    ]
    return answer("DescribeSnapshotAttribute", {"snapshotId": snapshot.id, "createVolumePermission": rows})


ACTIONS = {
    "DescribeSnapshotAttribute": describe_snapshot_attribute,
    "ModifySnapshotAttribute": modify_snapshot_attribute,
    "ResetSnapshotAttribute": reset_snapshot_attribute,
}
