"""parliament over every policy document of every case, with intrinsic functions resolved.

And two rules of our own, which neither parliament nor checkov has for all kinds of documents: nothing is allowed to
anyone without a condition, and nobody may do actions that are not named.
"""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any, Iterator

from parliament import analyze_policy_string, enhance_finding

from .cases import Case
from .report import Report, counted
from .suppressions import Skip, held_against, origin, skips
from .templates import ROLE

MISMATCH = "RESOURCE_MISMATCH"
# An ARN that no action can be for: parliament then says what the action is for.
NO_RESOURCE = "arn:aws:nothing:::nothing"


def policies(cases: list[Case], report: Report) -> None:
    for name in dict.fromkeys(case.template.name for case in cases):
        own = [case for case in cases if case.template.name == name]
        found, n_documents, n_statements, n_actions = set(), 0, 0, 0
        for case in own:
            for resource, properties in case.resolved["Resources"].items():
                for document in documents_in(properties):
                    n_documents += 1
                    n_statements += len(document["Statement"])
                    n_actions += sum(len(_list(each.get("Action"))) for each in document["Statement"])
                    found |= {Skip(origin(case.template, resource), *it) for it in lint(document)}
        skipped = skips(own[0].template, "parliament", report)
        held_against(name, found, skipped, report)
        report.looked_at(
            name,
            f"{counted(len(own), 'case')} with {counted(n_documents, 'document')}, "
            f"{counted(n_statements, 'statement')}, {counted(n_actions, 'action')}, "
            f"{counted(len(skipped), 'suppression')}",
        )


def documents_in(it: Any) -> Iterator[dict[str, Any]]:
    if isinstance(it, dict):
        if isinstance(it.get("Statement"), list):
            yield it
        for member in it.values():
            yield from documents_in(member)
    elif isinstance(it, list):
        for item in it:
            yield from documents_in(item)


def lint(document: dict[str, Any]) -> set[tuple[str, str]]:
    """What parliament finds: its name, and what about.

    EC2 checks some actions for several kinds of resources at once, each of which may be allowed by a statement of
    its own, while parliament wants all kinds in each. Here each statement must be about one of them at least, and
    all of them must be in some statement.
    """
    # parliament knows no documents that need no Resource: those that say who may assume a role.
    statements = [
        it if {"Resource", "NotResource"} & set(it) else it | {"Resource": ROLE}
        for it in document["Statement"]
    ]
    found = {rule for statement in statements for rule in _too_much(statement)}
    lacking: dict[str, set[str]] = {}
    itself = _is_of_a_key(document)
    for finding in _analyzed(document | {"Statement": statements}):
        if finding.issue != MISMATCH and not (itself and finding.issue == "RESOURCE_STAR"):
            found.add((finding.issue, _detail(finding)))
    for statement in statements:
        lacked = _lacked(statement)
        for action, kinds in _lacked(statement | {"Resource": NO_RESOURCE}).items():
            if kinds == lacked.get(action):
                found.add((MISMATCH, f"{action} is never for {statement['Resource']}"))
            if statement["Effect"] == "Allow":
                lacking[action] = lacking.get(action, kinds) & lacked.get(action, set())
    found |= {
        (MISMATCH, f"{action} needs {kind}, too") for action, kinds in lacking.items() for kind in kinds
    }
    return found


def _is_of_a_key(document: dict[str, Any]) -> bool:
    """A key's own policy, in which the resource "*" is that key."""
    actions = [action for it in document["Statement"] for action in _list(it.get("Action", []))]
    principals = all("Principal" in it for it in document["Statement"])
    return principals and all(action.startswith("kms:") for action in actions)


def _too_much(statement: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if statement["Effect"] != "Allow":
        return
    sid = statement.get("Sid", "a statement without Sid")
    principal = statement.get("Principal", {})
    accounts = _list(principal.get("AWS", []) if isinstance(principal, dict) else principal)
    if "NotPrincipal" in statement or ("*" in accounts and not statement.get("Condition")):
        yield "ANYONE", f"{sid} is for anyone, without a condition"
    if "NotAction" in statement or any("*" in action for action in _list(statement.get("Action", []))):
        yield "ANY_ACTION", f"{sid} allows actions that it does not name"


def _lacked(statement: dict[str, Any]) -> dict[str, set[str]]:
    """For which kinds of resources, of those that an action needs, its statement is not."""
    lacked = defaultdict(set)
    for finding in _analyzed({"Version": "2012-10-17", "Statement": [statement]}):
        for it in finding.detail if finding.issue == MISMATCH else []:
            lacked[it["action"]].add(it["required_format"])
    return lacked


def _analyzed(document: dict[str, Any]) -> list[Any]:
    return analyze_policy_string(json.dumps(document)).findings


def _detail(finding: Any) -> str:
    title = enhance_finding(finding).title or ""
    return str(finding.detail or finding.location.get("string") or title)


def _list(it: Any) -> list[Any]:
    return it if isinstance(it, list) else [it]
