"""The control plane, faults, and HTTP itself."""

from __future__ import annotations

import datetime as dt
import http.client
import json
import threading
import time
import urllib.parse

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from . import support
from .support import MEMBER, OTHER, REGION, VAULT, Case, client, control, tags


class Steering(Case):
    def test_reset_and_knobs(self) -> None:
        self.snapshot()
        control("POST", "config", {"copy_limit": 3})
        began = time.time()
        control("POST", "reset")
        self.assertLess(time.time() - began, 1)
        self.assertEqual(control("GET", "config")["copy_limit"], 20)
        for path in ("snapshots", "volumes"):
            self.assertEqual(control("GET", path), [])
        self.assertEqual(control("GET", "calls")["calls"], [])
        with self.assertRaisesRegex(AssertionError, "no such knob"):
            control("POST", "config", {"nonsense": 1})
        with self.assertRaisesRegex(AssertionError, "no such thing"):
            control("GET", "nonsense")

    def test_snapshot(self) -> None:
        snapshot = self.snapshot()
        control(
            "POST",
            "snapshot",
            {
                "id": snapshot,
                "state": "error",
                "state_message": "m",
                "start_time": "2026-01-02T03:04:05Z",
                "tags": {"a": "b"},
            },
        )
        shown = self.described(snapshot)
        self.assertEqual(
            (shown["State"], shown["StateMessage"], shown["Tags"]),
            ("error", "m", [{"Key": "a", "Value": "b"}]),
        )
        self.assertEqual(shown["StartTime"], dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.timezone.utc))
        with self.assertRaisesRegex(AssertionError, "no such snapshot"):
            control("POST", "snapshot", {"id": "snap-1"})

    def test_age(self) -> None:
        volume = self.volume()
        theirs = self.snapshot(
            control("POST", "seed", {"account": VAULT, "region": REGION})["volumes"][0], self.vault
        )
        mine = self.snapshot(
            volume,
            Description="policy: p slot: 2026-11-22T02:00:00Z volume: v",
            TagSpecifications=tags(
                **{
                    "snapferry:slot": "2026-11-22T02:00:00Z",
                    "snapferry:expires-at": "2026-12-01T00:00:00Z",
                    "x": "y",
                }
            ),
        )
        before = {s["id"]: s for s in control("GET", "snapshots")}
        self.assertEqual(control("POST", "age", {"days": 3, "accounts": [MEMBER]}), {"snapshots": 1})
        after = {s["id"]: s for s in control("GET", "snapshots")}
        self.assertEqual(
            after[mine]["tags"],
            {
                "snapferry:slot": "2026-11-19T02:00:00Z",
                "x": "y",
                "snapferry:expires-at": "2026-11-28T00:00:00Z",
            },
        )
        self.assertEqual(after[mine]["description"], "policy: p slot: 2026-11-19T02:00:00Z volume: v")
        self.assertEqual(after[theirs], before[theirs])
        moved = dt.datetime.fromisoformat(before[mine]["start_time"][:-1]) - dt.datetime.fromisoformat(
            after[mine]["start_time"][:-1]
        )
        self.assertEqual(moved.days, 3)

    def test_dumps(self) -> None:
        key = self.key()
        volume = self.volume(kms_key=key, size=4, tags={"t": "1"}, volume_type="io2")
        (row,) = control("GET", f"volumes?account={MEMBER}&region={REGION}")
        self.assertEqual(
            (row["id"], row["size"], row["type"], row["key"], row["tags"], row["attached_to"]),
            (volume, 4, "io2", key, {"t": "1"}, []),
        )
        snapshot = self.snapshot(volume)
        self.share(snapshot)
        (row,) = control("GET", "snapshots")
        self.assertEqual(
            (
                row["id"],
                row["account"],
                row["region"],
                row["volume"],
                row["state"],
                row["encrypted"],
                row["key"],
                row["shared_with"],
                row["copied"],
                row["source"],
                row["lock"],
            ),
            (snapshot, MEMBER, REGION, volume, "completed", True, key, [VAULT], False, None, None),
        )

    def test_seeds_what_is_shared_already(self) -> None:
        body = {"account": MEMBER, "region": REGION, "count": 2, "snapshots": 1, "description": "d"}
        theirs = control("POST", "seed", {**body, "shared_with": [VAULT]})["snapshots"]
        everybodys = control("POST", "seed", {**body, "shared_with": ["all"]})["snapshots"]
        control("POST", "seed", body)
        for arguments, wanted in [
            ({"RestorableByUserIds": ["self"]}, theirs),
            ({"RestorableByUserIds": ["all"]}, everybodys),
        ]:
            found = self.vault.describe_snapshots(OwnerIds=[MEMBER], **arguments)["Snapshots"]
            self.assertEqual(sorted(s["SnapshotId"] for s in found), sorted(wanted))
        self.assertEqual(control("GET", "events"), {"events": []})

    def test_calls(self) -> None:
        self.volume()
        self.ec2.describe_volumes()
        self.ec2.describe_volumes(Filters=[{"Name": "volume-type", "Values": ["gp3"]}])
        self.refused(
            "InvalidSnapshot.NotFound",
            client("ec2", VAULT, OTHER).delete_snapshot,
            SnapshotId="snap-0123456789abcdef0",
        )
        found = control("GET", "calls?action=DescribeVolumes")["calls"]
        self.assertEqual(
            (len(found), found[1]["params"]["Filter.1.Value.1"], found[0]["status"]), (2, "gp3", 200)
        )
        counts = control("GET", "calls/counts")
        self.assertEqual((counts["total"], counts["errors"]), (3, 1))
        self.assertIn(
            {
                "account": VAULT,
                "region": OTHER,
                "service": "ec2",
                "action": "DeleteSnapshot",
                "count": 1,
                "errors": 1,
            },
            counts["counts"],
        )
        control("DELETE", "calls")
        self.assertEqual(control("GET", "calls/counts")["total"], 0)


class Faults(Case):
    def test_errors_by_protocol(self) -> None:
        control(
            "POST",
            "faults",
            [
                {"action": "DescribeVolumes", "times": 1, "code": "RequestLimitExceeded"},
                {"service": "kms", "code": "KMSInternalException", "status": 500, "times": 1},
                {"service": "sts", "code": "AccessDenied", "message": "no", "times": 1},
            ],
        )
        self.refused("RequestLimitExceeded", self.ec2.describe_volumes)
        self.refused("KMSInternalException", client("kms").list_keys)
        self.assertEqual(self.refused("AccessDenied", client("sts").get_caller_identity), "no")
        self.ec2.describe_volumes()
        client("kms").list_keys()
        self.assertEqual([f["hits"] for f in control("GET", "faults")["faults"]], [1, 1, 1])
        self.assertEqual(control("DELETE", "faults"), {"faults": []})

    def test_are_retried_by_an_sdk(self) -> None:
        control("POST", "faults", {"code": "RequestLimitExceeded", "times": 2, "service": "ec2"})
        client("ec2", retries=4).describe_volumes()
        self.assertEqual([c["status"] for c in control("GET", "calls")["calls"]], [503, 503, 200])

    def test_match_and_skip(self) -> None:
        one, two = self.volume(), self.volume()
        control(
            "POST",
            "faults",
            {
                "action": ["CreateSnapshot"],
                "match": two,
                "skip": 1,
                "code": "InternalError",
                "account": MEMBER,
                "region": REGION,
            },
        )
        self.snapshot(one)
        self.snapshot(two)
        self.refused("InternalError", self.ec2.create_snapshot, VolumeId=two)
        with self.assertRaisesRegex(AssertionError, "no such key"):
            control("POST", "faults", {"cod": "x"})

    def test_of_one_process(self) -> None:
        control("POST", "faults", {"agent": "app/one", "code": "InternalError"})
        self.ec2.describe_volumes()
        client("ec2", app="two").describe_volumes()
        self.refused("InternalError", client("ec2", app="one").describe_volumes)

    def test_took_effect_or_not(self) -> None:
        volume = self.volume()
        for fault, made in [
            ({"drop": "before"}, 0),
            ({"drop": "after"}, 1),
            ({"truncate": True}, 1),
            ({"code": "InternalError", "after": True}, 1),
            ({"code": "Unavailable"}, 0),
        ]:
            with self.subTest(fault=fault):
                before = len(control("GET", "snapshots"))
                control("DELETE", "faults")
                control("POST", "faults", {"action": "CreateSnapshot", "times": 1, **fault})
                with self.assertRaises((BotoCoreError, ClientError, ResponseParserError)):
                    self.ec2.create_snapshot(VolumeId=volume)
                self.assertEqual(len(control("GET", "snapshots")) - before, made)

    def test_delay(self) -> None:
        control("POST", "faults", {"action": "DescribeVolumes", "delay": 0.3, "times": 1})
        began = time.time()
        self.ec2.describe_volumes()
        self.assertGreater(time.time() - began, 0.3)


    def test_hold(self) -> None:
        volume, answers = self.volume(), []

        def create() -> None:
            try:
                answers.append(self.ec2.create_snapshot(VolumeId=volume)["SnapshotId"])
            except BotoCoreError as error:
                answers.append(type(error).__name__)

        for hold, more, made, answered in [
            ("before", {"drop": "before"}, (0, 0), False),
            ("before", {}, (0, 1), True),
            ("after", {"drop": "after"}, (1, 1), False),
            ("after", {}, (1, 1), True),
        ]:
            with self.subTest(hold=hold, **more):
                before = len(control("GET", "snapshots"))
                control("POST", "faults", {"action": "CreateSnapshot", "hold": hold, "times": 1, **more})
                calling = threading.Thread(target=create)
                calling.start()
                ids = [f["id"] for f in control("GET", "faults")["faults"]]
                (fault,) = control("GET", f"faults?wait=held&id={ids[0]}")["faults"]
                self.assertEqual(
                    (fault["hits"], fault["held"], calling.is_alive()), (1, ["CreateSnapshot"], True)
                )
                meanwhile = len(control("GET", "snapshots")) - before
                control("DELETE", "faults")
                calling.join(10)
                self.assertEqual((meanwhile, len(control("GET", "snapshots")) - before), made)
                self.assertEqual(answers.pop().startswith("snap-"), answered)
        self.assertEqual(control("GET", "faults?wait=held"), {"faults": []}, "nothing to wait for")
        with self.assertRaisesRegex(AssertionError, "hold: before or after"):
            control("POST", "faults", {"hold": "now"})


class Http(Case):
    def test_keeps_connections(self) -> None:
        host = urllib.parse.urlsplit(support.URL)
        connection = http.client.HTTPConnection(host.hostname, host.port, timeout=10)
        credential = f"AWS4-HMAC-SHA256 Credential={MEMBER}/20260101/{REGION}/ec2/aws4_request, Signature=x"
        headers = {"authorization": credential, "content-type": "application/x-www-form-urlencoded"}
        connection.connect()
        socket, began, count = connection.sock, time.time(), 300
        for _ in range(count):
            connection.request("POST", "/", "Action=DescribeVolumes&Version=2016-11-15", headers)
            response = connection.getresponse()
            self.assertEqual((response.status, response.version), (200, 11))
            response.read()
        self.assertIs(connection.sock, socket)
        self.assertLess((time.time() - began) / count, 0.05)
        connection.request(
            "POST",
            "/",
            iter([b"Action=Describe", b"Volumes&Version=1"]),
            {**headers, "transfer-encoding": "chunked"},
            encode_chunked=True,
        )
        self.assertEqual(connection.getresponse().status, 200)
        connection.close()

    def test_nonsense(self) -> None:
        host = urllib.parse.urlsplit(support.URL)
        for body, headers in [(b"", {}), (b"x", {"content-type": "text/plain"})]:
            connection = http.client.HTTPConnection(host.hostname, host.port, timeout=10)
            connection.request("POST", "/", body, headers)
            self.assertLess(connection.getresponse().status, 500)
            connection.close()
        self.assertTrue(json.dumps(control("GET", "health")))
