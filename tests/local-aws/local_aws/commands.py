"""Commands of Run Command, and how each goes on its way to an instance: one thread for every invocation."""

from __future__ import annotations

import datetime as dt
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from . import agents, documents, vss
from .agents import Agent, Result
from .documents import Document
from .query import timestamp
from .world import KNOBS, LOCK, now

PENDING, DELAYED, RUNNING, CANCELLING = "Pending", "Delayed", "InProgress", "Cancelling"
SUCCESS, FAILED, CANCELLED, TIMED_OUT = "Success", "Failed", "Cancelled", "TimedOut"
DELIVERY, EXECUTION = "DeliveryTimedOut", "ExecutionTimedOut"  # details of the last
KILLED = 137  # exit code of what did not end by itself
RETRY = 0.05  # seconds between two tries to reach an agent
VSS_DOCUMENTS = (documents.CREATE_VSS, documents.INSTALL_VSS)


@dataclass
class Command:
    account: str
    region: str
    document: Document
    asked: dict[str, list[str]]  # the parameters as they were given
    values: dict[str, list[str]]
    comment: str
    timeout: int
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    requested: dt.datetime = field(default_factory=now)
    invocations: list[Invocation] = field(default_factory=list)

    @property
    def kind(self) -> str:
        """Which of an agent's ways to go it is."""
        if self.document.name in VSS_DOCUMENTS:
            return "vss"
        if {"command", "executionId"} <= set(self.values):
            return self.values["command"][0]
        return "other"

    @property
    def limit(self) -> float:
        """Seconds for its execution, once it has begun."""
        return self.document.timeout(self.values)

    @property
    def visible(self) -> bool:
        return now() - self.requested >= dt.timedelta(seconds=KNOBS["invocation_seconds"])

    @property
    def status(self) -> tuple[str, str]:
        """Of the command as a whole, and its details."""
        each = [(i.status, i.details) for i in self.invocations]
        if not all(i.ended for i in self.invocations):
            if any(status == CANCELLING for status, _ in each):
                return CANCELLING, CANCELLING
            return (PENDING, PENDING) if all(s in (PENDING, DELAYED) for s, _ in each) else (RUNNING, RUNNING)
        for status in (FAILED, TIMED_OUT, CANCELLED):
            if found := [pair for pair in each if pair[0] == status]:
                return found[0]
        return SUCCESS, SUCCESS


@dataclass(eq=False)
class Invocation:
    command: Command
    agent: Agent
    how: agents.How
    status: str = PENDING
    details: str = PENDING
    started: dt.datetime | None = None
    ended: dt.datetime | None = None
    result: Result = field(default_factory=lambda: Result(-1))
    over: threading.Event = field(default_factory=threading.Event)  # cancelled, or everything is reset

    def live(self) -> None:
        factor, began = KNOBS["command_timeout_factor"], time.time()
        last = began + self.command.timeout * factor  # to begin
        expires = last + self.command.limit * factor  # to be told of its end
        at = began + KNOBS["command_seconds"] + float(self.how.get("delivery_seconds", 0))
        if self.over.wait(min(at, last) - began):
            return
        if self.is_reached(last, DELAYED):
            with LOCK:
                if self.over.is_set():
                    return
                self.status = self.details = RUNNING
                self.started = now()
            with self.agent.workers:
                status, details, result = self.work(self.command.limit * factor)
            if self.is_reached(expires, RUNNING):
                self.end(status, details, result)
                return
        self.over.wait(expires - time.time())
        self.end(TIMED_OUT, DELIVERY, Result(-1))

    def is_reached(self, last: float, meanwhile: str) -> bool:
        """Waits for the agent until `last`; it is `meanwhile` for Systems Manager."""
        while time.time() < last and not self.over.is_set():
            if self.agent.online:
                return True
            with LOCK:
                if not self.ended:
                    self.status = self.details = meanwhile
            self.over.wait(RETRY)
        return False

    def work(self, limit: float) -> tuple[str, str, Result]:
        seconds, first = float(self.how.get("seconds", 0)), self.how.get("at", "end") == "begin"
        result = self.act() if first else None
        if self.over.wait(min(seconds, limit)) or seconds > limit:
            return TIMED_OUT, EXECUTION, Result(KILLED)
        result = result or self.act()
        status = FAILED if result.exit else SUCCESS
        return status, status, result

    def act(self) -> Result:
        command, document = self.command, self.command.document
        if not document.steps_on(self.agent.platform):
            return Result(0, "Step execution skipped due to unsatisfied preconditions.\n")
        if command.kind == "vss":
            return vss.run(self.agent, document.name, command.values, self.how, command.id)
        if command.kind in (agents.PRE, agents.POST, agents.DRY):
            return self.agent.script(command.kind, self.how, command.id)
        if document.name == documents.CONFIGURE:
            return vss.configure(self.agent, command.values)
        return Result(self.how.get("exit", 0))

    def end(self, status: str, details: str, result: Result) -> None:
        with LOCK:
            if self.ended or self.over.is_set():
                return
            self.status, self.details, self.result, self.ended = status, details, result, now()

    def cancel(self) -> None:
        """Whatever it has done so far stays done."""
        if not self.ended:
            code = KILLED if self.started else -1
            self.end(CANCELLED, CANCELLED, Result(code))
            self.over.set()

    def row(self) -> dict[str, Any]:
        """For tests."""
        return {
            "command_id": self.command.id,
            "document": self.command.document.name,
            "parameters": self.command.asked,
            "comment": self.command.comment,
            "kind": self.command.kind,
            "status": self.status,
            "details": self.details,
            "exit": self.result.exit,
            "output": self.result.output,
            "error": self.result.error,
            "requested_at": timestamp(self.command.requested),
            "started_at": self.started and timestamp(self.started),
            "ended_at": self.ended and timestamp(self.ended),
        }

    def steps(self) -> list[str]:
        return [step.get("name", "") for step in self.command.document.steps]


COMMANDS: dict[str, Command] = {}


def send(command: Command, instances: list[Agent]) -> Command:
    with LOCK:
        COMMANDS[command.id] = command
        for agent in instances:
            # what a test has armed for so many times is spent now, in the order of the calls
            made = Invocation(command, agent, dict(agent.how(command.kind)))
            command.invocations.append(made)
            agent.invocations.append(made)
    for made in command.invocations:
        threading.Thread(target=made.live, daemon=True, name=f"command {command.id}").start()
    return command


def commands_of(account: str, region: str) -> list[Command]:
    """The latest first."""
    found = [c for c in COMMANDS.values() if (c.account, c.region) == (account, region)]
    return sorted(found, key=lambda c: (c.requested, c.id), reverse=True)


def are_over() -> bool:
    with LOCK:
        return all(c.visible and all(i.ended for i in c.invocations) for c in COMMANDS.values())


def older(accounts: list[str] | None, shift: dt.timedelta, comment: Callable[[str], str]) -> None:
    for command in COMMANDS.values():
        if not accounts or command.account in accounts:
            command.requested -= shift
            command.comment = comment(command.comment)
            for each in command.invocations:
                each.started = each.started and each.started - shift
                each.ended = each.ended and each.ended - shift
    agents.older(accounts, shift)


def forget() -> None:
    COMMANDS.clear()
    agents.forget()

