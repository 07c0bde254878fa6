"""Faults in HTTP itself, as a client sees them that reads bytes."""

from __future__ import annotations

import socket
import threading
import time
import urllib.parse
from typing import Any

from . import support
from .support import MEMBER, REGION, Case, client, control

COUNTED = "Action=DescribeVolumes&Version=2016-11-15"


def raw(body: str = COUNTED, timeout: float = 10, most: int = 1 << 20) -> tuple[bytes, str]:
    """What comes, and how it ends: `closed`, `reset`, or `open` when nothing more comes, or too much."""
    host = urllib.parse.urlsplit(support.URL)
    with socket.create_connection((host.hostname, host.port), timeout) as connection:
        head = (
            "POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-www-form-urlencoded\r\n"
            f"authorization: AWS4-HMAC-SHA256 Credential={MEMBER}/20260101/{REGION}/ec2/aws4_request\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        )
        connection.sendall((head + body).encode())
        data = b""
        while len(data) < most:
            try:
                more = connection.recv(65536)
            except TimeoutError:
                return data, "open"
            except ConnectionResetError:
                return data, "reset"
            if not more:
                return data, "closed"
            data += more
    return data, "open"


def body_of(data: bytes) -> bytes:
    return data.partition(b"\r\n\r\n")[2]


class Wire(Case):
    def arm(self, **fault: Any) -> None:
        control("DELETE", "faults")
        control("POST", "faults", {"action": "DescribeVolumes", **fault})

    def test_another_answer(self) -> None:
        self.arm(answer="<html>no</html>", status=502, headers={"content-type": "text/html"})
        data, end = raw(timeout=0.3)
        self.assertTrue(data.startswith(b"HTTP/1.1 502 Bad Gateway\r\n"), data)
        self.assertEqual((body_of(data), end), (b"<html>no</html>", "open"))
        self.assertIn(b"content-type: text/html", data)
        self.arm(answer="")
        self.assertTrue(raw(timeout=0.3)[0].startswith(b"HTTP/1.1 200 OK\r\n"))

    def test_another_answer_takes_effect_only_where_it_says_so(self) -> None:
        volume = self.volume()
        for after, made in [(False, 0), (True, 1)]:
            self.arm(action="CreateSnapshot", answer="", status=504, after=after)
            raw(f"Action=CreateSnapshot&VolumeId={volume}&Version=2016-11-15", 0.3)
            self.assertEqual(len(control("GET", "snapshots")), made)

    def test_an_answer_is_rewritten(self) -> None:
        self.volume()
        self.arm(rewrite=[["<size>8</size>", "<size>many\\1</size>"], ["<volumeId>.*?</volumeId>", ""]])
        body = body_of(raw(timeout=0.3)[0]).decode()
        self.assertIn("<size>many\\1</size>", body)
        self.assertNotIn("<volumeId>", body)
        self.arm(encoding="utf-16")
        self.assertIn("DescribeVolumesResponse", body_of(raw(timeout=0.3)[0]).decode("utf-16"))

    def test_another_question(self) -> None:
        for _ in range(7):
            self.volume()
        self.arm(ask={"MaxResults": "5"})
        page = client("ec2").describe_volumes()
        self.assertEqual(len(page["Volumes"]), 5)
        self.arm(ask={"NextToken": None, "MaxResults": "5"})
        again = client("ec2").describe_volumes(NextToken=page["NextToken"])
        self.assertEqual([v["VolumeId"] for v in again["Volumes"]], [v["VolumeId"] for v in page["Volumes"]])
        self.assertNotIn("NextToken", control("GET", "calls")["calls"][-1]["params"], "what was served")
        client("ssm").put_parameter(Name="/a/b", Type="String", Value="x")
        self.arm(action="GetParametersByPath", ask={"Path": "/a"})
        self.assertEqual(len(client("ssm").get_parameters_by_path(Path="/other")["Parameters"]), 1)

    def test_an_answer_is_cut(self) -> None:
        self.volume()
        for framing, end in [("length", b"content-length: "), ("chunked", b"chunked"), ("close", b"close")]:
            for where in (0.5, "<volumeId>vol-[0-9a-f]{3}"):
                self.arm(cut=where, framing=framing)
                data, how = raw()
                self.assertIn(end, data)
                self.assertEqual(how, "closed")
                self.assertNotIn(b"</DescribeVolumesResponse>", data)
                self.assertFalse(data.endswith(b"0\r\n\r\n"), "the last chunk is missing")
        self.assertRegex(data, b"<volumeId>vol-[0-9a-f]{3}$")

    def test_other_framings_are_whole_without_a_cut(self) -> None:
        for framing in ("chunked", "close"):
            self.arm(framing=framing)
            self.assertEqual(client("ec2").describe_volumes()["Volumes"], [])

    def test_a_reset_in_the_middle_and_at_the_end(self) -> None:
        self.arm(cut=0.5, reset=True)
        self.assertEqual(raw()[1], "reset")
        self.arm(reset=True)
        self.assertEqual(raw()[1], "reset")

    def test_slow_answers(self) -> None:
        for start in ("head", "body"):
            self.arm(slow={"from": start, "bytes": 100, "seconds": 0.05})
            began = time.time()
            self.assertEqual(client("ec2").describe_volumes()["Volumes"], [])
            self.assertGreater(time.time() - began, 0.1)

    def test_a_body_without_an_end_ends_with_its_fault(self) -> None:
        for framing in ("chunked", "close"):
            self.arm(framing=framing, cut=0.5, endless={"bytes": 1 << 16, "seconds": 0.001})
            data, how = raw()
            self.assertEqual((len(data) >= 1 << 20, how), (True, "open"))
            threading.Timer(0.2, control, ("DELETE", "faults")).start()
            self.assertEqual(raw(most=1 << 30)[1], "closed")

    def test_chance_is_the_same_each_time(self) -> None:
        found = []
        for _ in range(2):
            control("DELETE", "calls")
            self.arm(chance=0.5, seed=7, code="RequestLimitExceeded")
            for _ in range(20):
                raw(timeout=0.01)
            time.sleep(0.05)
            found.append([c["status"] for c in control("GET", "calls")["calls"]])
        self.assertEqual(found[0], found[1])
        self.assertEqual(set(found[0]), {200, 503})

    def test_errors_of_the_service_go_over_the_same_wire(self) -> None:
        self.arm(cut=0.5)
        data, how = raw(COUNTED + "&VolumeId.1=vol-00000000000000000")
        self.assertTrue(data.startswith(b"HTTP/1.1 400"), data)
        self.assertEqual(how, "closed")

    def test_mistakes(self) -> None:
        for fault in (
            {"framing": "none"},
            {"slow": {"from": "tail"}},
            {"endless": {"from": "head"}},
            {"rewrite": ["x"]},
            {"rewrite": [["(", ""]]},
            {"chance": "often"},
        ):
            with self.subTest(fault=fault), self.assertRaises(AssertionError):
                control("POST", "faults", fault)
