"""Making, sharing, locking and deleting snapshots."""

from __future__ import annotations

import datetime as dt

from botocore.exceptions import ClientError

from .support import CENTRAL, MEMBER, REGION, VAULT, Case, control, tags, until


class Create(Case):
    def test_is_pending_then_completed(self) -> None:
        control("POST", "config", {"snapshot_seconds": 0.4})
        volume = self.volume(size=9)
        made = self.ec2.create_snapshot(
            VolumeId=volume, Description="d <&>", TagSpecifications=tags(a="1 & 2")
        )
        self.assertEqual((made["State"], made["VolumeSize"], made["OwnerId"]), ("pending", 9, MEMBER))
        self.assertLess(abs((dt.datetime.now(dt.timezone.utc) - made["StartTime"]).total_seconds()), 30)
        self.assertEqual(self.described(made["SnapshotId"])["State"], "pending")
        until(lambda: self.described(made["SnapshotId"])["State"] == "completed")
        shown = self.described(made["SnapshotId"])
        self.assertEqual(shown["Tags"], [{"Key": "a", "Value": "1 & 2"}])
        self.assertEqual(
            (shown["Description"], shown["Progress"], shown["Encrypted"], shown["VolumeId"]),
            ("d <&>", "100%", False, volume),
        )

    def test_refusals(self) -> None:
        volume = self.volume()
        self.refused("InvalidVolume.NotFound", self.ec2.create_snapshot, VolumeId="vol-0123456789abcdef0")
        self.refused("InvalidVolumeID.Malformed", self.ec2.create_snapshot, VolumeId="vol-xyz")
        self.refused("DryRunOperation", self.ec2.create_snapshot, VolumeId=volume, DryRun=True)
        self.refused(
            "InvalidParameterValue",
            self.ec2.create_snapshot,
            VolumeId=volume,
            TagSpecifications=tags(**{"aws:x": "1"}),
        )
        many = tags(**{f"k{i}": "v" for i in range(51)})
        self.refused("TagLimitExceeded", self.ec2.create_snapshot, VolumeId=volume, TagSpecifications=many)
        self.assertEqual(control("GET", "snapshots"), [])

    def test_rates(self) -> None:
        volume = self.volume()
        control("POST", "config", {"snapshot_rate_seconds": 15})
        self.snapshot(volume)
        self.refused("SnapshotCreationPerVolumeRateExceeded", self.ec2.create_snapshot, VolumeId=volume)
        control(
            "POST", "config", {"snapshot_rate_seconds": 0, "concurrent_snapshots": 2, "snapshot_seconds": -1}
        )
        one, _ = self.snapshot(volume), self.snapshot(volume)
        self.refused("ConcurrentSnapshotLimitExceeded", self.ec2.create_snapshot, VolumeId=volume)
        control("POST", "snapshot", {"id": one, "state": "error"})
        self.refused("ConcurrentSnapshotLimitExceeded", self.ec2.create_snapshot, VolumeId=volume)
        self.ec2.delete_snapshot(SnapshotId=one)
        self.snapshot(volume)

    def test_the_last_one_counts_even_if_deleted(self) -> None:
        control("POST", "config", {"snapshot_rate_seconds": 15})
        body = {"account": MEMBER, "region": REGION, "snapshots": 2}
        volume = control("POST", "seed", body)["volumes"][0]
        self.ec2.delete_snapshot(SnapshotId=self.snapshot(volume))  # seeded ones do not count
        self.refused("SnapshotCreationPerVolumeRateExceeded", self.ec2.create_snapshot, VolumeId=volume)
        self.snapshot()  # another volume
        control("POST", "age", {"seconds": 13})
        self.refused("SnapshotCreationPerVolumeRateExceeded", self.ec2.create_snapshot, VolumeId=volume)
        control("POST", "age", {"seconds": 3})
        self.snapshot(volume)
        with self.assertRaisesRegex(AssertionError, "days, seconds"):
            control("POST", "age", {})

    def test_one_at_a_time_of_st1(self) -> None:
        control("POST", "config", {"concurrent_snapshots": 5, "snapshot_seconds": -1})
        for kind, most in (("gp3", 5), ("st1", 1), ("sc1", 1)):
            volume = self.volume(volume_type=kind)
            for _ in range(most):
                made = self.snapshot(volume)
            self.refused("ConcurrentSnapshotLimitExceeded", self.ec2.create_snapshot, VolumeId=volume)
            control("POST", "snapshot", {"id": made, "state": "completed"})
            self.snapshot(volume)

    def test_of_an_instance(self) -> None:
        instance = self.ec2.run_instances(ImageId="ami-12345678", MinCount=1, MaxCount=1)["Instances"][0]
        data = [self.volume(tags={"Name": f"data{i}", "role": "data"}) for i in range(2)]
        for volume, device in zip(data, ("/dev/sdf", "/dev/sdg")):
            self.ec2.attach_volume(VolumeId=volume, InstanceId=instance["InstanceId"], Device=device)
        spec = {
            "InstanceId": instance["InstanceId"],
            "ExcludeBootVolume": True,
            "ExcludeDataVolumeIds": [data[1]],
        }
        made = self.ec2.create_snapshots(
            InstanceSpecification=spec, CopyTagsFromSource="volume", TagSpecifications=tags(mine="1")
        )["Snapshots"]
        self.assertEqual([s["VolumeId"] for s in made], [data[0]])
        self.assertEqual(
            {t["Key"]: t["Value"] for t in made[0]["Tags"]}, {"Name": "data0", "role": "data", "mine": "1"}
        )
        whole = self.ec2.create_snapshots(InstanceSpecification={"InstanceId": instance["InstanceId"]})[
            "Snapshots"
        ]
        self.assertEqual(len(whole), 3)
        self.assertEqual(len({s["StartTime"] for s in whole}), 1)
        found = self.ec2.describe_volumes(
            Filters=[{"Name": "attachment.instance-id", "Values": [instance["InstanceId"]]}]
        )["Volumes"]
        self.assertEqual({v["VolumeId"] for v in found} >= set(data), True)

    def test_sets(self) -> None:
        control("POST", "config", {"snapshot_seconds": 0.3})
        last = {"kms_key": self.key(), "device": "/dev/xvdz"}
        instance = self.instance([{"size": 3, "tags": {"n": "1"}}, last])
        boot, one, two = (instance["volumes"][d] for d in ("/dev/sda1", "/dev/sdf", "/dev/xvdz"))
        spec = {"InstanceId": instance["id"], "ExcludeDataVolumeIds": []}
        answer = self.ec2.create_snapshots(
            InstanceSpecification=spec, Description="d", CopyTagsFromSource="volume"
        )["Snapshots"]
        self.assertEqual([s["VolumeId"] for s in answer], [boot, one, two])
        self.assertEqual([s["Encrypted"] for s in answer], [False, False, True])
        self.assertEqual([s.get("Tags", []) for s in answer], [[], [{"Key": "n", "Value": "1"}], []])
        told = {(s["State"], s["Description"], s["OwnerId"]) for s in answer}
        self.assertEqual(told, {("pending", "d", MEMBER)})
        ids = [s["SnapshotId"] for s in answer]
        until(lambda: all(self.described(i)["State"] == "completed" for i in ids))
        self.assertEqual({self.described(i)["StartTime"] for i in ids}, {answer[0]["StartTime"]})
        for more, volumes in (
            ({"ExcludeBootVolume": True}, [one, two]),
            ({"ExcludeDataVolumeIds": [one]}, [boot, two]),
            ({"ExcludeBootVolume": True, "ExcludeDataVolumeIds": [two]}, [one]),
        ):
            found = self.ec2.create_snapshots(InstanceSpecification={**spec, **more})["Snapshots"]
            self.assertEqual([s["VolumeId"] for s in found], volumes)

    def test_sets_refused(self) -> None:
        instance = self.instance([{"tags": {f"k{i}": "v" for i in range(30)}}, {}])
        ghosts = [f"vol-{i:017x}" for i in range(41)]
        call, own = self.ec2.create_snapshots, {"InstanceId": instance["id"]}
        data = list(instance["volumes"].values())[1:]
        for code, spec in (
            ("InvalidInstanceID.NotFound", {"InstanceId": "i-0123456789abcdef0"}),
            ("InvalidInstanceID.Malformed", {"InstanceId": "i-x"}),
            ("MissingParameter", {"ExcludeBootVolume": True}),
            ("InvalidParameterValue", {**own, "ExcludeDataVolumeIds": ghosts}),
            ("InvalidParameterValue", {**own, "ExcludeDataVolumeIds": ghosts[:1]}),
            ("InvalidParameterValue", {**own, "ExcludeDataVolumeIds": [instance["volumes"]["/dev/sda1"]]}),
            ("InvalidParameterCombination", {**own, "ExcludeBootVolume": True, "ExcludeDataVolumeIds": data}),
        ):
            with self.subTest(code=code, spec=spec):
                self.refused(code, call, InstanceSpecification=spec)
        mine = tags(**{f"m{i}": "v" for i in range(21)})
        self.refused(
            "TagLimitExceeded",
            call,
            InstanceSpecification=own,
            CopyTagsFromSource="volume",
            TagSpecifications=mine,
        )
        self.refused("InvalidParameterValue", call, InstanceSpecification=own, CopyTagsFromSource="instance")
        self.refused("DryRunOperation", call, InstanceSpecification=own, DryRun=True)
        self.assertEqual(control("GET", "snapshots"), [], "nothing was made half")
        control("POST", "config", {"snapshot_rate_seconds": 15})
        self.snapshot(data[1])
        self.refused("SnapshotCreationPerVolumeRateExceeded", call, InstanceSpecification=own)
        self.assertEqual(len(control("GET", "snapshots")), 1)
        self.ec2.terminate_instances(InstanceIds=[instance["id"]])
        self.refused("IncorrectInstanceState", call, InstanceSpecification=own)


class Share(Case):
    def test_rules(self) -> None:
        snapshot = self.snapshot(TagSpecifications=tags(secret="1"))
        attribute = {"SnapshotId": snapshot, "Attribute": "createVolumePermission"}
        self.share(snapshot)
        shown = self.ec2.describe_snapshot_attribute(**attribute)["CreateVolumePermissions"]
        self.assertEqual(shown, [{"UserId": VAULT}])
        seen = self.vault.describe_snapshots(RestorableByUserIds=["self"], OwnerIds=[MEMBER])["Snapshots"]
        self.assertEqual([(s["SnapshotId"], s.get("Tags", [])) for s in seen], [(snapshot, [])])
        self.vault.create_tags(Resources=[snapshot], Tags=[{"Key": "seen", "Value": "yes"}])
        self.assertEqual(self.described(snapshot, self.vault)["Tags"], [{"Key": "seen", "Value": "yes"}])
        self.assertEqual(self.described(snapshot)["Tags"], [{"Key": "secret", "Value": "1"}])
        self.refused("InvalidSnapshot.NotFound", self.vault.delete_snapshot, SnapshotId=snapshot)
        self.ec2.modify_snapshot_attribute(**attribute, OperationType="remove", UserIds=[VAULT])
        self.refused("InvalidSnapshot.NotFound", self.vault.describe_snapshots, SnapshotIds=[snapshot])
        self.refused(
            "InvalidAMIAttributeItemValue",
            self.ec2.modify_snapshot_attribute,
            **attribute,
            OperationType="add",
            UserIds=["12"],
        )

    def test_encrypted(self) -> None:
        mine = self.snapshot(self.volume(kms_key=self.key()))
        default = self.snapshot(self.volume(kms_key="alias/aws/ebs"))
        attribute = {"Attribute": "createVolumePermission", "OperationType": "add"}
        self.refused(
            "OperationNotPermitted",
            self.ec2.modify_snapshot_attribute,
            SnapshotId=default,
            **attribute,
            UserIds=[VAULT],
        )
        self.refused(
            "OperationNotPermitted",
            self.ec2.modify_snapshot_attribute,
            SnapshotId=mine,
            **attribute,
            GroupNames=["all"],
        )
        self.ec2.modify_snapshot_attribute(SnapshotId=mine, **attribute, UserIds=[VAULT])
        self.assertEqual(
            control("GET", "snapshots")[0]["shared_with"] + control("GET", "snapshots")[1]["shared_with"],
            [VAULT],
        )


    def test_remove(self) -> None:
        snapshot = self.snapshot()
        attribute = {"SnapshotId": snapshot, "Attribute": "createVolumePermission"}

        def restorable_by(account: str) -> list[str]:
            found = self.ec2.describe_snapshots(OwnerIds=["self"], RestorableByUserIds=[account])["Snapshots"]
            return [s["SnapshotId"] for s in found]

        self.share(snapshot)
        self.share(snapshot, CENTRAL)
        self.assertEqual((restorable_by(VAULT), restorable_by(CENTRAL)), ([snapshot], [snapshot]))
        self.ec2.modify_snapshot_attribute(**attribute, OperationType="remove", UserIds=[VAULT])
        self.assertEqual((restorable_by(VAULT), restorable_by(CENTRAL)), ([], [snapshot]))
        self.assertEqual(self.vault.describe_snapshots(RestorableByUserIds=["self"])["Snapshots"], [])
        permission = {"Remove": [{"UserId": CENTRAL}, {"UserId": VAULT}]}
        self.ec2.modify_snapshot_attribute(**attribute, CreateVolumePermission=permission)
        self.assertEqual(restorable_by(CENTRAL), [])
        self.assertEqual(self.ec2.describe_snapshot_attribute(**attribute)["CreateVolumePermissions"], [])
        self.ec2.modify_snapshot_attribute(**attribute, OperationType="remove", UserIds=[VAULT])
        many = [f"{i:012}" for i in range(501)]
        self.refused(
            "InvalidParameterValue",
            self.ec2.modify_snapshot_attribute,
            **attribute,
            OperationType="add",
            UserIds=many,
        )


class Delete(Case):
    def test_once(self) -> None:
        snapshot = self.snapshot()
        self.ec2.delete_snapshot(SnapshotId=snapshot)
        self.refused("InvalidSnapshot.NotFound", self.ec2.delete_snapshot, SnapshotId=snapshot)
        self.refused("InvalidSnapshotID.Malformed", self.ec2.delete_snapshot, SnapshotId="snap-1")

    def test_not_what_an_image_uses(self) -> None:
        snapshot = self.snapshot()
        mapping = [{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot}}]
        image = self.ec2.register_image(Name="n", RootDeviceName="/dev/xvda", BlockDeviceMappings=mapping)[
            "ImageId"
        ]
        self.assertEqual([s["id"] for s in control("GET", "snapshots")], [snapshot])
        self.assertIn(
            image, self.refused("InvalidSnapshot.InUse", self.ec2.delete_snapshot, SnapshotId=snapshot)
        )
        filters = [{"Name": "block-device-mapping.snapshot-id", "Values": [snapshot]}]
        found = self.ec2.describe_images(Owners=["self"], Filters=filters)["Images"]
        self.assertEqual(found[0]["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"], snapshot)
        self.assertEqual(self.vault.describe_images(Owners=["self"])["Images"], [])
        self.ec2.deregister_image(ImageId=image)
        self.ec2.delete_snapshot(SnapshotId=snapshot)

    def test_not_what_create_image_made(self) -> None:
        instance = self.ec2.run_instances(ImageId="ami-12345678", MinCount=1, MaxCount=1)["Instances"][0]
        self.ec2.create_image(InstanceId=instance["InstanceId"], Name="n")
        made = control("GET", "snapshots")
        self.assertEqual(len(made), 1)
        self.refused("InvalidSnapshot.InUse", self.ec2.delete_snapshot, SnapshotId=made[0]["id"])

    def test_not_what_is_locked(self) -> None:
        one, two = self.snapshot(), self.snapshot()
        locked = self.ec2.lock_snapshot(SnapshotId=one, LockMode="governance", LockDuration=2)
        self.assertEqual(locked["LockState"], "governance")
        self.ec2.lock_snapshot(SnapshotId=two, LockMode="compliance", LockDuration=1, CoolOffPeriod=1)
        self.refused("OperationNotPermitted", self.ec2.delete_snapshot, SnapshotId=one)
        shown = self.ec2.describe_locked_snapshots()["Snapshots"]
        self.assertEqual(
            {s["SnapshotId"]: s["LockState"] for s in shown}, {one: "governance", two: "compliance-cooloff"}
        )
        self.ec2.unlock_snapshot(SnapshotId=one)
        self.ec2.delete_snapshot(SnapshotId=one)
        control("POST", "age", {"days": 0.5})
        self.refused("OperationNotPermitted", self.ec2.unlock_snapshot, SnapshotId=two)
        control("POST", "age", {"days": 1})
        self.ec2.delete_snapshot(SnapshotId=two)
        self.refused(
            "InvalidParameterCombination",
            self.ec2.lock_snapshot,
            SnapshotId=self.snapshot(),
            LockMode="governance",
        )


class Locks(Case):
    def locked(self, snapshot: str) -> dict:
        return self.ec2.describe_locked_snapshots(SnapshotIds=[snapshot])["Snapshots"][0]

    def test_until_a_date(self) -> None:
        snapshot, other = self.snapshot(), self.snapshot()
        date = (dt.datetime.now(dt.timezone.utc) + dt.timedelta(days=10)).replace(microsecond=0)
        made = self.ec2.lock_snapshot(SnapshotId=snapshot, LockMode="governance", ExpirationDate=date)
        self.assertEqual((made["LockState"], made["LockExpiresOn"]), ("governance", date))
        shown = self.locked(snapshot)
        self.assertEqual((shown["OwnerId"], shown["LockExpiresOn"]), (MEMBER, date))
        self.refused("OperationNotPermitted", self.ec2.delete_snapshot, SnapshotId=snapshot)
        past = "2020-01-01T00:00:00Z"
        for wrong in ({"ExpirationDate": past}, {"LockDuration": 1, "ExpirationDate": date}):
            with self.assertRaises(ClientError):
                self.ec2.lock_snapshot(SnapshotId=other, LockMode="governance", **wrong)
        control("POST", "age", {"days": 11})
        self.assertEqual(self.locked(snapshot)["LockState"], "expired")
        for state, wanted in (("expired", [snapshot]), ("governance", [])):
            filters = [{"Name": "lock-state", "Values": [state]}]
            found = self.ec2.describe_locked_snapshots(Filters=filters)["Snapshots"]
            self.assertEqual([s["SnapshotId"] for s in found], wanted)
        self.ec2.delete_snapshot(SnapshotId=snapshot)

    def test_compliance(self) -> None:
        snapshot = self.snapshot()

        def lock(**more: object) -> dict:
            return self.ec2.lock_snapshot(SnapshotId=snapshot, **more)

        made = lock(LockMode="compliance", LockDuration=10, CoolOffPeriod=24)
        self.assertEqual((made["LockState"], made["CoolOffPeriod"]), ("compliance-cooloff", 24))
        self.assertEqual(made["CoolOffPeriodExpiresOn"] - made["LockCreatedOn"], dt.timedelta(hours=24))
        self.assertEqual(made["LockExpiresOn"] - made["LockDurationStartTime"], dt.timedelta(days=10))
        lock(LockMode="compliance", LockDuration=5, CoolOffPeriod=1)  # shorter, while it may be
        control("POST", "age", {"seconds": 3700})
        self.assertEqual(self.locked(snapshot)["LockState"], "compliance")
        for more in (
            {"LockMode": "governance", "LockDuration": 10},
            {"LockMode": "compliance", "LockDuration": 4},
            {"LockMode": "compliance", "LockDuration": 10, "CoolOffPeriod": 1},
        ):
            self.refused("OperationNotPermitted", lock, **more)
        lock(LockMode="compliance", LockDuration=6)
        self.refused("OperationNotPermitted", self.ec2.unlock_snapshot, SnapshotId=snapshot)
        self.refused("OperationNotPermitted", self.ec2.delete_snapshot, SnapshotId=snapshot)
        for more in (
            {"LockMode": "governance", "LockDuration": 1, "CoolOffPeriod": 1},
            {"LockMode": "compliance", "LockDuration": 1, "CoolOffPeriod": 73},
            {"LockMode": "strict", "LockDuration": 1},
            {"LockMode": "governance", "LockDuration": 36501},
        ):
            self.refused("InvalidParameterValue", lock, **more)

    def test_of_a_pending_one_runs_from_its_completion(self) -> None:
        control("POST", "config", {"snapshot_seconds": -1})
        good, bad = self.snapshot(), self.snapshot()
        for snapshot in (good, bad):
            made = self.ec2.lock_snapshot(SnapshotId=snapshot, LockMode="governance", LockDuration=3)
            self.assertEqual((made["LockState"], made.get("LockExpiresOn")), ("governance", None))
            self.refused("OperationNotPermitted", self.ec2.delete_snapshot, SnapshotId=snapshot)
        control("POST", "age", {"days": 5})
        control("POST", "snapshot", {"id": good, "state": "completed"})
        control("POST", "snapshot", {"id": bad, "state": "error"})
        (shown,) = self.ec2.describe_locked_snapshots()["Snapshots"]
        self.assertEqual((shown["SnapshotId"], shown["LockState"]), (good, "governance"))
        self.assertEqual(shown["LockExpiresOn"] - shown["LockDurationStartTime"], dt.timedelta(days=3))
        self.ec2.delete_snapshot(SnapshotId=bad)
