"""Copying snapshots."""

from __future__ import annotations

import json

from .support import MEMBER, OTHER, REGION, VAULT, Case, client, control, tags, until


class Copy(Case):
    def test_within_an_account(self) -> None:
        plain, key = self.snapshot(), self.key(region=OTHER)
        there = client("ec2", MEMBER, OTHER)
        made = there.copy_snapshot(
            SourceRegion=REGION, SourceSnapshotId=plain, Description="c", TagSpecifications=tags(t="1")
        )
        self.assertEqual(made["Tags"], [{"Key": "t", "Value": "1"}])
        shown = self.described(made["SnapshotId"], there)
        self.assertEqual(
            (shown["State"], shown["Encrypted"], shown["VolumeId"], shown["Description"]),
            ("completed", False, "vol-ffffffff", "c"),
        )
        made = there.copy_snapshot(SourceRegion=REGION, SourceSnapshotId=plain, Encrypted=True, KmsKeyId=key)
        self.assertEqual(self.described(made["SnapshotId"], there)["KmsKeyId"], key)
        made = there.copy_snapshot(SourceRegion=REGION, SourceSnapshotId=plain, Encrypted=True)
        default = there.get_ebs_default_kms_key_id()["KmsKeyId"]
        self.assertEqual(self.described(made["SnapshotId"], there)["KmsKeyId"], default)

    def test_default_encryption(self) -> None:
        there = client("ec2", MEMBER, OTHER)
        plain, encrypted = self.snapshot(), self.snapshot(self.volume(kms_key=self.key()))
        chosen = self.key(region=OTHER)
        ebs = there.get_ebs_default_kms_key_id()["KmsKeyId"]
        there.modify_ebs_default_kms_key_id(KmsKeyId=chosen)

        def key_of_copy(source: str, **more: object) -> str | None:
            made = there.copy_snapshot(SourceRegion=REGION, SourceSnapshotId=source, **more)["SnapshotId"]
            shown = self.described(made, there)
            self.assertEqual((shown["State"], shown["OwnerId"]), ("completed", MEMBER))
            return shown.get("KmsKeyId")

        self.assertEqual(key_of_copy(plain), None)
        self.assertEqual(key_of_copy(plain, Encrypted=True), chosen)
        self.assertEqual(key_of_copy(encrypted), ebs)
        there.enable_ebs_encryption_by_default()
        self.assertEqual(key_of_copy(plain), chosen)
        self.assertEqual(key_of_copy(encrypted), chosen)
        client("kms", MEMBER, OTHER).disable_key(KeyId=chosen)
        made = there.copy_snapshot(SourceRegion=REGION, SourceSnapshotId=plain)["SnapshotId"]
        self.assertEqual(self.described(made, there)["StateMessage"], "Given key ID is not accessible")

    def test_shared_and_reencrypted(self) -> None:
        source_key, vault_key = self.key(), self.key(VAULT, OTHER)
        snapshot = self.snapshot(self.volume(kms_key=source_key, size=3))
        there = client("ec2", VAULT, OTHER)
        wanted = {
            "SourceRegion": REGION,
            "SourceSnapshotId": snapshot,
            "Encrypted": True,
            "KmsKeyId": vault_key,
        }
        self.refused("InvalidSnapshot.NotFound", there.copy_snapshot, **wanted)
        self.share(snapshot)
        made = there.copy_snapshot(**wanted, CompletionDurationMinutes=60)["SnapshotId"]
        shown = self.described(made, there)
        self.assertEqual(
            (shown["State"], shown["KmsKeyId"], shown["OwnerId"], shown["VolumeSize"]),
            ("completed", vault_key, VAULT, 3),
        )
        self.refused(
            "InvalidSnapshot.NotFound", there.copy_snapshot, **{**wanted, "SourceRegion": "eu-west-1"}
        )
        self.refused("InvalidParameterValue", there.copy_snapshot, **wanted, CompletionDurationMinutes=7)
        self.refused(
            "InvalidParameterDependency",
            there.copy_snapshot,
            SourceRegion=REGION,
            SourceSnapshotId=snapshot,
            KmsKeyId=vault_key,
        )

    def test_with_a_bad_key_ends_in_error(self) -> None:
        control("POST", "config", {"copy_seconds": 0.2})
        kms = client("kms", VAULT)
        source, disabled, doomed = self.key(), self.key(VAULT), self.key(VAULT)
        signing = self.key(VAULT, KeyUsage="SIGN_VERIFY", KeySpec="RSA_2048")
        kms.disable_key(KeyId=disabled)
        kms.schedule_key_deletion(KeyId=doomed, PendingWindowInDays=7)
        snapshot = self.snapshot(self.volume(kms_key=source))
        self.share(snapshot)
        unknown = f"arn:aws:kms:{REGION}:{VAULT}:key/11111111-2222-3333-4444-555555555555"
        copies = [
            self.vault.copy_snapshot(
                SourceRegion=REGION, SourceSnapshotId=snapshot, Encrypted=True, KmsKeyId=k
            )["SnapshotId"]
            for k in (disabled, doomed, signing, unknown)
        ]
        self.assertEqual(self.described(copies[0], self.vault)["State"], "pending")
        for each in copies:
            shown = until(lambda e=each: (s := self.described(e, self.vault))["State"] == "error" and s)
            self.assertEqual(shown["StateMessage"], "Given key ID is not accessible")
        client("kms").disable_key(KeyId=source)  # the source's key counts too
        good = self.key(VAULT)
        late = self.vault.copy_snapshot(
            SourceRegion=REGION, SourceSnapshotId=snapshot, Encrypted=True, KmsKeyId=good
        )
        until(lambda: self.described(late["SnapshotId"], self.vault)["State"] == "error")

    def test_key_policies(self) -> None:
        control("POST", "config", {"key_policies": True})
        source = self.key()
        snapshot = self.snapshot(self.volume(kms_key=source))
        self.share(snapshot)
        mine = self.key(VAULT)
        wanted = {"SourceRegion": REGION, "SourceSnapshotId": snapshot, "Encrypted": True, "KmsKeyId": mine}

        def state_of_copy(actions: list[str], condition: object = None) -> str:
            statement = {
                "Effect": "Allow",
                "Principal": {"AWS": f"arn:aws:iam::{VAULT}:root"},
                "Action": actions,
                "Resource": "*",
                "Condition": condition or {},
            }
            policy = json.dumps({"Statement": [statement]})
            client("kms").put_key_policy(KeyId=source, PolicyName="default", Policy=policy)
            made = self.vault.copy_snapshot(**wanted)["SnapshotId"]
            return self.described(made, self.vault)["State"]

        needed = ["kms:CreateGrant", "kms:Decrypt", "kms:ReEncrypt*"]
        for missing in needed:
            self.assertEqual(state_of_copy([a for a in needed if a != missing]), "error", missing)
        self.assertEqual(state_of_copy(needed), "completed")
        self.assertEqual(state_of_copy(["kms:*"]), "completed")
        for_aws = {"Bool": {"kms:GrantIsForAWSResource": "true"}}
        through = {"StringLike": {"kms:ViaService": "ec2.*"}}
        self.assertEqual(state_of_copy(needed, {**for_aws, **through}), "completed")
        elsewhere = {"StringEquals": {"kms:ViaService": "rds.eu-central-1.amazonaws.com"}}
        self.assertEqual(state_of_copy(needed, elsewhere), "error")
        message = self.refused("AccessDeniedException", client("kms", VAULT).describe_key, KeyId=source)
        self.assertEqual(
            message,
            f"User: arn:aws:iam::{VAULT}:root is not authorized to perform: kms:DescribeKey on resource: "
            f"{source} because no resource-based policy allows the kms:DescribeKey action",
        )

    def test_limits_and_states(self) -> None:
        control("POST", "config", {"copy_seconds": -1, "copy_limit": 2})
        snapshot = self.snapshot()
        there = client("ec2", MEMBER, OTHER)
        copies = [
            there.copy_snapshot(SourceRegion=REGION, SourceSnapshotId=snapshot)["SnapshotId"]
            for _ in range(2)
        ]
        self.refused(
            "ResourceLimitExceeded", there.copy_snapshot, SourceRegion=REGION, SourceSnapshotId=snapshot
        )
        control("POST", "snapshot", {"id": copies[0], "state": "completed"})
        there.copy_snapshot(SourceRegion=REGION, SourceSnapshotId=snapshot)
        self.refused("IncorrectState", self.ec2.copy_snapshot, SourceRegion=OTHER, SourceSnapshotId=copies[1])
        control("POST", "config", {"copy_refusal": "async", "copy_seconds": 0})
        lost = self.ec2.copy_snapshot(SourceRegion=OTHER, SourceSnapshotId="snap-0123456789abcdef0")[
            "SnapshotId"
        ]
        self.assertEqual(self.described(lost)["StateMessage"], "Source snapshot is not found")

    def test_throughput_of_time_based_copies(self) -> None:
        """One of 8 GiB in a quarter of an hour takes 9.1 MiB/s; while anything is left, the next is taken."""
        control("POST", "config", {"copy_seconds": -1, "copy_throughput": 15})
        snapshot, there = self.snapshot(), client("ec2", MEMBER, OTHER)
        wanted = {"SourceRegion": REGION, "SourceSnapshotId": snapshot}
        timed = {**wanted, "CompletionDurationMinutes": 15}
        made = [there.copy_snapshot(**timed)["SnapshotId"] for _ in range(2)]
        message = self.refused("ResourceLimitExceeded", there.copy_snapshot, **timed)
        self.assertIn("throughput quota", message)
        there.copy_snapshot(**wanted)
        west = client("ec2", MEMBER, "eu-west-1")
        west.copy_snapshot(**timed)  # a quota for each pair of Regions
        other = self.snapshot(self.volume(region="eu-west-1", zone="eu-west-1a"), west)
        there.copy_snapshot(**{**timed, "SourceRegion": "eu-west-1", "SourceSnapshotId": other})
        control("POST", "snapshot", {"id": made[0], "state": "completed"})
        there.copy_snapshot(**timed)
        control("POST", "config", {"copy_throughput": 0})
        self.refused("ResourceLimitExceeded", self.ec2.copy_snapshot, **timed)
        found = [s["transfer"] for s in control("GET", f"snapshots?region={OTHER}")]
        self.assertEqual(sorted(found), ["standard"] + 4 * ["time-based"])

    def test_of_a_large_one(self) -> None:
        """No copy takes more than 500 MiB/s."""
        control("POST", "config", {"copy_seconds": -1})
        large = self.snapshot(self.volume(size=16384))
        wanted = {"SourceRegion": REGION, "SourceSnapshotId": large, "CompletionDurationMinutes": 15}
        there = client("ec2", MEMBER, OTHER)
        for _ in range(4):
            there.copy_snapshot(**wanted)
        self.refused("ResourceLimitExceeded", there.copy_snapshot, **wanted)


class Incremental(Case):
    """What the event of a copy says: whether it is built on an earlier one."""

    def setUp(self) -> None:
        super().setUp()
        self.source = self.snapshot_of(self.volume())

    def snapshot_of(self, volume: str) -> str:
        snapshot = self.snapshot(volume)
        self.share(snapshot)
        return snapshot

    def copy(self, source: str, key: str | None = None, region: str = OTHER, account: str = VAULT) -> str:
        more = {"Encrypted": True, "KmsKeyId": key} if key else {}
        from_region = next(s["region"] for s in control("GET", "snapshots") if s["id"] == source)
        there = client("ec2", account, region)
        return there.copy_snapshot(SourceRegion=from_region, SourceSnapshotId=source, **more)["SnapshotId"]

    def told(self, copy: str) -> str:
        def event() -> dict | None:
            details = (e["event"]["detail"] for e in control("GET", "events")["events"])
            of_copy = (d for d in details if d["event"] == "copySnapshot")
            return next((d for d in of_copy if d["snapshot_id"].endswith(copy)), None)

        detail = until(event)
        row = next(s for s in control("GET", "snapshots") if s["id"] == copy)
        self.assertEqual(detail["incremental"], str(row["incremental"]).lower())
        return detail["incremental"]

    def test_after_an_earlier_copy_of_the_volume(self) -> None:
        key = self.key(VAULT, OTHER)
        volume = next(s["volume"] for s in control("GET", "snapshots") if s["id"] == self.source)
        self.assertEqual(self.told(self.copy(self.source, key)), "false")
        self.assertEqual(self.told(self.copy(self.source, key)), "true")
        later = self.snapshot_of(volume)
        self.assertEqual(self.told(self.copy(later, key)), "true")
        self.assertEqual(self.told(self.copy(self.snapshot_of(self.volume()), key)), "false", "another one")
        self.assertEqual(self.told(self.copy(later, self.key(VAULT), REGION)), "false", "another Region")
        of_copy = self.copy(self.source, key, account=VAULT)
        self.assertEqual(self.told(self.copy(of_copy, self.key(VAULT), REGION)), "false", "two keys there")

    def test_under_one_key_only(self) -> None:
        first, second = self.key(VAULT, OTHER), self.key(VAULT, OTHER)
        one = self.copy(self.source, first)
        self.assertEqual([self.told(one), self.told(self.copy(self.source, second))], ["false", "false"])
        self.assertEqual(self.told(self.copy(self.source, second)), "false", "the first is still there")
        client("ec2", VAULT, OTHER).delete_snapshot(SnapshotId=one)
        self.assertEqual(self.told(self.copy(self.source, second)), "true")
        self.assertEqual(self.told(self.copy(self.source)), "false", "plain")

    def test_not_on_what_is_archived_pending_failed_or_gone(self) -> None:
        control("POST", "config", {"archive_seconds": 0})
        there = client("ec2", VAULT, OTHER)
        one = self.copy(self.source)
        there.modify_snapshot_tier(SnapshotId=one, StorageTier="archive")
        until(lambda: self.described(one, there)["StorageTier"] == "archive")
        two = self.copy(self.source)
        self.assertEqual(self.told(two), "false")
        self.assertEqual(self.told(self.copy(self.source)), "true", "the older one is no matter")
        for each in control("GET", f"snapshots?region={OTHER}"):
            there.delete_snapshot(SnapshotId=each["id"])
        failed = self.copy(self.source)
        control("POST", "snapshot", {"id": failed, "state": "error"})
        self.assertEqual(self.told(self.copy(self.source)), "false")

    def test_within_an_account_and_region(self) -> None:
        key = self.key()
        source = self.snapshot(self.volume(kms_key=key))
        self.assertEqual(self.told(self.copy(source, key, REGION, MEMBER)), "true")
        self.assertEqual(self.told(self.copy(source, self.key(), REGION, MEMBER)), "false")

    def test_knob(self) -> None:
        control("POST", "config", {"full_copies": 1})
        told = [self.told(self.copy(self.source)) for _ in range(3)]
        self.assertEqual(told, ["false", "false", "true"], "the first would have been a full one anyway")
