"""Instances: DescribeInstances with filters and pages, root volumes, and volumes of several instances."""

from __future__ import annotations

from typing import Any

from moto.core.utils import utcnow
from moto.ec2.exceptions import InvalidVolumeAttachmentError, VolumeInUseError
from moto.ec2.models import elastic_block_store as ebs
from moto.ec2.models.block_device import BlockDeviceType
from moto.ec2.models.instances import Instance, InstanceBackend
from moto.iam.models import iam_backends

from .describe import compile_filters, page
from .errors import AwsError
from .query import Params, answer, tag_set, timestamp
from .snapshots import Result, check_ids
from .world import LOCK, Caller, backend, partition

ROOT = "/dev/sda1"  # where moto and EC2 have it, if no image says otherwise


def mappings(instance: Any) -> list[tuple[str, Any]]:
    return instance.get_block_device_mapping


FIELDS = {
    "architecture": lambda i: i.architecture,
    "availability-zone": lambda i: i.availability_zone,
    "block-device-mapping.attach-time": lambda i: [timestamp(m.attach_time) for _, m in mappings(i)],
    "block-device-mapping.delete-on-termination": lambda i: [
        str(bool(m.delete_on_termination)).lower() for _, m in mappings(i)
    ],
    "block-device-mapping.device-name": lambda i: [device for device, _ in mappings(i)],
    "block-device-mapping.status": lambda i: ["attached" for _ in mappings(i)],
    "block-device-mapping.volume-id": lambda i: [m.volume_id for _, m in mappings(i)],
    "iam-instance-profile.arn": lambda i: (i.iam_instance_profile or {}).get("Arn"),
    "image-id": lambda i: i.image_id,
    "instance-id": lambda i: i.id,
    "instance-state-code": lambda i: i.state_code,
    "instance-state-name": lambda i: i.state,
    "instance-type": lambda i: i.instance_type,
    "key-name": lambda i: i.key_name,
    "launch-time": lambda i: timestamp(i.launch_time),
    "owner-id": lambda i: i.owner_id,
    "platform": lambda i: i.platform,
    "private-ip-address": lambda i: i.private_ip,
    "root-device-name": lambda i: i.root_device_name,
    "root-device-type": lambda i: i.root_device_type,
    "subnet-id": lambda i: i.subnet_id,
    "virtualization-type": lambda i: i.virtualization_type,
    "vpc-id": lambda i: i.vpc_id,
}


def profiles_of(state: Any) -> list[Any]:
    """moto's instance profiles of an account."""
    return list(iam_backends[state.account_id][partition(state.region_name)].instance_profiles.values())


def profile_of(instance: Any) -> Any:
    """The instance profile that it runs with; None where it has none."""
    arn = (instance.iam_instance_profile or {}).get("Arn")
    return next((profile for profile in profiles_of(instance.ec2_backend) if profile.arn == arn), None)


def view(instance: Any, tags: dict[str, str]) -> dict[str, Any]:
    attached = [
        {
            "deviceName": device,
            "ebs": {
                "volumeId": m.volume_id,
                "status": "attached",
                "attachTime": m.attach_time,
                "deleteOnTermination": bool(m.delete_on_termination),
            },
        }
        for device, m in mappings(instance)
    ]
    gone = instance.state == "terminated"
    profile = profile_of(instance)
    return {
        "instanceId": instance.id,
        "imageId": instance.image_id,
        "instanceState": {"code": instance.state_code, "name": instance.state},
        "privateDnsName": "" if gone else instance.private_dns_name,
        "dnsName": "" if gone else instance.public_dns_name or "",
        "reason": instance.state_transition_reason or "",
        "keyName": instance.key_name,
        "amiLaunchIndex": instance.ami_launch_index,
        "productCodes": [],
        "instanceType": instance.instance_type,
        "launchTime": instance.launch_time,
        "placement": {
            "availabilityZone": instance.availability_zone,
            "groupName": "",
            "tenancy": "default",
        },
        "monitoring": {"state": instance.monitoring_state},
        "subnetId": None if gone else instance.subnet_id,
        "vpcId": None if gone else instance.vpc_id,
        "privateIpAddress": None if gone else instance.private_ip,
        "architecture": instance.architecture,
        "rootDeviceType": instance.root_device_type,
        "rootDeviceName": instance.root_device_name,
        "blockDeviceMapping": attached,
        "virtualizationType": "hvm",
        "iamInstanceProfile": profile and {"arn": profile.arn, "id": profile.id},
        "platform": instance.platform,
        "platformDetails": "Windows" if instance.platform == "windows" else "Linux/UNIX",
        "tagSet": tag_set(tags) or None,
        "hypervisor": "xen",
        "ebsOptimized": bool(instance.ebs_optimized),
        "sourceDestCheck": bool(instance.source_dest_check),
    }


def describe_instances(caller: Caller, region: str, p: Params) -> Result:
    state, ids = backend(caller.account, region), p.items("InstanceId")
    check_ids(ids, "i", "InvalidInstanceID.Malformed")
    p.refuse_dry_run()
    reservation: dict[str, Any] = {}

    def tags_of(instance: Any) -> dict[str, str]:
        return state.tags.get(instance.id) or {}

    fields = {**FIELDS, "reservation-id": lambda i: reservation[i.id].id}
    tests = compile_filters(p.filters(), fields, tags_of)
    with LOCK:
        reservation.update({i.id: r for r in state.reservations.values() for i in r.instances})
        seen = [i for r in state.reservations.values() for i in r.instances]
        unknown = [i for i in ids if i not in reservation]
        if unknown:
            what = f"ID '{unknown[0]}' does" if len(unknown) == 1 else f"IDs '{', '.join(unknown)}' do"
            raise AwsError("InvalidInstanceID.NotFound", f"The instance {what} not exist")
        if ids:
            seen = [i for i in seen if i.id in ids]
        for test in tests:
            seen = [i for i in seen if test(i)]
        shown, token = page(p, seen, ids, "instancesSet")
        rows: dict[str, dict[str, Any]] = {}
        for each in shown:
            of = reservation[each.id]
            empty = {"reservationId": of.id, "ownerId": of.owner_id or caller.account, "groupSet": []}
            row = rows.setdefault(of.id, {**empty, "instancesSet": []})
            row["instancesSet"].append(view(each, tags_of(each)))
    return answer("DescribeInstances", {"reservationSet": list(rows.values()), "nextToken": token})


# ---- attachments ----------------------------------------------------------------------------------


def attach(state: Any, volume: Any, instance: Any, device: str, goes_with_it: bool = False) -> Any:
    """Past every rule of the API."""
    made = ebs.VolumeAttachment(volume, instance, device, "attached")
    volume.__dict__.setdefault("attached", []).append(made)
    volume.attachment = volume.attached[0]
    instance.block_device_mapping[device] = BlockDeviceType(
        volume_id=volume.id,
        status="in-use",
        size=volume.size,
        attach_time=utcnow(),
        delete_on_termination=goes_with_it,
    )
    return made


def attach_volume(
    self: Any, volume_id: str, instance_id: str, device_path: str, delete_on_termination: bool = False
) -> Any:
    """Replaces moto's: only a Multi-Attach volume can be attached twice, and a device is taken once."""
    volume, instance = self.get_volume(volume_id), self.get_instance(instance_id)
    others = [a.instance for a in volume.attachments]
    if others and (not volume.multi_attach_enabled or instance in others):
        raise VolumeInUseError(volume_id, others[0].id)
    if device_path in instance.block_device_mapping:
        raise AwsError(
            "InvalidParameterValue",
            f"Invalid value '{device_path}' for unixDevice. Attachment point {device_path} is already in use",
        )
    if volume.availability_zone != instance.availability_zone:
        raise AwsError(
            "InvalidVolume.ZoneMismatch",
            f"The volume '{volume_id}' is not in the same availability zone as instance '{instance_id}'",
        )
    return attach(self, volume, instance, device_path, delete_on_termination)


def detach_volume(self: Any, volume_id: str, instance_id: str | None, device_path: str | None) -> Any:
    volume = self.get_volume(volume_id)
    mine = [a for a in volume.attachments if instance_id in (None, "", a.instance.id)]
    mine = [a for a in mine if device_path in (None, "", a.device)]
    if not mine:
        raise InvalidVolumeAttachmentError(volume_id, instance_id or "any instance")
    volume.attached.remove(mine[0])
    volume.attachment = volume.attached[0] if volume.attached else None
    mine[0].instance.block_device_mapping.pop(mine[0].device, None)
    mine[0].status = "detached"
    return mine[0]


def install() -> None:
    ebs.Volume.attachments = property(lambda self: list(self.__dict__.get("attached", [])))
    ebs.EBSBackend.attach_volume = attach_volume
    ebs.EBSBackend.detach_volume = detach_volume
    run = InstanceBackend.run_instances

    def run_instances(self: Any, image_id: str, count: int, *args: Any, **kwargs: Any) -> Any:
        """moto leaves out the root volume as soon as any other volume is named."""
        image = self.amis.get(image_id)
        root = (image and image.root_device_name) or ROOT
        named = kwargs.get("block_device_mappings")
        if named and root not in [m.get("DeviceName") for m in named]:
            own = {"DeviceName": root, "Ebs": {"VolumeSize": 8, "DeleteOnTermination": True}}
            kwargs["block_device_mappings"] = [own, *named]
        return run(self, image_id, count, *args, **kwargs)

    InstanceBackend.run_instances = run_instances

    def setup_defaults(self: Any) -> None:
        volume = self.ec2_backend.create_volume(size=8, zone_name=self.placement.zone)
        self.ec2_backend.attach_volume(volume.id, self.id, self.root_device_name or ROOT, True)

    Instance.setup_defaults = setup_defaults


ACTIONS = {"DescribeInstances": describe_instances}
