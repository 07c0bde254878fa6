"""checkov's rules over every case. What a template skips must be found, and have a reason.

checkov gets the templates resolved and without their suppressions: so it sees the resources of all conditions,
and suppressions of nothing are noticed.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from .cases import Case
from .report import Report, counted
from .suppressions import Skip, held_against, origin, skips

# Types of resources for which checkov has no rules.
NO_RULES = {"AWS::SSM::Document"}


def security(cases: list[Case], report: Report, checkov: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("case-*.json"):
        old.unlink()
    names = {f"case-{number}.json": case for number, case in enumerate(cases)}
    for name, case in names.items():
        (folder / name).write_text(
            json.dumps(_unsuppressed(case.resolved), indent=1, default=str), encoding="utf-8"
        )
    results = run(checkov, folder)
    of = {path: case.template for path, case in names.items()}
    passed = Counter(of[Path(it["file_path"]).name].name for it in results["passed_checks"])
    failed: dict[str, set[Skip]] = defaultdict(set)
    for it in results["failed_checks"]:
        template = of[Path(it["file_path"]).name]
        resource = origin(template, it["resource"].rsplit(".", 1)[-1])
        failed[template.name].add(Skip(resource, it["check_id"]))
    titles = {it["check_id"]: it["check_name"] for it in results["failed_checks"]}
    for template in {it.name: it for it in of.values()}.values():
        name = template.name
        own = [case for case in cases if case.template.name == name]
        skipped = skips(template, "checkov", report)
        held_against(name, failed[name], skipped, report, titles)
        n_checks = passed[name] + len(failed[name])
        kinds = {it["Type"] for it in template.data["Resources"].values()}
        if not n_checks and not kinds <= NO_RULES:
            report.finding(name, "no rule was applied to it")
        report.looked_at(
            name,
            f"{counted(len(own), 'case')}, {counted(n_checks, 'rule')} applied, {counted(len(skipped), 'suppression')}",
        )


def run(checkov: Path, folder: Path) -> dict[str, Any]:
    # From within: it looks for secrets in paths, too, and 40 characters of one would be a key of AWS.
    command = [str(checkov), "--framework", "cloudformation", "--directory", ".", "--output", "json"]
    command += ["--skip-download", "--compact", "--soft-fail"]
    done = subprocess.run(command, cwd=folder, env=os.environ, capture_output=True, text=True)
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
