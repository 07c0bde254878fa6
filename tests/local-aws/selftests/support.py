"""What the self-tests share: the server, clients by account, the control plane."""

from __future__ import annotations

import contextlib
import http.server
import json
import subprocess
import sys
import threading
import time
import unittest
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

HERE = Path(__file__).resolve().parent.parent
MEMBER, VAULT, CENTRAL = "111111111111", "222222222222", "333333333333"
REGION, OTHER = "eu-central-1", "us-east-1"
URL = ""
_SESSION = boto3.session.Session()


@contextlib.contextmanager
def server() -> Iterator[str]:
    global URL
    command = [sys.executable, "-m", "local_aws", "--port", "0", "--until-stdin-closes"]
    with subprocess.Popen(
        command, cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        line = process.stdout.readline()
        if not line.startswith("ready http://127.0.0.1:"):
            raise RuntimeError(f"the server did not start: {line!r}")
        URL = line.split()[1]
        try:
            yield URL
        finally:
            process.stdin.close()
            process.wait(10)


def control(method: str, path: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{URL}/local-aws/{path}", data, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.loads(response.read())
    except urllib.error.HTTPError as error:
        raise AssertionError(error.read().decode()) from None


def client(service: str, key: str = MEMBER, region: str = REGION, retries: int = 1, **more: Any) -> Any:
    config = Config(
        retries={"total_max_attempts": retries, "mode": "standard"},
        max_pool_connections=32,
        read_timeout=more.pop("read_timeout", 30),
        parameter_validation=False,
        user_agent_appid=more.pop("app", None),
        user_agent_extra=more.pop("agent", None),
    )
    return _SESSION.client(
        service,
        region_name=region,
        endpoint_url=URL,
        config=config,
        aws_access_key_id=key,
        aws_secret_access_key=more.pop("secret", "secret"),
        **more,
    )


def until(check: Any, seconds: float = 10) -> Any:
    end = time.time() + seconds
    while not (found := check()):
        if time.time() > end:
            raise AssertionError("did not come true in time")
        time.sleep(0.02)
    return found


class Case(unittest.TestCase):
    """Every test begins with a fresh world in which nothing takes time."""

    def setUp(self) -> None:
        control("POST", "reset")
        control("POST", "config", {"snapshot_seconds": 0, "copy_seconds": 0})
        self.ec2 = client("ec2")
        self.vault = client("ec2", VAULT)

    def tearDown(self) -> None:
        broken = [c for c in control("GET", "calls")["calls"] if (c["status"] or 0) >= 500 and not c["fault"]]
        self.assertEqual(broken, [], "the server failed")

    def refused(self, code: str, call: Any, **arguments: Any) -> str:
        with self.assertRaises(ClientError) as caught:
            call(**arguments)
        self.assertEqual(caught.exception.response["Error"]["Code"], code)
        return caught.exception.response["Error"]["Message"]

    def volume(self, **more: Any) -> str:
        body = {"account": MEMBER, "region": REGION, **more}
        return control("POST", "seed", body)["volumes"][0]

    def instance(self, volumes: list[Any] | None = None, **more: Any) -> dict[str, Any]:
        body = {"account": MEMBER, "region": REGION, "volumes": volumes or [], **more}
        return control("POST", "instances", body)["instances"][0]

    def snapshot(self, volume: str | None = None, ec2: Any = None, **more: Any) -> str:
        return (ec2 or self.ec2).create_snapshot(VolumeId=volume or self.volume(), **more)["SnapshotId"]

    def share(self, snapshot: str, account: str = VAULT) -> None:
        self.ec2.modify_snapshot_attribute(
            SnapshotId=snapshot,
            Attribute="createVolumePermission",
            CreateVolumePermission={"Add": [{"UserId": account}]},
        )

    def key(self, account: str = MEMBER, region: str = REGION, **more: Any) -> str:
        return client("kms", account, region).create_key(**more)["KeyMetadata"]["Arn"]

    def described(self, snapshot: str, ec2: Any = None) -> dict[str, Any]:
        return (ec2 or self.ec2).describe_snapshots(SnapshotIds=[snapshot])["Snapshots"][0]


def by(name: str, *values: str) -> list[dict[str, Any]]:
    return [{"Name": name, "Values": list(values)}]


def pages(call: Any, key: str, **arguments: Any) -> list[list[dict[str, Any]]]:
    found, more = [], {}
    while True:
        answer = call(**arguments, **more)
        found.append(answer[key])
        if not answer.get("NextToken"):
            return found
        more = {"NextToken": answer["NextToken"]}


def tags(kind: str = "snapshot", **values: str) -> list[dict[str, Any]]:
    return [{"ResourceType": kind, "Tags": [{"Key": k, "Value": v} for k, v in values.items()]}]


class FakeFunction:
    """Stands in for a Runtime Interface Emulator: one invocation at a time, or it counts a crash."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.events: list[Any] = []
        self.overlaps = 0
        self.answers: list[tuple[int, str]] = []
        busy = threading.Lock()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if not busy.acquire(blocking=False):
                    outer.overlaps += 1
                    return
                try:
                    outer.events.append(json.loads(body))
                    time.sleep(seconds)
                    status, text = outer.answers.pop(0) if outer.answers else (200, '{"ok": true}')
                finally:
                    busy.release()
                self.send_response(status)
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
