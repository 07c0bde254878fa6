"""`sam build` of the functions, in the dev profile, for this machine's processor; what it makes must run."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

from .emulator import Emulator
from .report import Report, counted
from .templates import Template

# The template's Architecture, and the machine in the header of an ELF file.
ARCHITECTURES = {"x86_64": ("x86_64", 62), "aarch64": ("arm64", 183)}
# The same profile, features and target as `cargo test --workspace` has where CARGO_BUILD_TARGET is this machine's: then
# nothing is compiled twice. Plain cargo, because no other processor is built for.
BUILD = {
    "SAM_BUILD_MODE": "debug",
    "CARGO_LAMBDA_COMPILER": "cargo",
    "CARGO_LAMBDA_COMPILER_EXTRA_ARGS": "--workspace --locked",
}


def architecture() -> tuple[str, int] | None:
    """None where SAM's Lambda processors are not this machine's."""
    return ARCHITECTURES.get(platform.machine()) if platform.system() == "Linux" else None


def parameters() -> list[str]:
    kind = architecture()
    return ["Role=both", f"Architecture={kind[0]}"] if kind else ["Role=both"]


def build(template: Template, report: Report, top: Path, folder: Path) -> None:
    """Builds into a folder of its own: `.aws-sam` may hold the release build that is to be deployed."""
    kind = architecture()
    if not kind:
        report.skipped(f"no build for Lambda on {platform.system()} {platform.machine()}")
        return
    print("  sam build (the first time the AWS SDK is compiled: 5 to 10 minutes)", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    command = ["sam", "build", "--template", template.name, "--build-dir", str(folder)]
    done = subprocess.run(
        [*command, "--parameter-overrides", *parameters()],
        cwd=top,
        env=os.environ | BUILD,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        report.finding(template.name, f"sam build ended with {done.returncode}: {done.stdout}{done.stderr}")
        return
    for name in functions(template):
        artifact(name, folder / name / "bootstrap", kind[1], report)


def functions(template: Template) -> list[str]:
    """Those that `sam build` builds."""
    return [
        name for name, it in template.data["Resources"].items() if "BuildMethod" in it.get("Metadata", {})
    ]


def artifact(name: str, path: Path, machine: int, report: Report) -> None:
    if not path.is_file():
        report.finding(name, f"sam build made no {path.name}")
        return
    header = path.read_bytes()[:20]
    if header[:4] != b"\x7fELF" or int.from_bytes(header[18:20], "little") != machine:
        report.finding(name, f"{path} is no program for this processor: {header.hex()}")
        return
    with Emulator(path, path.parent.with_suffix(".log"), {"AWS_LAMBDA_FUNCTION_NAME": name}) as function:
        answer = function.invoke("no object")
    if answer.get("errorType") != "InvalidEvent":
        report.finding(name, f"{path} answered {answer}, and not InvalidEvent, to an event that is none")
    report.looked_at(
        name, f"bootstrap, {counted(path.stat().st_size >> 20, 'MiB', 'MiB')}, refused a bad event: {answer}"
    )
