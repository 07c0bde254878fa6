"""What services ask a role's own policies: where knob `identity_policies` is on, or a function calls (`proof`).

EC2 asks once for every resource of a call, and once more for tags that are made with it. The table of that is
from the Service Authorization Reference; actions that are not in it are asked for resource `*`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from moto.ssm import ssm_backends

from . import documents, keys
from .calls import Call
from .errors import AwsError
from .organizations import parent_arn
from .policy import Context
from .query import Params, timestamp
from .roles import denial, may
from .snapshots import visible
from .world import KNOBS, LOCK, Caller, backend, partition

Asked = tuple[str, str, Context]  # action, resource, what is known of it


def authorize(call: Call, caller: Caller) -> None:
    if not caller.actor and not (KNOBS["identity_policies"] and caller.role_arn):
        return
    with LOCK:
        for action, resource, context in SERVICES.get(call.service, by_name)(call, caller):
            if not may(caller, action, resource, {"aws:RequestedRegion": call.region, **context}):
                raise refusal(call, denial(caller, action, resource))


def refusal(call: Call, message: str) -> AwsError:
    if call.service == "ec2":
        text = f"You are not authorized to perform this operation. {message}"
        return AwsError("UnauthorizedOperation", text)
    return AwsError("AccessDenied" if call.protocol == "query" else "AccessDeniedException", message)


# ---- other services -------------------------------------------------------------------------------


def by_name(call: Call, caller: Caller) -> Iterator[Asked]:
    yield f"{call.service}:{call.action}", "*", {}


def nothing(call: Call, caller: Caller) -> Iterator[Asked]:
    """AssumeRole asks when it knows the role, and GetCallerIdentity never."""
    yield from ()


def of_keys(call: Call, caller: Caller) -> Iterator[Asked]:
    """A call of the caller's own, not of a service in its name. DescribeKey asks when it knows the key."""
    if call.action == "DescribeKey":
        return
    key = keys.find(caller.account, call.region, call.params.get("KeyId") or "")
    if key is None:
        yield from by_name(call, caller)
    else:
        context = {"kms:CallerAccount": caller.account, "aws:ResourceAccount": key.account_id}
        if call.action == "CreateGrant":
            context["kms:GrantIsForAWSResource"] = "false"
        named = call.params.get("EncryptionContext") or {}
        context |= {f"kms:EncryptionContext:{name}": value for name, value in named.items()}
        yield f"kms:{call.action}", key.arn, context


def of_systems_manager(call: Call, caller: Caller) -> Iterator[Asked]:
    """SendCommand asks for the document and for every instance."""
    if call.action != "SendCommand":
        yield from of_parameters(call, caller)
        return
    name = call.params.get("DocumentName") or ""
    tags = documents.tags_of(caller.account, call.region, name)
    yield "ssm:SendCommand", documents.arn_of(caller.account, call.region, name), tagged(tags)
    place = Place(caller, call.region)
    for instance in call.params.get("InstanceIds") or []:
        if place.instance(instance):
            tags = place.state.tags.get(instance) or {}
            yield "ssm:SendCommand", place.arn("instance", instance), tagged(tags)


def tagged(tags: dict[str, str]) -> Context:
    names = ("aws:ResourceTag", "ssm:resourceTag")
    return {f"{name}/{key}": value for key, value in tags.items() for name in names}


def of_parameters(call: Call, caller: Caller) -> Iterator[Asked]:
    """The path as it was asked for; and what Systems Manager decrypts in the name of whoever asks. `aws/ssm` is
    for all of its account."""
    if call.action != "GetParametersByPath":
        yield from by_name(call, caller)
        return
    path, account, region = call.params.get("Path") or "", caller.account, call.region
    yield "ssm:GetParametersByPath", f"arn:{partition(region)}:ssm:{region}:{account}:parameter{path}", {}
    if not call.params.get("WithDecryption"):
        return
    for name, versions in list(ssm_backends[account][region]._parameters.items()):
        named = versions[-1].keyid or ""
        key = None if named == "alias/aws/ssm" else keys.find(account, region, named)
        if name.startswith(path.rstrip("/") + "/") and key is not None:
            arn = f"arn:{partition(region)}:ssm:{region}:{account}:parameter{name}"
            context = {
                "kms:CallerAccount": account,
                "kms:EncryptionContext:PARAMETER_ARN": arn,
                "kms:ViaService": f"ssm.{region}.amazonaws.com",
            }
            yield "kms:Decrypt", key.arn, context


def of_organizations(call: Call, caller: Caller) -> Iterator[Asked]:
    """Lists below a parent are asked for the parent."""
    parent = call.params.get("ParentId")
    yield f"organizations:{call.action}", parent and parent_arn(caller.account, parent) or "*", {}


def of_backup(call: Call, caller: Caller) -> Iterator[Asked]:
    """A job is asked for its vault; and whoever starts it hands a role to AWS Backup."""
    if call.action != "StartBackupJob":
        yield from by_name(call, caller)
        return
    vault = f"backup:{call.region}:{caller.account}:backup-vault:{call.params.get('BackupVaultName')}"
    yield "backup:StartBackupJob", f"arn:{partition(call.region)}:{vault}", {}
    if role := call.params.get("IamRoleArn"):
        yield "iam:PassRole", role, {"iam:PassedToService": "backup.amazonaws.com"}


# ---- EC2 ------------------------------------------------------------------------------------------


def of_ec2(call: Call, caller: Caller) -> Iterator[Asked]:
    ask = ASKS.get(call.action, anything)
    for action, resource, context in ask(call.action, Place(caller, call.region), Params(call.params)):
        yield f"ec2:{action}", resource, {"ec2:Region": call.region, **context}


class Place:
    """The caller's part of EC2, and how its resources are named and described. What is not there is left out:
    the call itself says so."""

    def __init__(self, caller: Caller, region: str):
        self.account, self.region = caller.account, region
        self.state = backend(caller.account, region)

    def arn(self, kind: str, name: str, region: str | None = None) -> str:
        account = "" if kind == "snapshot" else self.account
        region = region or self.region
        return f"arn:{partition(region)}:ec2:{region}:{account}:{kind}/{name}"

    def tags_of(self, name: str) -> Context:
        held = (self.state.tags.get(name) or {}).items()
        return {f"{service}:ResourceTag/{k}": v for k, v in held for service in ("aws", "ec2")}

    def snapshot(
        self, name: str, region: str | None = None, tagged: bool = True
    ) -> list[tuple[str, Context]]:
        found = visible(self.account, region or self.region, name)
        if found is None:
            return []
        context = {
            "ec2:Encrypted": str(found.encrypted).lower(),
            "ec2:Owner": found.owner_id,
            "ec2:ParentVolume": self.arn("volume", found.volume_id, region),
            "ec2:SnapshotID": found.id,
            "ec2:SnapshotTime": timestamp(found.start_time),
            "ec2:VolumeSize": str(found.size),
        }
        return [(self.arn("snapshot", name, region), {**context, **(self.tags_of(name) if tagged else {})})]

    def volume(self, name: str) -> list[tuple[str, Context]]:
        found = self.state.volumes.get(name)
        if found is None:
            return []
        context = {
            "ec2:AvailabilityZone": found.availability_zone,
            "ec2:Encrypted": str(bool(found.encrypted)).lower(),
            "ec2:VolumeID": found.id,
            "ec2:VolumeSize": str(found.size),
            "ec2:VolumeType": found.volume_type,
        }
        return [(self.arn("volume", name), {**context, **self.tags_of(name)})]

    def instance(self, name: str) -> list[tuple[str, Context]]:
        found = next((i for i in self.state.all_instances() if i.id == name), None)
        if found is None:
            return []
        context = {
            "ec2:AvailabilityZone": found.availability_zone,
            "ec2:InstanceID": found.id,
            "ec2:InstanceType": found.instance_type,
        }
        return [(self.arn("instance", name), {**context, **self.tags_of(name)})]

    def any(self, name: str) -> list[tuple[str, Context]]:
        kinds = {"snap-": self.snapshot, "vol-": self.volume, "i-": self.instance}
        kind = next((f for prefix, f in kinds.items() if name.startswith(prefix)), None)
        return kind(name) if kind else [("*", {})]


def requested(tags: dict[str, str]) -> Context:
    """Of tags in the request; nothing where there are none."""
    each = {f"aws:RequestTag/{k}": v for k, v in tags.items()}
    return {**each, "aws:TagKeys": list(tags)} if tags else {}


def anything(action: str, place: Place, p: Params) -> Iterator[Asked]:
    yield action, "*", {}


def made_with_tags(action: str, place: Place, tags: dict[str, str], copied: bool = False) -> Iterator[Asked]:
    if tags or copied:
        yield "CreateTags", place.arn("snapshot", "*"), {**requested(tags), "ec2:CreateAction": action}


def create_snapshot(action: str, place: Place, p: Params) -> Iterator[Asked]:
    tags, volume = p.tag_specification("snapshot"), p.get("VolumeId") or ""
    for arn, context in place.volume(volume):
        yield action, arn, context
        more = {"ec2:ParentVolume": arn, "ec2:VolumeSize": context["ec2:VolumeSize"]}
        yield action, place.arn("snapshot", "*"), {**requested(tags), **more}
    yield from made_with_tags(action, place, tags)


def create_snapshots(action: str, place: Place, p: Params) -> Iterator[Asked]:
    """The instance, and all its volumes that are not excluded, each with its new snapshot."""
    tags, spec = p.tag_specification("snapshot"), p.structure("InstanceSpecification")
    name, excluded = spec.get("InstanceId", ""), p.items("ExcludeDataVolumeId", spec)
    for arn, context in place.instance(name):
        yield action, arn, context
        instance = place.state.get_instance(name)
        without_boot = str(spec.get("ExcludeBootVolume", "")).lower() == "true"
        for device, mapping in instance.get_block_device_mapping:
            if mapping.volume_id in excluded or (without_boot and device == instance.root_device_name):
                continue
            for volume, known in place.volume(mapping.volume_id):
                yield action, volume, known
                more = {"ec2:ParentVolume": volume, "ec2:VolumeSize": known["ec2:VolumeSize"]}
                yield action, place.arn("snapshot", "*"), {**requested(tags), **more}
    yield from made_with_tags(action, place, tags, copied=bool(p.get("CopyTagsFromSource")))


def copy_snapshot(action: str, place: Place, p: Params) -> Iterator[Asked]:
    """The source has no `aws:ResourceTag`; the new one is literally `snapshot/*`."""
    tags = p.tag_specification("snapshot")
    for arn, context in place.snapshot(p.get("SourceSnapshotId") or "", p.get("SourceRegion"), tagged=False):
        yield action, arn, context
    yield action, place.arn("snapshot", "*"), requested(tags)
    yield from made_with_tags(action, place, tags)


def one_snapshot(*keys: tuple[str, str]) -> Callable[[str, Place, Params], Iterator[Asked]]:
    """Of a call that changes one snapshot; `keys`: condition keys and the parameters they are."""

    def ask(action: str, place: Place, p: Params) -> Iterator[Asked]:
        more = {key: p.get(parameter) for key, parameter in keys if p.get(parameter)}
        for arn, context in place.snapshot(p.get("SnapshotId") or ""):
            yield action, arn, {**context, **more}

    return ask


def fast_restores(action: str, place: Place, p: Params) -> Iterator[Asked]:
    for name in p.items("SourceSnapshotId"):
        for arn, context in place.snapshot(name):
            yield action, arn, context


def attribute(action: str, place: Place, p: Params) -> Iterator[Asked]:
    """Once for every account or group that is added or removed."""
    permission, operation = p.structure("CreateVolumePermission"), (p.get("OperationType") or "").title()
    changes = [
        (f"ec2:{what}/{member[:1].lower()}{member[1:]}", value)
        for what in ("Add", "Remove")
        for entry in p.items(what, permission)
        for member, value in entry.items()
    ]
    changes += [(f"ec2:{operation}/userId", value) for value in p.items("UserId")]
    changes += [(f"ec2:{operation}/group", value) for value in p.items("UserGroup")]
    for arn, context in place.snapshot(p.get("SnapshotId") or ""):
        for key, value in changes or [("ec2:Attribute", "createVolumePermission")]:
            yield action, arn, {**context, "ec2:Attribute": "createVolumePermission", key: value}


def tagging(action: str, place: Place, p: Params) -> Iterator[Asked]:
    tags = {k: v or "" for k, v in p.tags()}
    for name in p.items("ResourceId"):
        for arn, context in place.any(name):
            yield action, arn, {**context, **requested(tags)}


ASKS: dict[str, Callable[[str, Place, Params], Iterator[Asked]]] = {
    "CopySnapshot": copy_snapshot,
    "CreateSnapshot": create_snapshot,
    "CreateSnapshots": create_snapshots,
    "CreateTags": tagging,
    "DeleteSnapshot": one_snapshot(),
    "DeleteTags": tagging,
    "DescribeSnapshotAttribute": one_snapshot(),
    "DisableFastSnapshotRestores": fast_restores,
    "EnableFastSnapshotRestores": fast_restores,
    "LockSnapshot": one_snapshot(
        ("ec2:SnapshotLockDuration", "LockDuration"), ("ec2:SnapshotCoolOffPeriod", "CoolOffPeriod")
    ),
    "ModifySnapshotAttribute": attribute,
    "ModifySnapshotTier": one_snapshot(),
    "ResetSnapshotAttribute": one_snapshot(),
    "RestoreSnapshotTier": one_snapshot(),
    "UnlockSnapshot": one_snapshot(),
}

SERVICES: dict[str, Callable[[Call, Caller], Iterator[Asked]]] = {
    "backup": of_backup,
    "ec2": of_ec2,
    "kms": of_keys,
    "organizations": of_organizations,
    "ssm": of_systems_manager,
    "sts": nothing,
}
