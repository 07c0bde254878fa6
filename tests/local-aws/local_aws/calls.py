"""What was called, and faults on the way."""

from __future__ import annotations

import itertools
import json
import re
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

CREDENTIAL = re.compile(r"Credential=([^/,\s]+)/\d+/([^/]+)/([^/]+)/")
# REST calls by their names in IAM, of a service that this is about.
NAMES = {
    ("backup", "PUT", "/backup-jobs"): "StartBackupJob",
    ("backup", "GET", "/backup-jobs/"): "DescribeBackupJob",
    ("backup", "POST", "/backup-jobs/"): "StopBackupJob",
}
INVOKE = re.compile(r"/\d{4}-\d{2}-\d{2}/functions/([^/]+)/invocations/?$")


@dataclass
class Request:
    method: str
    path: str  # as sent, without the query
    query: str
    headers: dict[str, str]  # names in lower case
    body: bytes = b""


@dataclass
class Response:
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    drop: bool = False  # cut the connection instead of answering
    truncate: bool = False  # answer half of the body, then cut the connection
    wire: dict[str, Any] | None = None  # how it is sent, see `wire`
    fault: int | None = None  # what goes on for ever ends with this fault


@dataclass
class Call:
    """One AWS call, as far as its request tells."""

    service: str
    region: str
    key: str
    action: str
    protocol: str
    params: dict[str, Any]
    account: str = ""
    role: str | None = None


def read(request: Request) -> Call:
    signed = request.headers.get("authorization") or ""
    if "X-Amz-Credential=" in request.query:
        signed = "Credential=" + dict(parse_qsl(request.query)).get("X-Amz-Credential", "")
    match = CREDENTIAL.search(signed)
    key, region, service = match.groups() if match else ("", "us-east-1", "")
    target = request.headers.get("x-amz-target")
    if target:
        return Call(service, region, key, target.rsplit(".", 1)[-1], "json", json_of(request.body))
    kind = request.headers.get("content-type") or ""
    form = request.body.decode("utf-8", "replace") if "form-urlencoded" in kind else ""
    fields = dict(parse_qsl(form or request.query, keep_blank_values=True))
    if "Action" in fields:
        action = fields.pop("Action")
        return Call(service or "sts", region, key, action, "query", fields)
    if "cbor" in kind:
        return Call(service, region, key, request.path.rsplit("/", 1)[-1], "cbor", {})
    invoked = INVOKE.search(request.path)
    if invoked and request.method == "POST":
        action = "Invoke"
    else:
        place = re.sub(r"^(/[^/]+/)[^/]+$", r"\1", request.path)
        action = NAMES.get((service, request.method, place), f"{request.method} {request.path}")
    return Call(service, region, key, action, "rest", json_of(request.body))


def json_of(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body) if body else {}
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {"body": value}


class Log:
    """Every AWS call, until cleared."""

    def __init__(self) -> None:
        self._calls: deque[dict[str, Any]] = deque(maxlen=100_000)
        self._count = itertools.count(1)

    def add(self, call: Call, **more: Any) -> None:
        self._calls.append(
            {
                "n": next(self._count),
                "account": call.account,
                "region": call.region,
                "service": call.service,
                "action": call.action,
                "key": call.key,
                "role": call.role,
                "params": call.params,
                **more,
            }
        )

    def clear(self) -> None:
        self._calls.clear()

    def list(self, wanted: dict[str, str], params: bool) -> list[dict[str, Any]]:
        found = [c for c in list(self._calls) if all(str(c.get(k)) == v for k, v in wanted.items())]
        return found if params else [{k: v for k, v in c.items() if k != "params"} for c in found]

    def counts(self, wanted: dict[str, str]) -> dict[str, Any]:
        found = self.list(wanted, params=False)
        names = ("account", "region", "service", "action")
        total = Counter(tuple(c[n] for n in names) for c in found)
        failed = Counter(tuple(c[n] for n in names) for c in found if c["error"])
        rows = [dict(zip(names, k, strict=True), count=n, errors=failed[k]) for k, n in sorted(total.items())]
        return {"total": len(found), "errors": sum(failed.values()), "counts": rows}


class Faults:
    """Armed faults. The first that matches a call is used; `times` of it are spent one by one."""

    MATCHED = ("service", "region", "account", "action", "key", "role")

    def __init__(self) -> None:
        self._armed: list[dict[str, Any]] = []
        self._lock = threading.Condition()
        self._count = itertools.count(1)

    def add(self, faults: list[dict[str, Any]]) -> list[dict[str, Any]]:
        with self._lock:
            for each in faults:
                self._armed.append({"id": next(self._count), "hits": 0, **each})
        return self.list()

    def list(self) -> list[dict[str, Any]]:
        with self._lock:
            return [dict(f) for f in self._armed]

    def is_armed(self, which: int | None) -> bool:
        with self._lock:
            return any(f["id"] == which for f in self._armed)

    def clear(self, which: int | None = None) -> None:
        with self._lock:
            self._armed = [f for f in self._armed if which is not None and f["id"] != which]
            self._lock.notify_all()

    def pick(
        self, call: Call, request: Request, is_hit: Callable[[dict[str, Any]], bool]
    ) -> dict[str, Any] | None:
        if not self._armed:
            return None
        agent = " ".join(request.headers.get(name, "") for name in ("user-agent", "x-amz-user-agent"))
        text = f"{request.path}?{request.query}\n{request.body.decode('utf-8', 'replace')}"
        with self._lock:
            for fault in self._armed:
                if not all(self.matches(fault.get(k), getattr(call, k)) for k in self.MATCHED):
                    continue
                if fault.get("match") and fault["match"] not in text:
                    continue
                if fault.get("agent") and fault["agent"] not in agent:
                    continue
                if fault.get("times") is not None and fault["hits"] >= fault["times"]:
                    continue
                if fault.get("skip", 0) > 0:
                    fault["skip"] -= 1
                    continue
                if not is_hit(fault):
                    continue
                fault["hits"] += 1
                return dict(fault)
        return None

    def hold(self, which: int, call: Call) -> None:
        """Returns when the fault is cleared."""
        with self._lock:
            for fault in self._armed:
                if fault["id"] == which:
                    fault["held"] = [*fault.get("held", []), call.action]
            self._lock.notify_all()
            self._lock.wait_for(lambda: all(f["id"] != which for f in self._armed))

    def wait_until_held(self, which: int | None, seconds: float) -> None:
        """Until the fault (without `which`: any) holds a call, or is there no more."""

        def there_is_no_more_to_come() -> bool:
            armed = [f for f in self._armed if which in (None, f["id"])]
            return any(f.get("held") for f in armed) or not armed

        with self._lock:
            self._lock.wait_for(there_is_no_more_to_come, seconds)

    @staticmethod
    def matches(wanted: Any, value: Any) -> bool:
        if wanted is None or wanted == "*":
            return True
        return value in wanted if isinstance(wanted, list) else value == wanted


LOG = Log()
FAULTS = Faults()


def wait(seconds: float | None) -> None:
    if seconds:
        time.sleep(float(seconds))
