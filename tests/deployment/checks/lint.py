"""cfn-lint over the templates as they are written, and over what the SAM transform makes of them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Iterator

from cfnlint.api import lint_file
from cfnlint.config import ConfigMixIn, ManualArgs
from cfnlint.rules import Match
from cfnlint.runner import Runner

from .cases import Case
from .report import Report, counted
from .suppressions import Skip, held_against, origin, skips
from .templates import ROLE, Template

# One of each partition.
REGIONS = ["eu-central-1", "us-gov-west-1", "cn-north-1"]


def _settings() -> ManualArgs:
    return ManualArgs(regions=REGIONS, include_checks=["I"])


def lint(templates: list[Template], report: Report, folder: Path) -> None:
    """Warnings and hints are findings, too. What a template wants ignored is looked at all the same."""
    folder.mkdir(parents=True, exist_ok=True)
    rules = len(Runner(ConfigMixIn(**_settings())).rules)
    for template in templates:
        bare = folder / template.name.replace("/", "-")
        bare.write_text(template.text.replace("ignore_checks:", "ignored_checks:"), encoding="utf-8")
        found, messages = set(), {}
        for match in lint_file(bare, config=_settings()):
            path = [str(it) for it in match.path or []]
            skip = Skip(origin(template, path[1]) if len(path) > 1 else "the template", match.rule.id)
            found.add(skip)
            messages[skip.id] = f"{match.message} (line {match.linenumber})"
        skipped = skips(template, "cfn-lint", report)
        held_against(template.name, found, skipped, report, messages)
        counts = [counted(rules, "rule"), f"{len(REGIONS)} Regions", counted(len(skipped), "suppression")]
        report.looked_at(template.name, ", ".join(counts))


def _findings(report: Report, name: str, found: list[Match]) -> None:
    for match in found:
        report.finding(f"{name}:{match.linenumber}", f"{match.rule.id} {match.message}")


def transform(cases: list[Case], report: Report, folder: Path) -> None:
    """The SAM transform of the templates that have one, for every case; its results are linted, too."""
    folder.mkdir(parents=True, exist_ok=True)
    made: dict[str, str] = {}
    machines: dict[str, str] = {}
    for case in cases:
        if not case.template.is_sam:
            continue
        text = json.dumps(case.transformed, indent=1, default=str)
        if text not in made:
            path = folder / f"transformed-{len(made)}.json"
            path.write_text(text, encoding="utf-8")
            made[text] = path.name
            _findings(report, path.name, lint_file(path, config=_settings()))
        for definition in _definitions(case):
            text = json.dumps(definition)
            if text not in machines:
                path = folder / f"definition-{len(machines)}.json"
                machines[text] = path.name
                machine = {
                    "Type": "AWS::StepFunctions::StateMachine",
                    "Properties": {"RoleArn": ROLE, "Definition": definition},
                }
                path.write_text(json.dumps({"Resources": {"Machine": machine}}, indent=1), encoding="utf-8")
                _findings(report, path.name, lint_file(path, config=_settings()))
        types = Counter(it["Type"].removeprefix("AWS::") for it in case.resolved["Resources"].values())
        kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(types.items()))
        there = counted(len(case.resolved["Resources"]), "resource")
        report.looked_at(
            f"{case.template.name} {case.name}", f"{there} of {len(case.transformed['Resources'])}: {kinds}"
        )
    if not made:
        report.finding("transform", "no template has a Transform")
    report.looked_at(
        "all cases",
        f"{counted(len(made), 'different result')} of the transform and "
        f"{counted(len(machines), 'definition')} of state machines, linted",
    )


def _definitions(case: Case) -> Iterator[Any]:
    """State machines as they are created: SAM writes them as text, which cfn-lint does not look into.

    An expression that is a number is a number there: cfn-lint knows no expressions in its place.
    """
    for resource in case.resolved["Resources"].values():
        if resource["Type"] != "AWS::StepFunctions::StateMachine":
            continue
        text = resource["Properties"]["DefinitionString"]
        for name, value in resource["Properties"].get("DefinitionSubstitutions", {}).items():
            text = text.replace(f"${{{name}}}", json.dumps(value)[1:-1])
        yield json.loads(re.sub(r'"\{% (\d+) %\}"', r"\1", text))


def coverage(cases: list[Case], report: Report) -> None:
    """What is in no case is checked by nobody."""
    for name in dict.fromkeys(case.template.name for case in cases):
        own = [case for case in cases if case.template.name == name]
        seen = {resource for case in own for resource in case.resolved["Resources"]}
        for resource in sorted({it for case in own for it in case.transformed["Resources"]} - seen):
            report.finding(
                name, f"{resource} is in no case: give its condition an example in checks/cases.py"
            )
        report.looked_at(name, f"{counted(len(seen), 'resource')} in {counted(len(own), 'case')}")


def validate(templates: list[Template], report: Report, top: Path) -> None:
    """`sam validate --lint`, as a user types it."""
    for template in templates:
        command = [
            str(Path(sys.executable).parent / "sam"),
            "validate",
            "--lint",
            "--template",
            template.name,
        ]
        done = subprocess.run(command, cwd=top, env=os.environ, capture_output=True, text=True)
        if done.returncode:
            report.finding(template.name, (done.stdout + done.stderr).strip())
        report.looked_at(template.name, f"sam validate --lint ended with {done.returncode}")
