"""Instances: their volumes, filters and pages."""

from __future__ import annotations

from .support import MEMBER, OTHER, REGION, Case, by, client, control, pages, tags


class Instances(Case):
    def found(self, filters: list, **more: object) -> set[str]:
        answer = self.ec2.describe_instances(Filters=filters, **more)
        return {i["InstanceId"] for r in answer["Reservations"] for i in r["Instances"]}

    def one(self, instance: str) -> dict:
        return self.ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]

    def test_through_the_api(self) -> None:
        mapping = [
            {"DeviceName": f"/dev/sd{x}", "Ebs": {"VolumeSize": 2, "VolumeType": "gp3"}} for x in "fgh"
        ]
        made = self.ec2.run_instances(
            ImageId="ami-12345678",
            MinCount=1,
            MaxCount=1,
            BlockDeviceMappings=mapping,
            TagSpecifications=tags("instance", backup="daily") + tags("volume", of="it"),
        )["Instances"][0]["InstanceId"]
        shown = self.one(made)
        devices = {m["DeviceName"]: m["Ebs"] for m in shown["BlockDeviceMappings"]}
        self.assertEqual(shown["RootDeviceName"], "/dev/sda1")
        self.assertEqual(sorted(devices), ["/dev/sda1", "/dev/sdf", "/dev/sdg", "/dev/sdh"])
        self.assertEqual({e["Status"] for e in devices.values()}, {"attached"})
        self.assertTrue(devices["/dev/sda1"]["DeleteOnTermination"])
        self.assertEqual(shown["State"], {"Code": 16, "Name": "running"})
        self.assertEqual(shown["Tags"], [{"Key": "backup", "Value": "daily"}])
        self.assertEqual(shown["Placement"]["AvailabilityZone"], f"{REGION}a")
        volumes = self.ec2.describe_volumes(Filters=by("attachment.instance-id", made))["Volumes"]
        self.assertEqual({v["VolumeId"] for v in volumes}, {e["VolumeId"] for e in devices.values()})
        self.assertEqual({v["Tags"][0]["Value"] for v in volumes}, {"it"})

    def test_filters(self) -> None:
        a = self.instance([{}], tags={"backup": "daily", "n": "1"})
        more = {"state": "stopped", "type": "t3.micro", "root_device": "/dev/xvda"}
        b = self.instance(tags={"backup": "weekly"}, **more)
        c = self.instance(zone=f"{REGION}b")
        gone = self.instance(tags={"backup": "daily"})["id"]
        self.ec2.terminate_instances(InstanceIds=[gone])
        all_but = {"a": a["id"], "b": b["id"], "c": c["id"], "x": gone}
        for filters, wanted in (
            ([], "abcx"),
            (by("tag-key", "backup"), "abx"),
            (by("tag-key", "b*", "z"), "abx"),
            (by("tag-key", "backup") + by("instance-state-name", "running", "stopped"), "ab"),
            (by("instance-state-name", "pending", "running", "stopping", "stopped"), "abc"),
            (by("instance-state-name", "terminated"), "x"),
            (by("instance-state-code", "80"), "b"),
            (by("tag:backup", "daily"), "ax"),
            (by("tag:backup", "*ly") + by("tag:n", "1"), "a"),
            (by("instance-type", "t3.*"), "b"),
            (by("availability-zone", f"{REGION}b"), "c"),
            (by("root-device-name", "/dev/xvda"), "b"),
            (by("block-device-mapping.volume-id", a["volumes"]["/dev/sdf"]), "a"),
            (by("block-device-mapping.device-name", "/dev/sda1"), "ac"),
            (by("instance-id", a["id"], c["id"]), "ac"),
        ):
            with self.subTest(filters=filters):
                self.assertEqual(self.found(filters), {all_but[x] for x in wanted})
        self.assertEqual(self.one(b["id"])["RootDeviceName"], "/dev/xvda")
        self.assertEqual(self.one(gone).get("BlockDeviceMappings", []), [])
        self.refused("InvalidParameterValue", self.ec2.describe_instances, Filters=by("nonsense", "1"))
        self.assertEqual(client("ec2", MEMBER, OTHER).describe_instances()["Reservations"], [])
        self.assertEqual(self.vault.describe_instances()["Reservations"], [])

    def test_pages_and_ids(self) -> None:
        body = {"account": MEMBER, "region": REGION, "count": 12, "tags": {"t": "1"}}
        made = {i["id"] for i in control("POST", "instances", body)["instances"]}
        call = self.ec2.describe_instances
        found = pages(call, "Reservations", MaxResults=5, Filters=by("tag-key", "t"))
        each = [[i["InstanceId"] for r in page for i in r["Instances"]] for page in found]
        self.assertEqual([len(p) for p in each], [5, 5, 2])
        self.assertEqual({i for p in each for i in p}, made)
        self.refused("InvalidParameterValue", call, MaxResults=4)
        self.refused("InvalidParameterCombination", call, MaxResults=5, InstanceIds=list(made)[:1])
        self.refused("InvalidParameterValue", call, NextToken="nonsense")
        self.refused("InvalidInstanceID.NotFound", call, InstanceIds=["i-0123456789abcdef0"])
        self.refused("InvalidInstanceID.Malformed", call, InstanceIds=["i-1"])
        self.refused("DryRunOperation", call, DryRun=True)

    def test_multi_attach(self) -> None:
        shared = self.volume(multi_attach=True)
        one, two = self.instance([shared])["id"], self.instance()["id"]
        self.ec2.attach_volume(VolumeId=shared, InstanceId=two, Device="/dev/sdm")
        volume = self.ec2.describe_volumes(VolumeIds=[shared])["Volumes"][0]
        self.assertEqual((volume["MultiAttachEnabled"], volume["State"]), (True, "in-use"))
        attached = {(a["InstanceId"], a["Device"]) for a in volume["Attachments"]}
        self.assertEqual(attached, {(one, "/dev/sdf"), (two, "/dev/sdm")})
        for instance in (one, two):
            self.assertIn(instance, self.found(by("block-device-mapping.volume-id", shared)))
            made = self.ec2.create_snapshots(InstanceSpecification={"InstanceId": instance})["Snapshots"]
            self.assertIn(shared, [s["VolumeId"] for s in made])
        again = {"VolumeId": shared, "InstanceId": two, "Device": "/dev/sdn"}
        self.refused("VolumeInUse", self.ec2.attach_volume, **again)
        self.ec2.detach_volume(VolumeId=shared, InstanceId=one)
        volume = self.ec2.describe_volumes(VolumeIds=[shared])["Volumes"][0]
        self.assertEqual([a["InstanceId"] for a in volume["Attachments"]], [two])
        self.ec2.terminate_instances(InstanceIds=[two])
        volume = self.ec2.describe_volumes(VolumeIds=[shared])["Volumes"][0]
        self.assertEqual((volume["State"], volume.get("Attachments", [])), ("available", []))

    def test_attach_refused(self) -> None:
        plain, elsewhere = self.volume(), self.volume(zone=f"{REGION}b")
        one, two = self.instance([plain])["id"], self.instance()["id"]
        call = self.ec2.attach_volume
        self.refused("VolumeInUse", call, VolumeId=plain, InstanceId=two, Device="/dev/sdf")
        other = self.volume()
        self.refused("InvalidParameterValue", call, VolumeId=other, InstanceId=one, Device="/dev/sdf")
        self.refused(
            "InvalidVolume.ZoneMismatch", call, VolumeId=elsewhere, InstanceId=one, Device="/dev/sdg"
        )
        self.refused("InvalidAttachment.NotFound", self.ec2.detach_volume, VolumeId=plain, InstanceId=two)

    def test_control_plane(self) -> None:
        made = self.instance(
            [{"size": 5, "tags": {"a": "b"}, "volume_type": "st1"}, self.volume()],
            root={"size": 20, "tags": {"r": "1"}},
            tags={"Name": "n"},
        )
        (row,) = control("GET", f"instances?account={MEMBER}")
        self.assertEqual((row["id"], row["volumes"]), (made["id"], made["volumes"]))
        self.assertEqual((row["tags"], row["root_device"]), ({"Name": "n"}, "/dev/sda1"))
        volumes = {v["id"]: v for v in control("GET", "volumes")}
        sizes = [volumes[v]["size"] for v in made["volumes"].values()]
        self.assertEqual((list(made["volumes"]), sizes), (["/dev/sda1", "/dev/sdf", "/dev/sdg"], [20, 5, 8]))
        self.assertEqual(volumes[made["volumes"]["/dev/sdf"]]["type"], "st1")
        self.assertEqual(volumes[made["volumes"]["/dev/sdf"]]["attached_to"], [made["id"]])
        self.assertEqual(self.instance([{}], root=None)["volumes"].keys(), {"/dev/sdf"})
        with self.assertRaisesRegex(AssertionError, "no such volume"):
            self.instance(["vol-0123456789abcdef0"])
