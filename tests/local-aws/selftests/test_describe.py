"""Filters and pages, also when there is a lot."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from .support import MEMBER, OTHER, REGION, VAULT, Case, by, client, control, pages, tags


class Filters(Case):
    def found(self, filters: list[dict[str, Any]], **more: Any) -> list[str]:
        return [s["Description"] for s in self.ec2.describe_snapshots(Filters=filters, **more)["Snapshots"]]

    def test_of_snapshots(self) -> None:
        one, two = self.volume(), self.volume(kms_key=self.key(), size=5)
        a = self.snapshot(
            one, Description="a", TagSpecifications=tags(**{"snapferry:policy": "daily", "n": "1"})
        )
        self.snapshot(two, Description="b", TagSpecifications=tags(**{"snapferry:policy": "weekly"}))
        self.snapshot(two, Description="c*")
        control("POST", "snapshot", {"id": a, "start_time": "2026-01-02T03:04:05Z"})
        cases = [
            (by("tag-key", "snapferry:policy"), "ab"),
            (by("tag-key", "snapferry:*"), "ab"),
            (by("tag-key", "x"), ""),
            (by("tag:snapferry:policy", "daily", "other"), "a"),
            (by("tag:snapferry:policy", "*ly"), "ab"),
            (by("tag:snapferry:policy", "?aily"), "a"),
            (by("tag:n", ""), ""),
            (by("tag-value", "1"), "a"),
            (by("volume-id", two), "bc"),
            (by("snapshot-id", a), "a"),
            (by("status", "completed"), "abc"),
            (by("status", "pending", "error"), ""),
            (by("owner-id", MEMBER), "abc"),
            (by("owner-id", VAULT), ""),
            (by("encrypted", "true"), "bc"),
            (by("volume-size", "5"), "bc"),
            (by("description", "c\\*"), "c"),
            (by("start-time", "2026-01-02T*"), "a"),
            (by("start-time", "2026-01-02T03:04:05.000Z"), "a"),
            (by("start-time", "2026-01-02T03:04:05Z"), ""),
            (by("start-time", "2026-01-02T03:04:05.???Z", "2025-*"), "a"),
            (by("start-time", "2025-*", "2026-01-0*"), "a"),
            (by("start-time", "2026-01-03T*", "2026-01-04T*"), ""),
            (by("storage-tier", "standard"), "abc"),
            (by("tag-key", "snapferry:policy") + by("encrypted", "true"), "b"),
        ]
        for filters, wanted in cases:
            with self.subTest(filters=filters):
                self.assertEqual("".join(sorted(d[0] for d in self.found(filters))), wanted)
        self.refused("InvalidParameterValue", self.ec2.describe_snapshots, Filters=by("nonsense", "1"))
        self.assertEqual(self.found([], OwnerIds=["self"], SnapshotIds=[a]), ["a"])
        self.refused(
            "InvalidSnapshot.NotFound", self.ec2.describe_snapshots, SnapshotIds=["snap-0123456789abcdef0"]
        )
        self.refused("InvalidSnapshotID.Malformed", self.ec2.describe_snapshots, SnapshotIds=["snap-z"])

    def test_of_volumes(self) -> None:
        a = self.volume(tags={"backup": "daily"}, volume_type="gp3")
        b = self.volume(tags={"backup": "weekly"}, kms_key="alias/aws/ebs", volume_type="st1")
        for filters, wanted in [
            (by("tag:backup", "daily", "hourly"), [a]),
            (by("tag:backup", "*"), [a, b]),
            (by("encrypted", "true"), [b]),
            (by("volume-type", "st1"), [b]),
            (by("status", "available"), [a, b]),
            (by("volume-id", a), [a]),
            (by("availability-zone", f"{REGION}a"), [a, b]),
            (by("attachment.instance-id", "i-1"), []),
        ]:
            with self.subTest(filters=filters):
                found = self.ec2.describe_volumes(Filters=filters)["Volumes"]
                self.assertEqual([v["VolumeId"] for v in found], sorted(wanted))
        self.refused("InvalidVolume.NotFound", self.ec2.describe_volumes, VolumeIds=["vol-0123456789abcdef0"])


class Zones(Case):
    def test_by_name_and_id(self) -> None:
        found = self.ec2.describe_availability_zones()["AvailabilityZones"]
        zones = {z["ZoneName"]: z["ZoneId"] for z in found}
        self.assertEqual(sorted(zones), [f"{REGION}{x}" for x in "abc"])
        self.assertTrue(all(i.startswith("euc1-az") for i in zones.values()), zones)
        self.assertEqual({z["State"] for z in found}, {"available"})
        self.assertEqual({z["OptInStatus"] for z in found}, {"opt-in-not-required"})
        name = f"{REGION}b"
        for arguments in (
            {"ZoneNames": [name]},
            {"ZoneIds": [zones[name]]},
            {"Filters": by("zone-name", name)},
            {"Filters": by("zone-id", zones[name]) + by("state", "available")},
        ):
            with self.subTest(arguments=arguments):
                shown = self.ec2.describe_availability_zones(**arguments)["AvailabilityZones"]
                self.assertEqual([z["ZoneName"] for z in shown], [name])
        refused = self.ec2.describe_availability_zones
        self.refused("InvalidParameterValue", refused, ZoneNames=[f"{OTHER}a"])
        self.refused("InvalidParameterValue", refused, ZoneIds=["use1-az1"])


class Pages(Case):
    def test_every_list(self) -> None:
        made = control("POST", "seed", {"account": MEMBER, "region": REGION, "count": 12, "snapshots": 1})
        for snapshot in made["snapshots"]:
            self.ec2.lock_snapshot(SnapshotId=snapshot, LockMode="governance", LockDuration=1)
            mapping = [{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot}}]
            self.ec2.register_image(Name=snapshot, RootDeviceName="/dev/xvda", BlockDeviceMappings=mapping)
        for call, key, name in [
            (self.ec2.describe_snapshots, "Snapshots", "SnapshotId"),
            (self.ec2.describe_volumes, "Volumes", "VolumeId"),
            (self.ec2.describe_locked_snapshots, "Snapshots", "SnapshotId"),
            (self.ec2.describe_images, "Images", "ImageId"),
            (self.ec2.describe_snapshot_tier_status, "SnapshotTierStatuses", "SnapshotId"),
        ]:
            with self.subTest(call=call.__name__):
                found = pages(call, key, MaxResults=5)
                self.assertEqual([len(p) for p in found], [5, 5, 2])
                self.assertEqual(len({item[name] for p in found for item in p}), 12)
                self.assertEqual([len(p) for p in pages(call, key)], [12])
                self.refused("InvalidParameterValue", call, NextToken="nonsense")
        self.refused("InvalidParameterValue", self.ec2.describe_snapshots, MaxResults=4)
        self.refused(
            "InvalidParameterCombination",
            self.ec2.describe_snapshots,
            MaxResults=5,
            SnapshotIds=made["snapshots"][:1],
        )

    def test_deleting_while_paging_skips_nothing(self) -> None:
        made = control("POST", "seed", {"account": MEMBER, "region": REGION, "count": 1, "snapshots": 15})[
            "snapshots"
        ]
        first = self.ec2.describe_snapshots(MaxResults=5)
        for snapshot in first["Snapshots"]:
            self.ec2.delete_snapshot(SnapshotId=snapshot["SnapshotId"])
        rest = self.ec2.describe_snapshots(NextToken=first["NextToken"])["Snapshots"]
        self.assertEqual({s["SnapshotId"] for s in first["Snapshots"] + rest}, set(made))


class Volume(Case):
    def test_five_thousand(self) -> None:
        body = {
            "account": MEMBER,
            "region": REGION,
            "count": 500,
            "snapshots": 10,
            "tags": {"backup": "daily"},
            "snapshot_tags": {"snapferry:policy": "daily", "snapferry:slot": "2026-11-22T02:00:00Z"},
        }
        volumes = control("POST", "seed", body)["volumes"]
        began = time.time()
        found = pages(
            self.ec2.describe_snapshots,
            "Snapshots",
            MaxResults=1000,
            OwnerIds=["self"],
            Filters=by("tag-key", "snapferry:policy"),
        )
        self.assertEqual([len(p) for p in found], [1000] * 5)
        one = self.ec2.describe_snapshots(Filters=by("volume-id", volumes[7]))["Snapshots"]
        self.assertEqual(len(one), 10)
        self.assertEqual(
            self.ec2.describe_snapshots(Filters=by("tag:snapferry:policy", "w*", "x"))["Snapshots"], []
        )
        seconds = time.time() - began
        self.assertLess(seconds, 15, "boto3 itself takes most of it")
        answered = [c["ms"] for c in control("GET", "calls?action=DescribeSnapshots&params=0")["calls"]]
        self.assertLess(sum(answered) / 1000, 6)

    def test_many_at_once(self) -> None:
        volumes = control("POST", "seed", {"account": MEMBER, "region": REGION, "count": 20})["volumes"]

        def work(i: int) -> str:
            made = self.ec2.create_snapshot(VolumeId=volumes[i % 20], TagSpecifications=tags(i=str(i)))[
                "SnapshotId"
            ]
            self.ec2.describe_snapshots(Filters=by("tag:i", str(i)))
            self.share(made)
            self.ec2.create_tags(Resources=[made], Tags=[{"Key": "x", "Value": "y"}])
            if i % 4 == 0:
                self.ec2.delete_snapshot(SnapshotId=made)
            return made

        with ThreadPoolExecutor(32) as pool:
            made = list(pool.map(work, range(160)))
        self.assertEqual(len(set(made)), 160)
        left = control("GET", f"snapshots?account={MEMBER}")
        self.assertEqual(len(left), 120)
        self.assertTrue(all(s["tags"]["x"] == "y" and s["shared_with"] == [VAULT] for s in left))
        self.assertEqual(len(client("ec2", VAULT).describe_snapshots(OwnerIds=[MEMBER])["Snapshots"]), 120)
