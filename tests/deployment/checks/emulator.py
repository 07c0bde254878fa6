"""A built function under AWS's Runtime Interface Emulator, the program in which `sam local invoke` runs it."""

from __future__ import annotations

import json
import os
import platform
import socket
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

import samcli

RIES = {"x86_64": "aws-lambda-rie-x86_64", "aarch64": "aws-lambda-rie-arm64"}
START_SECONDS = 30


class Emulator:
    """Runs one function until the end of the `with` block."""

    def __init__(self, bootstrap: Path, log: Path, environment: dict[str, str]):
        self._ports = [_free_port(), _free_port()]
        self._log = log.open("w", encoding="utf-8")
        rie = Path(samcli.__file__).parent / "local" / "rapid" / RIES[platform.machine()]
        rie.chmod(0o755)
        self._process = subprocess.Popen(
            [
                str(rie),
                *("--runtime-interface-emulator-address", f"127.0.0.1:{self._ports[0]}"),
                *("--runtime-api-address", f"127.0.0.1:{self._ports[1]}"),
                str(bootstrap),
            ],
            env={"PATH": os.environ["PATH"]} | environment,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )

    def __enter__(self) -> Emulator:
        end = time.monotonic() + START_SECONDS
        for port in reversed(self._ports):
            while not _listens(port):
                if time.monotonic() > end:
                    raise TimeoutError(f"the emulator does not listen, see {self._log.name}")
                time.sleep(0.05)
        return self

    def __exit__(self, *_: Any) -> None:
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        for child in children:  # in a process group of its own
            os.kill(int(child), 9)
        self._process.kill()
        self._process.wait()
        self._log.close()

    def invoke(self, event: Any) -> dict[str, Any]:
        url = f"http://127.0.0.1:{self._ports[0]}/2015-03-31/functions/function/invocations"
        with urllib.request.urlopen(url, json.dumps(event).encode(), timeout=900) as answer:
            text = answer.read().decode()
        try:
            return json.loads(text)
        except ValueError:
            return {"errorType": "NoAnswer", "errorMessage": f"{text}, see {self._log.name}"}


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def _listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0
