"""Functions behind the real Runtime Interface Emulator. Skipped where prepare.py did not put one."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from .support import MEMBER, REGION, VAULT, Case, client, control

RIE = Path(sys.prefix).parent / "aws-lambda-rie"
BOOTSTRAP = """#!%s
import http.client, json, os
api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
while True:
    api.request("GET", "/2018-06-01/runtime/invocation/next")
    response = api.getresponse()
    event, request = json.loads(response.read()), response.headers["Lambda-Runtime-Aws-Request-Id"]
    if event.get("exit"):
        os._exit(3)
    what = "error" if event.get("fail") else "response"
    answer = {"errorType": "E", "errorMessage": "m"} if event.get("fail") else {"pid": os.getppid()}
    api.request("POST", f"/2018-06-01/runtime/invocation/{request}/{what}", json.dumps(answer))
    api.getresponse().read()
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@unittest.skipUnless(RIE.exists(), "no aws-lambda-rie beside the virtual environment")
class Emulator(Case):
    def start(self) -> str:
        address, api = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        process = subprocess.Popen(
            [
                str(RIE),
                "--runtime-interface-emulator-address",
                address,
                "--runtime-api-address",
                api,
                self.bootstrap,
            ],
            env={**os.environ, "AWS_LAMBDA_FUNCTION_NAME": "copy"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.addCleanup(process.wait)
        self.addCleanup(process.terminate)
        self.processes.append(process)
        return f"http://{address}"

    def setUp(self) -> None:
        super().setUp()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.bootstrap = os.path.join(directory.name, "bootstrap")
        Path(self.bootstrap).write_text(BOOTSTRAP % sys.executable)
        os.chmod(self.bootstrap, 0o755)
        self.processes: list[subprocess.Popen[bytes]] = []
        control("POST", "functions", {"copy": [self.start(), self.start()]})

    def test_many_events_for_two_processes(self) -> None:
        events = client("events", VAULT)
        events.put_rule(Name="r", EventPattern=json.dumps({"detail": {"event": ["shareSnapshot"]}}))
        arn = f"arn:aws:lambda:{REGION}:{VAULT}:function:copy"
        events.put_targets(Rule="r", Targets=[{"Id": "1", "Arn": arn}])
        made = control("POST", "seed", {"account": MEMBER, "region": REGION, "snapshots": 30})["snapshots"]
        for snapshot in made:
            self.share(snapshot)
        answer = control("GET", "deliveries?wait=idle&timeout=20")
        self.assertTrue(answer["idle"])
        self.assertEqual([d["error"] for d in answer["deliveries"] if d["function_error"]], [])
        self.assertEqual(len(answer["deliveries"]), 30)
        self.assertEqual(len({d["answer"]["pid"] for d in answer["deliveries"]}), 2)
        self.assertEqual([p.poll() for p in self.processes], [None, None])

    def test_errors(self) -> None:
        def call(event: dict[str, bool]) -> tuple[int, bool, str | None]:
            found = control("POST", "invoke", {"function": "copy", "event": event})
            return found["status"], found["function_error"], found["answer"].get("errorType")

        self.assertEqual(call({"fail": True}), (200, True, "E"))
        self.assertEqual(call({"exit": True}), (502, True, "Runtime.ExitError"))
        self.assertEqual(call({}), (200, False, None))
