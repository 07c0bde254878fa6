"""checkov's rules over every case. What a template skips must be found, and have a reason.

checkov gets the templates resolved and without their suppressions: so it sees the resources of all conditions,
and suppressions of nothing are noticed.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from .cases import Case
from .report import Report, counted

FEWEST_LETTERS = 30  # of a reason


def security(cases: list[Case], report: Report, checkov: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("case-*.json"):
        old.unlink()
    names = {f"case-{number}.json": case for number, case in enumerate(cases)}
    for name, case in names.items():
        (folder / name).write_text(json.dumps(_unsuppressed(case.resolved), indent=1, default=str), encoding="utf-8")
    results = run(checkov, folder)
    failed: dict[str, set[tuple[str, str]]] = {}
    passed: dict[str, int] = {}
    for result in results["passed_checks"]:
        of = names[Path(result["file_path"]).name].template.name
        passed[of] = passed.get(of, 0) + 1
    titles: dict[str, str] = {}
    for result in results["failed_checks"]:
        of = names[Path(result["file_path"]).name].template.name
        titles[result["check_id"]] = result["check_name"]
        failed.setdefault(of, set()).add((result["resource"].rsplit(".", 1)[-1], result["check_id"]))
    for name in dict.fromkeys(case.template.name for case in cases):
        own = [case for case in cases if case.template.name == name]
        skipped = _suppressions(own, report)
        found = failed.get(name, set())
        for resource, rule in sorted(found - skipped):
            report.finding(name, f"{resource}: {rule} {titles[rule]}")
        for resource, rule in sorted(skipped - found):
            report.finding(name, f"{resource} skips {rule}, which finds nothing there: remove it")
        report.looked_at(
            name,
            f"{counted(passed.get(name, 0) + len(found), 'check')} in {counted(len(own), 'case')}, "
            f"{counted(len(skipped), 'suppression')} with reasons",
        )


def run(checkov: Path, folder: Path) -> dict[str, Any]:
    command = [str(checkov), "--framework", "cloudformation", "--directory", str(folder), "--output", "json"]
    command += ["--skip-download", "--compact", "--soft-fail"]
    done = subprocess.run(command, env=os.environ, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"checkov ended with {done.returncode}: {done.stderr.strip()[-2000:]}")
    said = json.loads(done.stdout)
    if "results" not in said:
        raise RuntimeError(f"checkov looked at nothing: {said}")
    if said["results"]["parsing_errors"]:
        raise RuntimeError(f"checkov cannot read {said['results']['parsing_errors']}")
    return said["results"]


def _unsuppressed(template: dict[str, Any]) -> dict[str, Any]:
    resources = {
        name: {key: it for key, it in resource.items() if key != "Metadata"}
        for name, resource in template["Resources"].items()
    }
    return template | {"Resources": resources}


def _suppressions(cases: list[Case], report: Report) -> set[tuple[str, str]]:
    found = {}
    for case in cases:
        for name, resource in case.resolved["Resources"].items():
            for skip in resource.get("Metadata", {}).get("checkov", {}).get("skip", []):
                found[name, skip["id"]] = skip.get("comment", "")
    for (name, rule), reason in sorted(found.items()):
        if len(reason) < FEWEST_LETTERS:
            report.finding(cases[0].template.name, f"{name} skips {rule} without a reason (comment: {reason!r})")
    return set(found)
