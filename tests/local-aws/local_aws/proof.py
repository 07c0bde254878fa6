"""What the functions' calls asked of IAM, as the world was at that time, and whether policies allow it.

A function is told by its user agent: `exec-env/<name>`. Its own credentials, or a role that a test has given
it, stand for the role that Lambda runs it in; a role that it has assumed stands for itself. Whether the world
asked the roles at that time (knob `identity_policies`) makes no difference here.
"""

from __future__ import annotations

import functools
import re
import threading
from collections import Counter
from dataclasses import dataclass
from typing import Any

from .policy import Context, Statement, fits, many, names
from .world import Caller

FUNCTION = re.compile(r"\bexec-env/([\w.-]+)")


@dataclass
class Need:
    """One question to IAM."""

    actor: str  # `rotate-snapshots`, or `rotate-snapshots as snapferry-member`
    call: str
    action: str
    resource: str
    context: Context


class Record:
    """The needs of every call of a function that was served, until everything is reset."""

    def __init__(self) -> None:
        self.needs: list[Need] = []
        self.calls: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._current = threading.local()

    def begin(self, call: str) -> None:
        self._current.call, self._current.needs = call, []

    def need(self, caller: Caller, action: str, resource: str, context: Context) -> None:
        if caller.actor:
            self._current.needs.append(Need(caller.actor, self._current.call, action, resource, context))

    def keep(self, caller: Caller) -> None:
        """The call that was begun has succeeded."""
        if caller.actor:
            with self._lock:
                self.calls[caller.actor] += 1
                self.needs += self._current.needs

    def clear(self) -> None:
        with self._lock:
            self.needs, self.calls = [], Counter()


RECORD = Record()


def prove(policies: dict[str, Any], actors: dict[str, list[str]]) -> dict[str, Any]:
    """Holds what is recorded against `policies`, documents by name; `actors`: which of them each has."""
    rows = {
        name: {"calls": calls, "needs": 0, "allowed": 0, "policies": actors.get(name, [])}
        for name, calls in sorted(RECORD.calls.items())
    }
    refused: Counter[tuple[str, str, str, str]] = Counter()
    uses: dict[str, dict[str, Any]] = {
        f"{name}/{statement['Sid']}": {
            "effect": statement["Effect"],
            "alone": 0,  # so often it was the only one that allowed it
            "actions": Counter(dict.fromkeys(many(statement["Action"]), 0)),
        }
        for name, document in policies.items()
        for statement in many(document["Statement"])
    }

    @functools.cache
    def about(actor: str, action: str) -> list[tuple[str, Statement, list[str]]]:
        """The statements about an action, each with its name and those of its actions that this is."""
        return [
            (f"{name}/{statement['Sid']}", statement, actions)
            for name in rows[actor]["policies"]
            for statement in many(policies[name]["Statement"])
            if (actions := [a for a in many(statement["Action"]) if is_named(action, a)])
        ]

    for need in list(RECORD.needs):
        row = rows[need.actor]
        row["needs"] += 1
        fitting = [
            each
            for each in about(need.actor, need.action)
            if fits(each[1], need.action, need.resource, need.context)
        ]
        if not fitting or any(statement["Effect"] == "Deny" for _, statement, _ in fitting):
            refused[need.actor, need.call, need.action, need.resource] += 1
            continue
        row["allowed"] += 1
        for name, _, actions in fitting:
            uses[name]["alone"] += len(fitting) == 1
            uses[name]["actions"].update(actions)
    members = ("actor", "call", "action", "resource")
    return {
        "actors": rows,
        "refused": [dict(zip(members, key, strict=True), count=n) for key, n in refused.items()],
        "statements": uses,
    }


def is_named(action: str, by: str) -> bool:
    return names({"Action": by}, "Action", action, {})
