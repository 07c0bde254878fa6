"""EBS snapshots: what they are, how they are made and deleted. See also `copies` and `sharing`."""

from __future__ import annotations

import datetime as dt
import re
import time
from typing import Any

from moto.ec2.models import elastic_block_store as ebs

from . import agents, keys
from .errors import AwsError
from .events import emit_snapshot, snapshot_arn, volume_arn
from .query import Params, answer, check_tags, tag_set
from .world import KNOBS, LOCK, TIMERS, Caller, backend, backends, naive, now, random_id

Result = tuple[int, dict[str, str], bytes]
INFO = {
    "description",
    "encrypted",
    "ownerId",
    "progress",
    "snapshotId",
    "startTime",
    "state",
    "tagSet",
    "volumeId",
    "volumeSize",
}  # of a snapshot in CreateSnapshots' answer
LONG_AGO = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)
FOREVER = dt.datetime.max.replace(tzinfo=dt.timezone.utc)


class Snapshot:
    """One snapshot. Its tags are in the EC2 state of whoever looks: each account has its own."""

    def __init__(
        self,
        state: Any,
        volume_id: str,
        size: int,
        description: str = "",
        kms_key_id: str | None = None,
        seconds: float = 0.0,
    ):
        self.id = random_id("snap")
        self.ec2_backend = state
        self.owner_id = state.account_id
        self.region = state.region_name
        self.volume_id = volume_id
        self.size = self.volume_size = size
        self.description = description
        self.encrypted = kms_key_id is not None
        self.kms_key_id = kms_key_id
        self.start_time = now()
        self.ready_at = time.time() + seconds if seconds >= 0 else float("inf")
        self.completed_at: dt.datetime | None = None
        self.source: tuple[str, str] | None = None  # (Region, id) of what it is a copy of
        self.transfer: dict[str, Any] = {}
        self.lineage = volume_id  # of a copy, too, the volume that it was first made of
        self.incremental = False  # of a copy: no full one
        self.failure: str | None = None  # how it will end, if not well
        self.frozen: bool | None = None  # whether its instance's application was; None: there is none
        self.seeded = False  # past every API: does not count as a call
        self.forced: str | None = None
        self.message: str | None = None
        self.announced = False
        self.shared_users: set[str] = set()
        self.shared_groups: set[str] = set()
        self.lock: dict[str, Any] | None = None
        self.storage_tier = "standard"
        self.tier: dict[str, Any] = {}

    @property
    def status(self) -> str:
        if self.forced:
            return self.forced
        if time.time() < self.ready_at:
            return "pending"
        return "error" if self.failure else "completed"

    @property
    def state_message(self) -> str | None:
        return self.message or (self.failure if self.status == "error" else None)

    @property
    def progress(self) -> str:
        return "100%" if self.status == "completed" else "0%"

    @property
    def copied(self) -> bool:
        return self.source is not None

    @property
    def archived(self) -> bool:
        return self.storage_tier == "archive"

    @property
    def locked(self) -> bool:
        """Also one whose lock will only begin to run out when the snapshot is complete."""
        return bool(self.lock) and self.lock.get("lockExpiresOn", FOREVER) > now()

    @property
    def volume(self) -> Snapshot:
        return self  # moto asks for snapshot.volume.size and .encrypted

    def visible_to(self, account: str) -> bool:
        return account == self.owner_id or account in self.shared_users or "all" in self.shared_groups

    def tags(self, viewer: Any) -> dict[str, str]:
        """`viewer`: the EC2 state of the account that looks, in this Region."""
        return viewer.tags.get(self.id) or {}

    def get_tags(self) -> list[dict[str, str]]:
        return [{"key": k, "value": v} for k, v in self.tags(self.ec2_backend).items()]

    def add_tags(self, tags: dict[str, str]) -> None:
        self.ec2_backend.tags[self.id].update(tags)

    def announce(self) -> None:
        """Tells EventBridge how it ended, once."""
        status = self.status
        if (
            self.announced
            or status not in ("completed", "error")
            or self.ec2_backend.snapshots.get(self.id) is not self
        ):
            return
        self.announced = True
        self.completed_at = now()
        if self.lock and "lockExpiresOn" not in self.lock:
            if status == "completed":
                start_lock(self)
            else:
                self.lock = None
        cause = (self.state_message or "failed") if status == "error" else ""
        if self.source:
            origin = snapshot_arn(*self.source)
            emit_snapshot(
                self.owner_id,
                self.region,
                "copySnapshot",
                self,
                origin,
                cause,
                incremental=str(self.incremental).lower(),
                transferType=self.transfer.get("type", "standard"),
            )
        else:
            emit_snapshot(
                self.owner_id,
                self.region,
                "createSnapshot",
                self,
                volume_arn(self.region, self.volume_id),
                cause,
            )


def keep(snapshot: Snapshot, tags: dict[str, str]) -> Snapshot:
    """From here on it exists."""
    state = snapshot.ec2_backend
    state.snapshots[snapshot.id] = snapshot
    if tags:
        snapshot.add_tags(tags)
    if snapshot.ready_at != float("inf"):
        TIMERS.at(snapshot.ready_at + 0.005, snapshot.announce)
    return snapshot


def start_lock(snapshot: Snapshot) -> None:
    """The lock's duration runs from now on."""
    days = dt.timedelta(days=snapshot.lock["lockDuration"])
    snapshot.lock |= {"lockDurationStartTime": now(), "lockExpiresOn": now() + days}


def own(state: Any, snapshot_id: str) -> Snapshot:
    check_ids([snapshot_id])
    found = state.snapshots.get(snapshot_id)
    if found is None:
        raise not_found(snapshot_id)
    return found


def not_found(snapshot_id: str) -> AwsError:
    return AwsError("InvalidSnapshot.NotFound", f"The snapshot '{snapshot_id}' does not exist.")


def check_ids(ids: list[str], prefix: str = "snap", code: str = "InvalidSnapshotID.Malformed") -> None:
    for each in ids:
        if not re.fullmatch(prefix + r"-([0-9a-f]{8}|[0-9a-f]{17})", each):
            raise AwsError(code, f'Invalid id: "{each}"')


def visible(account: str, region: str, snapshot_id: str) -> Snapshot | None:
    """The snapshot, if `account` may see it."""
    for state in backends(region):
        found = state.snapshots.get(snapshot_id)
        if found is not None and found.visible_to(account):
            return found
    return None


# ---- create ---------------------------------------------------------------------------------------


def find_volume(state: Any, volume_id: str) -> Any:
    check_ids([volume_id], "vol", "InvalidVolumeID.Malformed")
    volume = state.volumes.get(volume_id)
    if volume is None:
        raise AwsError("InvalidVolume.NotFound", f"The volume '{volume_id}' does not exist.")
    return volume


def check_rates(state: Any, volume_ids: list[str]) -> None:
    rate, limit = KNOBS["snapshot_rate_seconds"], KNOBS["concurrent_snapshots"]
    if not rate and not limit:
        return
    for volume_id in volume_ids:
        mine = [s for s in state.snapshots.values() if s.volume_id == volume_id and not s.copied]
        last = [s.start_time for s in mine if not s.seeded] + [deleted_of(state).get(volume_id, LONG_AGO)]
        if rate and (now() - max(last)).total_seconds() < rate:
            raise AwsError(
                "SnapshotCreationPerVolumeRateExceeded",
                "The maximum per volume CreateSnapshot request rate has been exceeded. Use an increasing "
                "or variable sleep interval between requests.",
            )
        most = min(limit, 1) if state.volumes[volume_id].volume_type in ("st1", "sc1") else limit
        if most and sum(s.status in ("pending", "error") for s in mine) >= most:
            raise AwsError(
                "ConcurrentSnapshotLimitExceeded",
                f"Maximum allowed in-progress snapshots for a single volume exceeded: {most}",
            )


def deleted_of(state: Any) -> dict[str, dt.datetime]:
    """When the last of a volume's deleted snapshots was made: deleting it does not allow the next one."""
    return state.__dict__.setdefault("deleted_snapshots", {})


def snapshot_of(state: Any, volume: Any, description: str, tags: dict[str, str]) -> Snapshot:
    key = volume.kms_key_id if volume.encrypted else None
    made = Snapshot(state, volume.id, volume.size, description, key, KNOBS["snapshot_seconds"])
    made.frozen = agents.is_frozen([a.instance.id for a in volume.attachments])
    return keep(made, tags)


def create_snapshot(caller: Caller, region: str, p: Params) -> Result:
    state, tags = backend(caller.account, region), p.tag_specification("snapshot")
    check_description(p)
    with LOCK:
        volume = find_volume(state, p.need("VolumeId"))
        p.refuse_dry_run()
        check_rates(state, [volume.id])
        made = snapshot_of(state, volume, p.get("Description") or "", tags)
    return answer("CreateSnapshot", view(made, state))


def create_snapshots(caller: Caller, region: str, p: Params) -> Result:
    state, tags = backend(caller.account, region), p.tag_specification("snapshot")
    check_description(p)
    spec = p.structure("InstanceSpecification")
    instance_id = p.need("InstanceSpecification.InstanceId")
    without_boot = str(spec.get("ExcludeBootVolume", "")).lower() == "true"
    excluded = set(p.items("ExcludeDataVolumeId", spec))
    check_ids([instance_id], "i", "InvalidInstanceID.Malformed")
    check_ids(sorted(excluded), "vol", "InvalidVolumeID.Malformed")
    if len(excluded) > 40:
        raise AwsError("InvalidParameterValue", "No more than 40 data volumes can be excluded.")
    if p.get("CopyTagsFromSource", "volume") != "volume":
        raise AwsError(
            "InvalidParameterValue",
            f"Value ({p.get('CopyTagsFromSource')}) for parameter copyTagsFromSource is invalid.",
        )
    with LOCK:
        instance = state.get_instance(instance_id)
        p.refuse_dry_run()
        if instance.state == "terminated":
            raise AwsError("IncorrectInstanceState", f"The instance '{instance.id}' is terminated.")
        attached = [(device, m.volume_id) for device, m in instance.get_block_device_mapping]
        unknown = excluded - {v for d, v in attached if d != instance.root_device_name}
        if unknown:
            raise AwsError(
                "InvalidParameterValue", f"Not a data volume of {instance.id}: {', '.join(sorted(unknown))}"
            )
        wanted = [
            v
            for d, v in attached
            if v not in excluded and not (without_boot and d == instance.root_device_name)
        ]
        if not wanted:
            raise AwsError("InvalidParameterCombination", "No volumes are left to snapshot")
        check_rates(state, wanted)
        all_tags = {}
        for volume_id in wanted:
            copied = {}
            if p.get("CopyTagsFromSource") == "volume":
                copied = {k: v for k, v in state.tags.get(volume_id, {}).items() if not k.startswith("aws:")}
            all_tags[volume_id] = {**copied, **tags}
            check_tags(all_tags[volume_id])
        description = p.get("Description") or ""
        made = [snapshot_of(state, state.volumes[v], description, all_tags[v]) for v in wanted]
        for each in made:
            each.start_time = made[0].start_time
        rows = [info(view(each, state)) for each in made]
    return answer("CreateSnapshots", {"snapshotSet": rows})


def info(row: dict[str, Any]) -> dict[str, Any]:
    """The members of EC2's SnapshotInfo, which are fewer, and one has another name."""
    row = {"state" if k == "status" else k: v for k, v in row.items()}
    return {k: v for k, v in row.items() if k in INFO}


def check_description(p: Params) -> None:
    if len(p.get("Description") or "") > 255:
        raise AwsError(
            "InvalidParameterValue",
            "Character sets beyond ASCII are not supported, and the description "
            "must not exceed 255 characters.",
        )


# ---- delete ---------------------------------------------------------------------------------------


def delete_snapshot(caller: Caller, region: str, p: Params) -> Result:
    state = backend(caller.account, region)
    with LOCK:
        snapshot = own(state, p.need("SnapshotId"))
        p.refuse_dry_run()
        for image in images_of(snapshot):
            raise AwsError(
                "InvalidSnapshot.InUse", f"The snapshot {snapshot.id} is currently in use by {image.id}"
            )
        if snapshot.locked:
            raise AwsError("OperationNotPermitted", f"The snapshot '{snapshot.id}' is locked.")
        forget(snapshot)
    return answer("DeleteSnapshot", {"return": True})


def images_of(snapshot: Snapshot) -> list[Any]:
    """The images that are made of it."""
    return [
        image
        for image in list(snapshot.ec2_backend.amis.values())
        if any(m.get("Ebs", {}).get("SnapshotId") == snapshot.id for m in image.block_device_mappings)
    ]


def forget(snapshot: Snapshot) -> None:
    from . import restores  # which needs this module

    restores.end(snapshot)
    snapshot.ec2_backend.snapshots.pop(snapshot.id, None)
    if not snapshot.copied and not snapshot.seeded:
        deleted = deleted_of(snapshot.ec2_backend)
        last = deleted.get(snapshot.volume_id, LONG_AGO)
        deleted[snapshot.volume_id] = max(last, snapshot.start_time)
    for state in backends(snapshot.region):
        state.tags.pop(snapshot.id, None)


def view(snapshot: Snapshot, viewer: Any) -> dict[str, Any]:
    """The members of EC2's Snapshot as account `viewer` sees them."""
    status = snapshot.status
    row = {
        "snapshotId": snapshot.id,
        "volumeId": snapshot.volume_id,
        "status": status,
        "startTime": snapshot.start_time,
        "progress": snapshot.progress,
        "ownerId": snapshot.owner_id,
        "volumeSize": snapshot.size,
        "description": snapshot.description,
        "encrypted": snapshot.encrypted,
        "kmsKeyId": snapshot.kms_key_id,
        "storageTier": snapshot.storage_tier,
        "restoreExpiryTime": snapshot.tier.get("restoreExpiryTime"),
        "tagSet": tag_set(snapshot.tags(viewer)) or None,
    }
    if snapshot.state_message:
        row["statusMessage"] = snapshot.state_message
    if snapshot.copied:
        row["transferType"] = snapshot.transfer.get("type")
        row["completionDurationMinutes"] = snapshot.transfer.get("minutes")
    if status == "completed" and snapshot.completed_at:
        row["completionTime"] = snapshot.completed_at
    return row


def install() -> None:
    """moto makes snapshots too, for images; and its volumes follow EC2's default encryption."""

    def moto_create_snapshot(
        self: Any, volume_id: str, description: str, owner_id: str | None = None, from_ami: str | None = None
    ) -> Snapshot:
        made = snapshot_of(self, self.get_volume(volume_id), description or "", {})
        made.announced = from_ami is not None
        return made

    ebs.EBSBackend.create_snapshot = moto_create_snapshot
    create_volume = ebs.EBSBackend.create_volume

    def moto_create_volume(self: Any, *args: Any, **kwargs: Any) -> Any:
        if getattr(self, "ebs_encryption_by_default", False) and not kwargs.get("encrypted"):
            kwargs["encrypted"] = True
        if kwargs.get("kms_key_id"):
            found = keys.find(self.account_id, self.region_name, kwargs["kms_key_id"])
            kwargs["kms_key_id"] = found.arn if found else kwargs["kms_key_id"]
        volume = create_volume(self, *args, **kwargs)
        volume.create_time = naive(now())
        return volume

    ebs.EBSBackend.create_volume = moto_create_volume


ACTIONS = {
    "CreateSnapshot": create_snapshot,
    "CreateSnapshots": create_snapshots,
    "DeleteSnapshot": delete_snapshot,
}
