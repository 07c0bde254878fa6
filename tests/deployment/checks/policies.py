"""parliament over every policy document of every case, with intrinsic functions resolved."""

from __future__ import annotations

import json
from typing import Any, Iterator

from parliament import analyze_policy_string, enhance_finding

from .cases import Case
from .report import Report, counted


def policies(cases: list[Case], report: Report) -> None:
    for case in cases:
        documents = list(documents_in(case.resolved["Resources"]))
        found = [finding for path, it in documents for finding in lint(path, it)]
        for path, what in found:
            report.finding(f"{case.template.name} {case.name}", f"{path}: {what}")
        n_statements = sum(len(it["Statement"]) for _, it in documents)
        n_actions = sum(len(_list(each.get("Action"))) for _, it in documents for each in it["Statement"])
        report.looked_at(
            f"{case.template.name} {case.name}",
            f"{counted(len(documents), 'document')}, {counted(n_statements, 'statement')}, {counted(n_actions, 'action')}",
        )


def documents_in(it: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(it, dict):
        if isinstance(it.get("Statement"), list):
            yield path, it
        for name, member in it.items():
            yield from documents_in(member, f"{path}.{name}" if path else name)
    elif isinstance(it, list):
        for index, item in enumerate(it):
            yield from documents_in(item, f"{path}[{index}]")


def lint(path: str, document: dict[str, Any]) -> list[tuple[str, str]]:
    # parliament knows no documents that need no Resource: those that say who may assume a role.
    statements = [{"Resource": "*"} | it if "Principal" in it else it for it in document["Statement"]]
    found = analyze_policy_string(json.dumps(document | {"Statement": statements})).findings
    return [(path, _text(enhance_finding(it))) for it in found]


def _text(finding: Any) -> str:
    return f"{finding.issue} {finding.title}: {finding.detail} {finding.location.get('string', '')}".strip()


def _list(it: Any) -> list[Any]:
    return it if isinstance(it, list) else [it]
