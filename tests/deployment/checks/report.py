"""What a check says: one line for each thing it looked at, and findings."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Report:
    """Collects, and prints lines as they come."""

    check: str
    quiet: bool = False
    findings: list[str] = field(default_factory=list)

    def looked_at(self, what: str, counts: str) -> None:
        self._print(f"{what}: {counts}")

    def finding(self, where: str, what: str) -> None:
        self.findings.append(f"{where}: {what}")

    def skipped(self, why: str) -> None:
        self._print(f"skipped: {why}")

    def _print(self, text: str) -> None:
        if not self.quiet:
            print(f"  {self.check:<12} {text}", flush=True)


def counted(n: int, one: str, many: str | None = None) -> str:
    return f"{n} {one if n == 1 else many or one + 's'}"
