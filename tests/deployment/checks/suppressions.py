"""Suppressions in a resource's `Metadata`, each of something that is found and with a reason in words.

Metadata:
  checkov:
    skip:
      - id: CKV_AWS_27
        comment: why it may be so
  parliament:
    skip:
      - id: UNKNOWN_CONDITION_FOR_ACTION
        about: what exactly, in the tool's words
        comment: why it may be so
  cfn-lint:
    config:
      ignore_checks: [I3011]
    comments:
      I3011: why it may be so
"""

from __future__ import annotations

from dataclasses import dataclass

from .report import Report
from .templates import Template

FEWEST_WORDS = 5  # of a reason


@dataclass(frozen=True, order=True)
class Skip:
    """A finding, or its suppression."""

    resource: str
    id: str
    about: str = ""

    def __str__(self) -> str:
        return f"{self.resource}: {self.id} {self.about}".rstrip()


def origin(template: Template, resource: str) -> str:
    """The resource as it is written: the transform makes others out of it, whose names begin with its own."""
    written = [name for name in template.data["Resources"] if resource.startswith(name)]
    return max(written, key=len, default=resource)


def skips(template: Template, tool: str, report: Report) -> set[Skip]:
    """All suppressions of a template."""
    reasons = {}
    for name, resource in template.data["Resources"].items():
        said = resource.get("Metadata", {}).get(tool, {})
        for rule in said.get("config", {}).get("ignore_checks", []):
            reasons[Skip(name, rule)] = said.get("comments", {}).get(rule, "")
        for it in said.get("skip", []):
            reasons[Skip(name, str(it.get("id")), it.get("about", ""))] = it.get("comment", "")
    for skip, reason in sorted(reasons.items()):
        if len(reason.split()) < FEWEST_WORDS:
            report.finding(template.name, f"{skip} is skipped without a reason (comment: {reason!r})")
    return set(reasons)


def held_against(
    name: str, found: set[Skip], skipped: set[Skip], report: Report, titles: dict[str, str] | None = None
) -> None:
    """Reports what is found and not skipped, and what is skipped and not found."""
    for it in sorted(found - skipped):
        report.finding(name, f"{it} {(titles or {}).get(it.id, '')}".rstrip())
    for it in sorted(skipped - found):
        report.finding(name, f"{it} is skipped, but not found: remove it")
