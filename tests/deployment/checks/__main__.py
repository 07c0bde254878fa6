"""Runs the checks that are named, in this order, or all."""

from __future__ import annotations

import io
import os
import sys
import time
import unittest
from pathlib import Path
from typing import Callable

from . import build, invoke, lint, policies, security, statements, templates
from . import cases as all_cases
from .report import Report, counted

HERE = Path(__file__).resolve().parent
TOP = HERE.parents[2]


def selftest(checkov: Path, report: Report) -> None:
    os.environ["CHECKOV"] = str(checkov)
    suite = unittest.defaultTestLoader.discover(str(HERE.parent / "selftests"))
    result = unittest.TextTestRunner(stream=io.StringIO()).run(suite)
    for test, text in [*result.failures, *result.errors]:
        report.finding(str(test), text)
    report.looked_at("broken templates", counted(result.testsRun, "test"))
    if not result.testsRun:
        report.finding("selftests", "there are none")


def main(folder: Path, checkov: Path, wanted: list[str]) -> int:
    found = templates.find(TOP)
    functions = next(it for it in found if it.name == "template.yaml")
    cases = [case for template in found for case in all_cases.cases(template)]
    checks: dict[str, Callable[[Report], None]] = {
        "selftest": lambda report: selftest(checkov, report),
        "lint": lambda report: lint.lint(found, report, folder / "lint"),
        "validate": lambda report: lint.validate(found, report, TOP),
        "coverage": lambda report: lint.coverage(cases, report),
        "transform": lambda report: lint.transform(cases, report, folder / "transformed"),
        "statements": lambda report: statements.statements(found, report),
        "policies": lambda report: policies.policies(cases, report),
        "security": lambda report: security.security(cases, report, checkov, folder / "cases"),
        "build": lambda report: build.build(functions, report, TOP, folder / "sam"),
        "invoke": lambda report: invoke.invoke(report, TOP, folder / "sam"),
    }
    unknown = set(wanted) - set(checks)
    if unknown:
        print(f"no such check: {', '.join(sorted(unknown))}; there are {', '.join(checks)}", file=sys.stderr)
        return 2
    findings = []
    for name in [name for name in checks if name in wanted or not wanted]:
        report, start = Report(name), time.monotonic()
        print(f"{name}", flush=True)
        checks[name](report)
        print(f"  {time.monotonic() - start:.1f} s, {counted(len(report.findings), 'finding')}", flush=True)
        findings += [f"{name}: {it}" for it in report.findings]
    for it in findings:
        print(f"finding: {it}", flush=True)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]))
