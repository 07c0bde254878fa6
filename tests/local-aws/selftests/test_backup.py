"""Jobs of AWS Backup."""

from __future__ import annotations

import json
from typing import Any

from .support import MEMBER, REGION, VAULT, Case, client, control, until


class Jobs(Case):
    def setUp(self) -> None:
        super().setUp()
        control("POST", "config", {"backup_seconds": 0})
        self.backup = client("backup")
        self.backup.create_backup_vault(BackupVaultName="v")
        trust = {"Version": "2012-10-17", "Statement": []}
        role = client("iam").create_role(RoleName="r", AssumeRolePolicyDocument=json.dumps(trust))
        self.role = role["Role"]["Arn"]

    def arn(self, kind: str, name: str) -> str:
        return f"arn:aws:ec2:{REGION}:{MEMBER}:{kind}/{name}"

    def start(self, resource: str, **more: Any) -> str:
        asked = {"BackupVaultName": "v", "IamRoleArn": self.role, "ResourceArn": resource, **more}
        return self.backup.start_backup_job(**asked)["BackupJobId"]

    def get(self, job: str) -> dict[str, Any]:
        return self.backup.describe_backup_job(BackupJobId=job)

    def ended(self, job: str) -> dict[str, Any]:
        return until(lambda: got if (got := self.get(job))["State"] not in ("CREATED", "RUNNING") else None)

    def test_makes_tagged_snapshots(self) -> None:
        volume, instance = self.volume(), self.instance([{}])
        done = self.ended(self.start(self.arn("volume", volume), RecoveryPointTags={"a": "b"}))
        (snapshot,) = self.ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]
        self.assertEqual(done["RecoveryPointArn"], f"arn:aws:ec2:{REGION}::snapshot/{snapshot['SnapshotId']}")
        tags = {tag["Key"]: tag["Value"] for tag in snapshot["Tags"]}
        self.assertEqual(tags, {"aws:backup:source-resource": volume, "a": "b"})
        self.assertEqual((done["State"], done["ResourceType"]), ("COMPLETED", "EBS"))
        resource = self.arn("instance", instance["id"])
        vss = {"BackupOptions": {"WindowsVSS": "enabled"}}
        done = self.ended(self.start(resource, **vss))
        self.assertEqual((done["BackupType"], done["ResourceType"]), ("WindowsVSS", "EC2"))
        self.assertIn(":image/ami-", done["RecoveryPointArn"])
        found = self.ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]
        self.assertEqual({s["VolumeId"] for s in found}, {volume, *instance["volumes"].values()})
        control("POST", "backups", {"resource": resource, "vss": False})
        done = self.ended(self.start(resource, **vss))
        self.assertEqual((done["State"], "BackupType" in done), ("COMPLETED", False))
        self.assertIn("Windows VSS Backup Job Error", done["StatusMessage"])

    def test_a_token_is_one_job(self) -> None:
        one, other = (self.arn("volume", self.volume()) for _ in range(2))
        job = self.start(one, IdempotencyToken="t")
        self.assertEqual(self.start(one, IdempotencyToken="t"), job)
        more = {self.start(one, IdempotencyToken="u"), self.start(one), self.start(other)}
        self.assertEqual((len({job, *more}), len(control("GET", "backups"))), (4, 4))

    def test_ends_as_it_is_told(self) -> None:
        resource = self.arn("volume", self.volume())
        for state in ("FAILED", "ABORTED", "EXPIRED", "PARTIAL"):
            control("POST", "backups", {"resource": resource, "state": state, "message": f"is {state}"})
            done = self.ended(self.start(resource))
            self.assertEqual((done["State"], done["StatusMessage"]), (state, f"is {state}"))
            self.assertNotIn("RecoveryPointArn", done)
        self.assertEqual(self.ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"], [])
        with self.assertRaisesRegex(AssertionError, "state"):
            control("POST", "backups", {"resource": resource, "state": "RUNNING"})
        self.assertEqual(self.ended(self.start(self.arn("volume", "vol-1")))["State"], "FAILED")

    def test_one_at_a_time(self) -> None:
        control("POST", "config", {"backup_seconds": -1})
        resource = self.arn("volume", self.volume())
        first = self.start(resource)
        until(lambda: self.get(first)["State"] == "RUNNING")
        second = self.ended(self.start(resource))
        self.assertIn("running job for the same resource", second["StatusMessage"])
        self.backup.stop_backup_job(BackupJobId=first)
        self.assertEqual(self.get(first)["State"], "ABORTED")

    def test_refused(self) -> None:
        volume, start = self.arn("volume", self.volume()), self.backup.start_backup_job
        asked = {"BackupVaultName": "v", "IamRoleArn": self.role, "ResourceArn": volume}
        invalid = "InvalidParameterValueException"
        for code, wrong in (
            ("ResourceNotFoundException", {"BackupVaultName": "ghost"}),
            (invalid, {"IamRoleArn": self.role + "x"}),
            (invalid, {"ResourceArn": volume.replace(MEMBER, VAULT)}),
            (invalid, {"StartWindowMinutes": 59}),
            (invalid, {"Lifecycle": {"MoveToColdStorageAfterDays": 1, "DeleteAfterDays": 90}}),
            (invalid, {"BackupOptions": {"WindowsVSS": "enabled"}}),
            ("MissingParameterValueException", {"IamRoleArn": ""}),
        ):
            self.refused(code, start, **{**asked, **wrong})
        get = self.backup.describe_backup_job
        self.refused("ResourceNotFoundException", get, BackupJobId="ghost")
        theirs = client("backup", VAULT).describe_backup_job
        self.refused("ResourceNotFoundException", theirs, BackupJobId=self.start(volume))
