"""Stand-in instances: what answers for an instance when Systems Manager sends it a command.

There is an agent only where a test says so, and with it an application that scripts and VSS freeze and thaw.
"""

from __future__ import annotations

import datetime as dt
import threading
from dataclasses import dataclass, field
from typing import Any

from .query import timestamp
from .world import LOCK, backend, now

PRE, POST, DRY = "pre-script", "post-script", "dry-run"
AUTO_THAW = "auto_thaw_seconds"
VSS_VERSION = "2.5.0"  # of AwsVssComponents
PLATFORMS = {
    "Linux": {"PlatformName": "Amazon Linux", "PlatformVersion": "2023"},
    "Windows": {"PlatformName": "Microsoft Windows Server 2022 Datacenter", "PlatformVersion": "10.0.20348"},
}
WORKERS = 5  # commands that an agent runs at a time
PINGS = ("Online", "ConnectionLost", "Inactive")
NUMBER = (int, float)
# How commands of a kind go, and of which type each of it is.
ANY = {"seconds": NUMBER, "at": (str,), "delivery_seconds": NUMBER, "times": (int,), "exit": (int,)}
SCRIPT = {**ANY, "freezes": (bool,), "thaws": (bool,)}
VSS = {
    **ANY,
    "installed": (bool,),
    "version": (str,),
    "fails": (bool,),
    "volumes_fail": (list,),
    "error": (bool,),
    "app_consistent": (bool, str),
    "untagged": (bool,),
}
AT = ("begin", "end")
How = dict[str, Any]


@dataclass
class Result:
    """How a command has ended."""

    exit: int
    output: str = ""
    error: str = ""


@dataclass
class Agent:
    account: str
    region: str
    instance: str
    platform: str = "Linux"
    ping: str = "Online"
    vss: How = field(default_factory=dict)
    scripts: How = field(default_factory=dict)
    vss_version: str | None = None  # of AwsVssComponents, where they are installed
    frozen_since: dt.datetime | None = None
    frozen_by: str = ""
    thawed_itself: bool = False  # since it was frozen last
    history: list[dict[str, Any]] = field(default_factory=list)
    invocations: list[Any] = field(default_factory=list)  # of `commands`, in their order
    workers: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(WORKERS))

    @property
    def state(self) -> str:
        """Of its instance."""
        with LOCK:
            found = [i for i in backend(self.account, self.region).all_instances() if i.id == self.instance]
            return found[0].state if found else "terminated"

    @property
    def online(self) -> bool:
        return self.ping == "Online" and self.state == "running"

    @property
    def frozen(self) -> bool:
        """Whether its application is."""
        self.thaw_if_due()
        return self.frozen_since is not None

    def thaw_if_due(self) -> None:
        seconds = self.scripts.get(AUTO_THAW)
        if self.frozen_since and seconds is not None and self.frozen_by != "vss":
            end = self.frozen_since + dt.timedelta(seconds=seconds)
            if now() >= end:
                self.thaw("", "auto-thawed", end)
                self.thawed_itself = True

    def freeze(self, command: str, by: str = "script") -> None:
        self.frozen_since, self.frozen_by, self.thawed_itself = now(), by, False
        self.note("frozen", command, self.frozen_since)

    def thaw(self, command: str, what: str = "thawed", at: dt.datetime | None = None) -> None:
        self.frozen_since = None
        self.note(what, command, at or now())

    def note(self, what: str, command: str, at: dt.datetime) -> None:
        self.history.append({"what": what, "at": timestamp(at), "command": command or None})

    def how(self, kind: str) -> How:
        """How the next command of this kind goes; that many `times`, and then as usual."""
        found: How = self.vss if kind == "vss" else self.scripts.get(kind, {})
        if found.get("times") is None:
            return found
        found["times"] -= found["times"] >= 0
        return found if found["times"] >= 0 else {}

    def script(self, which: str, how: How, command: str) -> Result:
        """The exit codes are those of Data Lifecycle Manager's sample documents."""
        with LOCK:
            if which == PRE:
                code = how.get("exit") or (204 if self.frozen else 0)
                if how.get("freezes", code == 0) and not self.frozen:
                    self.freeze(command)
            elif which == POST:
                code = how.get("exit") or (0 if self.frozen else 203 if self.thawed_itself else 205)
                if how.get("thaws", code == 0) and self.frozen:
                    self.thaw(command)
            else:
                code = how.get("exit", 0)
        if code:
            return Result(code, "", f"ERROR: {which} failed. Return Error Code: {code}\n")
        return Result(0, f"INFO: {which} completed\n")

    def count(self, what: str) -> int:
        return sum(each["what"] == what for each in self.history)

    def row(self) -> dict[str, Any]:
        """For tests."""
        frozen = self.frozen
        return {
            "account": self.account,
            "region": self.region,
            "instance": self.instance,
            "platform": self.platform,
            "ping": self.ping,
            "vss": {**self.vss, "installed": self.vss_version is not None},
            "scripts": self.scripts,
            "frozen": frozen,
            "frozen_since": timestamp(self.frozen_since) if self.frozen_since else None,
            "freezes": self.count("frozen"),
            "thaws": self.count("thawed"),
            "auto_thaws": self.count("auto-thawed"),
            "history": list(self.history),
            "commands": [each.row() for each in self.invocations],
        }


AGENTS: dict[str, Agent] = {}  # by instance


def find(account: str, region: str, instance: str) -> Agent | None:
    found = AGENTS.get(instance)
    return found if found and (found.account, found.region) == (account, region) else None


def agents_of(account: str | None, region: str | None) -> list[Agent]:
    found = [a for a in AGENTS.values() if account in (None, a.account) and region in (None, a.region)]
    return sorted(found, key=lambda agent: agent.instance)


def is_frozen(instances: list[str]) -> bool | None:
    """Whether the application of one of these instances is; None where none has any."""
    found = [AGENTS[i].frozen for i in instances if i in AGENTS]
    return any(found) if found else None


# ---- as tests put it ------------------------------------------------------------------------------


def mistake(body: dict[str, Any]) -> str | None:
    for name, allowed in (("platform", tuple(PLATFORMS)), ("ping", PINGS)):
        if name in body and body[name] not in allowed:
            return f"{name}: {body[name]!r}, wanted: {', '.join(allowed)}"
    unknown = set(body) - {"account", "region", "instance", "platform", "ping", "vss", "scripts"}
    if unknown:
        return f"no such key of an agent: {', '.join(sorted(unknown))}"
    scripts = dict(body.get("scripts") or {})
    seconds = scripts.pop(AUTO_THAW, None)
    if not isinstance(seconds, (*NUMBER, type(None))):
        return f"scripts: {AUTO_THAW}: {seconds!r}, wanted: a number"
    for which, how in scripts.items():
        if which not in (PRE, POST, DRY, "other"):
            return f"scripts: {which}, wanted: {PRE}, {POST}, {DRY}, other, {AUTO_THAW}"
        if found := mistake_in(f"scripts: {which}: ", how, SCRIPT):
            return found
    return mistake_in("vss: ", body.get("vss") or {}, VSS)


def mistake_in(where: str, how: How, keys: dict[str, tuple[type, ...]]) -> str | None:
    for key, value in how.items():
        if key not in keys:
            return f"{where}no such key: {key}; there are {', '.join(keys)}"
        if not isinstance(value, keys[key]):
            return f"{where}{key}: {value!r}, wanted: {' or '.join(t.__name__ for t in keys[key])}"
    if how.get("at", AT[0]) not in AT:
        return f"{where}at: {how['at']!r}, wanted: {' or '.join(AT)}"
    return None


def put(body: dict[str, Any]) -> Agent:
    """Makes an agent, or changes one: what `body` does not name stays as it is."""
    account, region, instance = body["account"], body["region"], body["instance"]
    machine = next((i for i in backend(account, region).all_instances() if i.id == instance), None)
    if machine is None:
        raise ValueError(f"no such instance in {account}/{region}: {instance}")
    agent = find(account, region, instance)
    if agent is None:
        platform = "Windows" if machine.platform == "windows" else "Linux"
        agent = AGENTS[instance] = Agent(account, region, instance, platform)
        agent.platform = body.get("platform", agent.platform)
        agent.vss_version = VSS_VERSION if agent.platform == "Windows" else None
    agent.platform, agent.ping = body.get("platform", agent.platform), body.get("ping", agent.ping)
    machine.platform = "windows" if agent.platform == "Windows" else None
    if "scripts" in body:
        agent.thaw_if_due()  # under the old rules
        agent.scripts = {k: dict(v) if isinstance(v, dict) else v for k, v in body["scripts"].items()}
    if "vss" in body:
        agent.vss = dict(body["vss"])
        if agent.vss.pop("installed", agent.vss_version is not None):
            agent.vss_version = agent.vss.pop("version", agent.vss_version or VSS_VERSION)
        else:
            agent.vss_version = None
    return agent


def older(accounts: list[str] | None, shift: dt.timedelta) -> None:
    """What is frozen is frozen for longer."""
    for agent in AGENTS.values():
        if (not accounts or agent.account in accounts) and agent.frozen:
            agent.frozen_since -= shift  # type: ignore[operator]


def forget() -> None:
    for agent in AGENTS.values():
        for each in agent.invocations:
            each.over.set()
    AGENTS.clear()
