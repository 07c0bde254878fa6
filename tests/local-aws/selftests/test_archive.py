"""The archive tier and fast snapshot restores."""

from __future__ import annotations

import datetime as dt

from .support import MEMBER, OTHER, REGION, VAULT, Case, by, client, control, pages, until

A, B = f"{REGION}a", f"{REGION}b"


class Archive(Case):
    def setUp(self) -> None:
        super().setUp()
        control("POST", "config", {"archive_seconds": 0, "restore_seconds": 0})

    def tier(self, snapshot: str) -> dict:
        filters = by("snapshot-id", snapshot)
        return self.ec2.describe_snapshot_tier_status(Filters=filters)["SnapshotTierStatuses"][0]

    def test_takes_time(self) -> None:
        control("POST", "config", {"archive_seconds": 0.4})
        snapshot = self.snapshot()
        self.assertNotIn("LastTieringOperationStatus", self.tier(snapshot))
        made = self.ec2.modify_snapshot_tier(SnapshotId=snapshot, StorageTier="archive")
        self.assertIsInstance(made["TieringStartTime"], dt.datetime)
        shown = self.tier(snapshot)
        self.assertEqual(
            (shown["StorageTier"], shown["LastTieringOperationStatus"]), ("standard", "archival-in-progress")
        )
        self.assertEqual(self.described(snapshot)["StorageTier"], "standard")
        self.refused("IncorrectState", self.ec2.modify_snapshot_tier, SnapshotId=snapshot)
        self.assertTrue(control("GET", "deliveries?wait=settled")["idle"])
        shown = self.tier(snapshot)
        self.assertEqual(
            (shown["StorageTier"], shown["LastTieringOperationStatus"], shown["LastTieringProgress"]),
            ("archive", "archival-completed", 100),
        )
        self.assertGreater(shown["ArchivalCompleteTime"], shown["LastTieringStartTime"])
        self.assertEqual(self.described(snapshot)["StorageTier"], "archive")
        (found,) = self.ec2.describe_snapshots(Filters=by("storage-tier", "archive"))["Snapshots"]
        self.assertEqual(found["SnapshotId"], snapshot)
        self.ec2.delete_snapshot(SnapshotId=snapshot)

    def test_fails(self) -> None:
        control("POST", "config", {"archive_failures": 1})
        bad, good = self.snapshot(), self.snapshot()
        for snapshot in (bad, good):
            self.ec2.modify_snapshot_tier(SnapshotId=snapshot)
        self.assertEqual(control("GET", "config")["archive_failures"], 0)
        shown = self.tier(bad)
        self.assertEqual(
            (shown["StorageTier"], shown["LastTieringOperationStatus"]), ("standard", "archival-failed")
        )
        self.assertTrue(shown["LastTieringOperationStatusDetail"])
        for status, wanted in (("archival-failed", bad), ("archival-completed", good)):
            filters = by("last-tiering-operation", status)
            found = self.ec2.describe_snapshot_tier_status(Filters=filters)["SnapshotTierStatuses"]
            self.assertEqual([s["SnapshotId"] for s in found], [wanted])
        self.ec2.modify_snapshot_tier(SnapshotId=bad)
        self.assertEqual(self.tier(bad)["LastTieringOperationStatus"], "archival-completed")

    def test_ends_when_told(self) -> None:
        control("POST", "config", {"archive_seconds": -1})
        one, two = self.snapshot(), self.snapshot()
        for snapshot, end in ((one, "archival-completed"), (two, "archival-failed")):
            self.ec2.modify_snapshot_tier(SnapshotId=snapshot)
            row = control("POST", "snapshot", {"id": snapshot, "tiering": end})
            self.assertEqual(row["tiering"], end)
        rows = {s["id"]: (s["tier"], s["tiering"]) for s in control("GET", "snapshots")}
        self.assertEqual(rows[one], ("archive", "archival-completed"))
        self.assertEqual(rows[two], ("standard", "archival-failed"))
        with self.assertRaisesRegex(AssertionError, "cannot be"):
            control("POST", "snapshot", {"id": one, "tiering": "archival-failed"})

    def test_ends_shares_copies_and_restores(self) -> None:
        snapshot = self.snapshot()
        self.share(snapshot)
        zones = {"AvailabilityZones": [A], "SourceSnapshotIds": [snapshot]}
        self.ec2.enable_fast_snapshot_restores(**zones)
        self.vault.enable_fast_snapshot_restores(**zones)
        self.ec2.modify_snapshot_tier(SnapshotId=snapshot)
        self.refused("InvalidSnapshot.NotFound", self.vault.describe_snapshots, SnapshotIds=[snapshot])
        row = control("GET", "snapshots")[0]
        self.assertEqual(row["shared_with"], [])
        self.assertEqual(
            row["fast_restores"],
            [{"account": a, "zone": A, "state": "disabled"} for a in (MEMBER, VAULT)],
        )
        there = client("ec2", MEMBER, OTHER)
        wanted = {"SourceRegion": REGION, "SourceSnapshotId": snapshot}
        self.assertIn("archived", self.refused("IncorrectState", there.copy_snapshot, **wanted))
        self.refused(
            "IncorrectState",
            self.ec2.modify_snapshot_attribute,
            SnapshotId=snapshot,
            OperationType="add",
            UserIds=[VAULT],
        )
        answer = self.ec2.enable_fast_snapshot_restores(**zones)
        self.assertEqual(answer["Successful"], [])
        self.ec2.lock_snapshot(SnapshotId=snapshot, LockMode="governance", LockDuration=1)
        self.ec2.restore_snapshot_tier(SnapshotId=snapshot, PermanentRestore=True)
        there.copy_snapshot(**wanted)

    def test_refusals(self) -> None:
        call = self.ec2.modify_snapshot_tier
        self.refused("InvalidSnapshot.NotFound", call, SnapshotId="snap-0123456789abcdef0")
        self.refused("InvalidParameterValue", call, SnapshotId=self.snapshot(), StorageTier="standard")
        self.refused("DryRunOperation", call, SnapshotId=self.snapshot(), DryRun=True)
        shared = self.snapshot()
        self.share(shared)
        self.refused("InvalidSnapshot.NotFound", self.vault.modify_snapshot_tier, SnapshotId=shared)
        mapping = [{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": shared}}]
        image = self.ec2.register_image(Name="n", RootDeviceName="/dev/xvda", BlockDeviceMappings=mapping)
        self.refused("InvalidSnapshot.InUse", call, SnapshotId=shared)
        self.ec2.disable_image(ImageId=image["ImageId"])
        call(SnapshotId=shared)
        control("POST", "config", {"snapshot_seconds": -1, "archive_seconds": -1, "archive_limit": 1})
        self.refused("IncorrectState", call, SnapshotId=self.snapshot())
        control("POST", "config", {"snapshot_seconds": 0})
        call(SnapshotId=self.snapshot())
        self.refused("ResourceLimitExceeded", call, SnapshotId=self.snapshot())
        self.refused(
            "InvalidParameterValue", self.ec2.describe_snapshot_tier_status, Filters=by("status", "completed")
        )


class Restores(Case):
    def setUp(self) -> None:
        super().setUp()
        control("POST", "config", {"restore_seconds": 0})

    def states(self, ec2: object = None, **filters: str) -> dict[tuple[str, str], str]:
        asked = [f for name, value in filters.items() for f in by(name.replace("_", "-"), value)]
        found = (ec2 or self.ec2).describe_fast_snapshot_restores(Filters=asked)["FastSnapshotRestores"]
        return {(r["SnapshotId"], r["AvailabilityZone"]): r["State"] for r in found}

    def test_states(self) -> None:
        control("POST", "config", {"restore_seconds": 0.4})
        snapshot = self.snapshot()
        whole = {"AvailabilityZones": [A, B], "SourceSnapshotIds": [snapshot]}
        answer = self.ec2.enable_fast_snapshot_restores(**whole)
        self.assertEqual(answer["Unsuccessful"], [])
        self.assertEqual(
            [(r["SnapshotId"], r["AvailabilityZone"], r["State"]) for r in answer["Successful"]],
            [(snapshot, A, "enabling"), (snapshot, B, "enabling")],
        )
        self.assertEqual(answer["Successful"][0]["StateTransitionReason"], "Client.UserInitiated")
        self.assertEqual(set(self.states().values()), {"enabling"})
        until(lambda: set(self.states().values()) == {"optimizing"})
        until(lambda: set(self.states().values()) == {"enabled"})
        shown = self.ec2.describe_fast_snapshot_restores()["FastSnapshotRestores"][0]
        self.assertEqual(shown["OwnerId"], MEMBER)
        self.assertLess(shown["EnablingTime"], shown["OptimizingTime"])
        self.assertLess(shown["OptimizingTime"], shown["EnabledTime"])
        again = self.ec2.enable_fast_snapshot_restores(AvailabilityZones=[A], SourceSnapshotIds=[snapshot])
        self.assertEqual(again["Successful"][0]["State"], "enabled")
        off = self.ec2.disable_fast_snapshot_restores(AvailabilityZones=[A], SourceSnapshotIds=[snapshot])
        self.assertEqual(off["Successful"][0]["State"], "disabling")
        self.assertTrue(control("GET", "deliveries?wait=settled")["idle"])
        self.assertEqual(self.states(), {(snapshot, A): "disabled", (snapshot, B): "enabled"})

    def test_by_zone_id(self) -> None:
        zones = self.ec2.describe_availability_zones(ZoneNames=[B])["AvailabilityZones"]
        snapshot, number = self.snapshot(), zones[0]["ZoneId"]
        wanted = {"SourceSnapshotIds": [snapshot], "AvailabilityZoneIds": [number]}
        answer = self.ec2.enable_fast_snapshot_restores(**wanted)["Successful"]
        self.assertEqual([(r["AvailabilityZone"], r["AvailabilityZoneId"]) for r in answer], [(B, number)])
        self.assertEqual(self.states(availability_zone_id=number), {(snapshot, B): "enabled"})

    def test_unsuccessful(self) -> None:
        control("POST", "config", {"restore_limit": 2})
        good, more, third = self.snapshot(), self.snapshot(), self.snapshot()
        control("POST", "config", {"snapshot_seconds": -1})
        pending = self.snapshot()
        ghost = "snap-0123456789abcdef0"

        def enable(*ids: str, zones: tuple[str, ...] = (A,), ec2: object = None) -> dict[str, dict]:
            call = (ec2 or self.ec2).enable_fast_snapshot_restores
            answer = call(AvailabilityZones=list(zones), SourceSnapshotIds=list(ids))
            errors = {
                (u["SnapshotId"], e["AvailabilityZone"]): e["Error"]["Code"]
                for u in answer["Unsuccessful"]
                for e in u["FastSnapshotRestoreStateErrors"]
            }
            good = [(s["SnapshotId"], s["AvailabilityZone"]) for s in answer["Successful"]]
            return {"good": good, "bad": errors}

        self.assertEqual(
            enable(good, pending, ghost, zones=(A, "eu-central-1z")),
            {
                "good": [(good, A)],
                "bad": {
                    (good, "eu-central-1z"): "InvalidParameterValue",
                    (pending, A): "IncorrectState",
                    (pending, "eu-central-1z"): "InvalidParameterValue",
                    (ghost, A): "InvalidSnapshot.NotFound",
                    (ghost, "eu-central-1z"): "InvalidParameterValue",
                },
            },
        )
        wanted = {"good": [(good, B), (more, A)], "bad": {(third, A): "FastSnapshotRestoreLimitExceeded"}}
        found = [enable(good, zones=(B,)), enable(more, third)]
        self.assertEqual(found[0]["good"] + found[1]["good"], wanted["good"])
        self.assertEqual(found[1]["bad"], wanted["bad"])
        self.ec2.disable_fast_snapshot_restores(AvailabilityZones=[A], SourceSnapshotIds=[more])
        self.assertEqual(enable(third)["good"], [(third, A)])
        control("POST", "config", {"restore_failures": 1})
        found = enable(third, zones=(B, A))
        self.assertEqual(found, {"good": [(third, A)], "bad": {(third, B): "InternalError"}})
        off = self.ec2.disable_fast_snapshot_restores(AvailabilityZones=[B], SourceSnapshotIds=[third])
        self.assertEqual(
            off["Unsuccessful"][0]["FastSnapshotRestoreStateErrors"][0]["Error"]["Code"], "IncorrectState"
        )

    def test_refusals(self) -> None:
        snapshot, call = self.snapshot(), self.ec2.enable_fast_snapshot_restores
        both = {"AvailabilityZones": [A], "AvailabilityZoneIds": ["euc1-az2"]}
        self.refused("InvalidParameterCombination", call, **both, SourceSnapshotIds=[snapshot])
        self.refused("MissingParameter", call, SourceSnapshotIds=[snapshot])
        self.refused("MissingParameter", call, AvailabilityZones=[A])
        self.refused("InvalidSnapshotID.Malformed", call, AvailabilityZones=[A], SourceSnapshotIds=["snap-1"])
        whole = {"AvailabilityZones": [A], "SourceSnapshotIds": [snapshot]}
        self.refused("DryRunOperation", call, **whole, DryRun=True)
        self.refused("DryRunOperation", self.ec2.disable_fast_snapshot_restores, **whole, DryRun=True)
        big = self.snapshot(self.volume(size=16385))
        answer = call(AvailabilityZones=[A], SourceSnapshotIds=[big])
        self.assertEqual(len(answer["Unsuccessful"]), 1)
        self.assertEqual(self.states(), {})

    def test_end_with_the_snapshot_or_the_share(self) -> None:
        one, two = self.snapshot(), self.snapshot()
        wanted = {"AvailabilityZones": [A], "SourceSnapshotIds": [one, two]}
        for snapshot in (one, two):
            self.share(snapshot)
        for ec2 in (self.ec2, self.vault):
            self.assertEqual(ec2.enable_fast_snapshot_restores(**wanted)["Unsuccessful"], [])
        self.assertEqual(self.states(self.vault, owner_id=VAULT), {(one, A): "enabled", (two, A): "enabled"})
        self.assertEqual(self.states(owner_id=VAULT), {})
        self.ec2.modify_snapshot_attribute(SnapshotId=one, OperationType="remove", UserIds=[VAULT])
        self.assertEqual(self.states(self.vault), {(one, A): "disabled", (two, A): "enabled"})
        self.ec2.delete_snapshot(SnapshotId=two)
        self.assertEqual(self.states(self.vault, state="enabled"), {})
        self.assertEqual(self.states(state="enabled"), {(one, A): "enabled"})
        self.assertEqual(self.states(snapshot_id=two), {(two, A): "disabled"})

    def test_filters_and_pages(self) -> None:
        control("POST", "config", {"restore_limit": 0})
        made = [self.snapshot() for _ in range(6)]
        self.ec2.enable_fast_snapshot_restores(AvailabilityZones=[A, B], SourceSnapshotIds=made)
        self.ec2.disable_fast_snapshot_restores(AvailabilityZones=[B], SourceSnapshotIds=made[:2])
        call = self.ec2.describe_fast_snapshot_restores
        found = pages(call, "FastSnapshotRestores", MaxResults=5)
        self.assertEqual([len(p) for p in found], [5, 5, 2])
        self.assertEqual(len({(r["SnapshotId"], r["AvailabilityZone"]) for p in found for r in p}), 12)
        self.assertEqual(len(self.states(availability_zone=B, state="enabled")), 4)
        self.assertEqual(len(self.states(snapshot_id=made[0])), 2)
        self.assertEqual(len(self.states(owner_id=MEMBER)), 12)
        self.refused("InvalidParameterValue", call, Filters=by("nonsense", "1"))
        self.refused("InvalidParameterValue", call, NextToken="nonsense")

    def test_control_plane(self) -> None:
        control("POST", "config", {"restore_seconds": -1})
        snapshot = self.snapshot()
        self.ec2.enable_fast_snapshot_restores(AvailabilityZones=[A, B], SourceSnapshotIds=[snapshot])
        control("POST", "restores", {"snapshot": snapshot, "zone": B, "state": "optimizing"})
        self.assertEqual(self.states(), {(snapshot, A): "enabling", (snapshot, B): "optimizing"})
        rows = control("GET", f"restores?account={MEMBER}&region={REGION}")
        self.assertEqual([(r["zone"], r["state"]) for r in rows], [(A, "enabling"), (B, "optimizing")])
        control("POST", "restores", {"snapshot": snapshot, "state": "enabled"})
        self.assertEqual(set(self.states().values()), {"enabled"})
        with self.assertRaisesRegex(AssertionError, "no such state"):
            control("POST", "restores", {"snapshot": snapshot, "state": "on"})
        with self.assertRaisesRegex(AssertionError, "no fast restores"):
            control("POST", "restores", {"snapshot": "snap-1", "state": "enabled"})
        fault = {"action": "EnableFastSnapshotRestores", "code": "RequestLimitExceeded", "times": 1}
        control("POST", "faults", fault)
        wanted = {"AvailabilityZones": [A], "SourceSnapshotIds": [snapshot]}
        self.refused("RequestLimitExceeded", self.ec2.enable_fast_snapshot_restores, **wanted)
        counts = control("GET", "calls/counts?action=EnableFastSnapshotRestores")
        self.assertEqual((counts["total"], counts["errors"]), (2, 1))
