"""Images: they hold on to the snapshots they are made of, and DescribeImages pages."""

from __future__ import annotations

from typing import Any

from moto.ec2.models import amis as amis_m
from moto.ec2.responses.amis import AmisResponse

from .describe import compile_filters, page
from .errors import AwsError
from .query import Params, answer, tag_set
from .snapshots import Result, snapshot_of
from .world import LOCK, Caller, backend, backends


def ebs_of(image: Any) -> list[dict[str, Any]]:
    return [m["Ebs"] for m in image.block_device_mappings if isinstance(m.get("Ebs"), dict)]


FIELDS = {
    "architecture": lambda i: i.architecture,
    "block-device-mapping.device-name": lambda i: [m.get("DeviceName") for m in i.block_device_mappings],
    "block-device-mapping.snapshot-id": lambda i: [e.get("SnapshotId") for e in ebs_of(i)],
    "block-device-mapping.volume-size": lambda i: [e.get("VolumeSize") for e in ebs_of(i)],
    "block-device-mapping.volume-type": lambda i: [e.get("VolumeType") for e in ebs_of(i)],
    "description": lambda i: i.description or "",
    "image-id": lambda i: i.id,
    "image-type": lambda i: i.image_type,
    "is-public": lambda i: i.is_public,
    "name": lambda i: i.name or "",
    "owner-alias": lambda i: i.owner_alias,
    "owner-id": lambda i: i.owner_id,
    "platform": lambda i: i.platform,
    "root-device-name": lambda i: i.root_device_name,
    "root-device-type": lambda i: i.root_device_type,
    "source-instance-id": lambda i: i.instance_id,
    "state": lambda i: i.state,
    "virtualization-type": lambda i: i.virtualization_type,
}


def visible_to(image: Any, account: str) -> bool:
    return image.owner_id == account or image.is_public or {"UserId": account} in image.launch_permissions


def view(image: Any, tags: dict[str, str]) -> dict[str, Any]:
    mappings = [
        {
            "deviceName": m.get("DeviceName"),
            "ebs": {
                "snapshotId": m["Ebs"].get("SnapshotId"),
                "volumeSize": m["Ebs"].get("VolumeSize"),
                "volumeType": m["Ebs"].get("VolumeType", "gp2"),
                "deleteOnTermination": True,
                "encrypted": bool(m["Ebs"].get("Encrypted", False)),
            },
        }
        for m in image.block_device_mappings
        if isinstance(m.get("Ebs"), dict)
    ]
    return {
        "imageId": image.id,
        "imageLocation": f"{image.owner_id}/{image.name}",
        "imageState": image.state,
        "imageOwnerId": image.owner_id,
        "creationDate": image.creation_date,
        "isPublic": image.is_public,
        "architecture": image.architecture or "x86_64",
        "imageType": image.image_type,
        "name": image.name,
        "description": image.description,
        "rootDeviceType": "ebs",
        "rootDeviceName": image.root_device_name,
        "blockDeviceMapping": mappings,
        "virtualizationType": image.virtualization_type or "hvm",
        "hypervisor": "xen",
        "tagSet": tag_set(tags) or None,
    }


def describe_images(caller: Caller, region: str, p: Params) -> Result:
    me, state = caller.account, backend(caller.account, region)
    ids, owners, users = p.items("ImageId"), p.items("Owner"), p.items("ExecutableBy")
    p.refuse_dry_run()

    def tags_of(image: Any) -> dict[str, str]:
        return state.tags.get(image.id) or {}

    tests = compile_filters(p.filters(), FIELDS, tags_of)
    with LOCK:
        seen = [i for b in backends(region) for i in b.amis.values() if visible_to(i, me)]
        if ids:
            known = {i.id: i for i in seen}
            for each in ids:
                if each not in known:
                    raise AwsError("InvalidAMIID.NotFound", f"The image id '[{each}]' does not exist")
            seen = [known[i] for i in dict.fromkeys(ids)]
        if owners:
            wanted = {me if o == "self" else o for o in owners}
            seen = [i for i in seen if i.owner_id in wanted or i.owner_alias in wanted]
        if users:
            wanted = {me if u == "self" else u for u in users}
            seen = [
                i
                for i in seen
                if i.is_public
                and "all" in wanted
                or any(lp.get("UserId") in wanted for lp in i.launch_permissions)
            ]
        for test in tests:
            seen = [i for i in seen if test(i)]
        shown, token = page(p, seen, ids, "imageIdSet", least=1)
        rows = [view(i, tags_of(i)) for i in shown]
    return answer("DescribeImages", {"imagesSet": rows, "nextToken": token})


def hold(state: Any, image_id: str, mappings: list[dict[str, Any]]) -> None:
    """The image is made of `mappings`, and not of the snapshot moto invents for every image."""
    image = state.amis[image_id]
    state.snapshots.pop(image.ebs_snapshot.id, None)
    image.mappings = mappings


def install() -> None:
    invented = amis_m.Ami.block_device_mappings.fget
    amis_m.Ami.block_device_mappings = property(
        lambda self: self.mappings if hasattr(self, "mappings") else invented(self)
    )
    register, create = AmisResponse.register_image, AmisResponse.create_image

    def register_image(self: Any) -> Any:
        mappings = [dict(m) for m in self._get_param("BlockDeviceMappings", [])]
        for ebs in (m.get("Ebs") or {} for m in mappings):
            snapshot = self.ec2_backend.snapshots.get(ebs.get("SnapshotId"))
            if ebs.get("SnapshotId") and snapshot is None:
                raise AwsError(
                    "InvalidSnapshot.NotFound", f"The snapshot '{ebs['SnapshotId']}' does not exist."
                )
            if snapshot is not None:
                ebs.setdefault("VolumeSize", snapshot.size)
        result = register(self)
        hold(self.ec2_backend, result._result["ImageId"], mappings)
        return result

    def create_image(self: Any) -> Any:
        result = create(self)
        state, image_id = self.ec2_backend, result._result["ImageId"]
        instance = state.get_instance(self._get_param("InstanceId"))
        mappings = []
        for device, attached in instance.get_block_device_mapping:
            volume = state.volumes.get(attached.volume_id)
            if volume is not None:
                made = snapshot_of(state, volume, f"Created by CreateImage({instance.id}) for {image_id}", {})
                mappings.append(
                    {
                        "DeviceName": device,
                        "Ebs": {
                            "SnapshotId": made.id,
                            "VolumeSize": volume.size,
                            "VolumeType": volume.volume_type,
                        },
                    }
                )
        hold(state, image_id, mappings)
        return result

    AmisResponse.register_image, AmisResponse.create_image = register_image, create_image


ACTIONS = {"DescribeImages": describe_images}
