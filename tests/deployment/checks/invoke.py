"""Every event of `events/`, answered by its built function with the environment of `events/local/env.json`.

The local AWS of tests/local-aws answers for AWS. Once without Docker, with the variables that SAM's own code makes
of template and file; and once as `sam local invoke`, where there is a Docker engine.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator

import boto3
from samcli.lib.providers.sam_function_provider import SamFunctionProvider
from samcli.lib.providers.sam_stack_provider import SamLocalStackProvider
from samcli.local.lambdafn.env_vars import EnvironmentVariables

from .build import architecture, parameters
from .emulator import Emulator
from .report import Report, counted
from .templates import REGION

ROTATE, COPY = "RotateSnapshotsFunction", "CopySharedSnapshotsFunction"
EVENTS = {
    "copy-failed.json": COPY,
    "copy-snapshot-full.json": COPY,
    "dry-run.json": ROTATE,
    "schedule.json": ROTATE,
    "scheduled-time.json": ROTATE,
    "share-snapshot.json": COPY,
    "sweep.json": COPY,
}
# By access key id: that account's root user, in the local AWS.
ACCOUNTS = {ROTATE: "111111111111", COPY: "222222222222"}
MEMBER, MEMBER_ROLE = "333333333333", "snapferry-member"
ENDPOINT = "http://local-aws:5000"
# SAM passes on only variables that the template has. README has the same line.
AWK = """/^        PRESIGNED_URL:/ {print "        AWS_ENDPOINT_URL: \\"\\""} 1"""
NEWEST_GLIBC = (2, 34)  # of provided.al2023


def invoke(report: Report, top: Path, built: Path) -> None:
    if not architecture():
        report.skipped("no functions are built for Lambda on this machine")
        return
    missing = [name for name in ACCOUNTS if not (built / name / "bootstrap").is_file()]
    if missing:
        report.finding(", ".join(missing), "not built: `check.py build` comes first")
        return
    environment = json.loads((top / "events/local/env.json").read_text(encoding="utf-8"))
    template = local_template(built)
    functions = {it.name: it for it in _provider(template).get_all()}
    _documented(report, top)
    declared(report, environment, functions)
    if report.findings:
        return
    with local_aws(top, "127.0.0.1", 0) as url:
        stage(url)
        for name in ACCOUNTS:
            variables = resolved(functions[name], environment[name] | {"AWS_ENDPOINT_URL": url})
            with Emulator(built / name / "bootstrap", built / f"{name}.log", variables) as emulator:
                for file in [file for file, of in EVENTS.items() if of == name]:
                    event = json.loads((top / "events" / file).read_text(encoding="utf-8"))
                    _judged(report, f"{file} to {name}", event, emulator.invoke(event))
    _in_docker(report, top, built, template)


def local_template(built: Path) -> Path:
    path = built / "local.yaml"
    done = subprocess.run(
        ["awk", AWK, str(built / "template.yaml")], check=True, capture_output=True, text=True
    )
    path.write_text(done.stdout, encoding="utf-8")
    return path


def _provider(template: Path) -> SamFunctionProvider:
    given = dict(it.split("=") for it in parameters())
    stacks, _ = SamLocalStackProvider.get_stacks(str(template), parameter_overrides=given)
    return SamFunctionProvider(stacks)


def _documented(report: Report, top: Path) -> None:
    files = {path.name for path in (top / "events").glob("*.json")}
    for file in sorted(files ^ set(EVENTS)):
        report.finding(f"events/{file}", "is not both a file and in EVENTS of checks/invoke.py")
    readme = (top / "README.md").read_text(encoding="utf-8")
    for text in [AWK, ENDPOINT, *EVENTS, *ACCOUNTS]:
        if text not in readme:
            report.finding("README.md", f"does not have `{text}`, which the check of `sam local invoke` uses")


def declared(report: Report, environment: dict[str, dict[str, str]], functions: dict[str, Any]) -> None:
    """What SAM would pass over without a word."""
    for name in sorted(set(environment) ^ set(functions)):
        report.finding("events/local/env.json", f"{name} is not both in it and a function of the template")
    for name in set(environment) & set(functions):
        unknown = set(environment[name]) - set(functions[name].environment["Variables"])
        if unknown:
            report.finding(
                "events/local/env.json", f"{name} has no {', '.join(sorted(unknown))} in the template"
            )
        if environment[name].get("AWS_ENDPOINT_URL") != ENDPOINT:
            report.finding("events/local/env.json", f"AWS_ENDPOINT_URL of {name} is not {ENDPOINT}")


def resolved(function: Any, overrides: dict[str, str]) -> dict[str, str]:
    """The environment that `sam local invoke --env-vars` gives a function, made by its own code."""
    credentials = {"key": ACCOUNTS[function.name], "secret": "local", "region": REGION}
    return EnvironmentVariables(
        function.name,
        function.memory,
        function.timeout,
        function.handler,
        function_logging_config=function.logging_config,
        variables=function.environment["Variables"],
        override_values=overrides,
        aws_creds=credentials,
    ).resolve()


@contextmanager
def local_aws(top: Path, host: str, port: int) -> Iterator[str]:
    """Runs until the end of the block; the URL."""
    folder = top / "target" / os.environ.get("CARGO_BUILD_TARGET", "") / "local-aws"  # where the tests have it
    prepare = [sys.executable, str(top / "tests/local-aws/prepare.py"), str(folder)]
    made = json.loads(subprocess.run(prepare, check=True, stdout=subprocess.PIPE, text=True).stdout)
    command = [made["python"], "-m", "local_aws", "--host", host, "--port", str(port), "--until-stdin-closes"]
    environment = {name: it for name, it in os.environ.items() if name != "PYTHONPATH"}
    with subprocess.Popen(
        command,
        cwd=top / "tests/local-aws",
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            ready = process.stdout.readline().split() if process.stdout else []
            if len(ready) != 2:
                raise RuntimeError("the local AWS does not start, see above")
            yield ready[1]
        finally:
            process.kill()


def stage(url: str) -> None:
    """What README makes with the AWS CLI: a volume to take a snapshot of, and the role to do it in."""
    key: dict[str, Any] = {
        "aws_access_key_id": MEMBER,
        "aws_secret_access_key": "local",
        "region_name": REGION,
    }
    trust = {"Effect": "Allow", "Principal": {"AWS": ACCOUNTS[ROTATE]}, "Action": "sts:AssumeRole"}
    boto3.client("iam", endpoint_url=url, **key).create_role(
        RoleName=MEMBER_ROLE,
        AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
    )
    boto3.client("ec2", endpoint_url=url, **key).create_volume(
        AvailabilityZone=REGION + "a",
        Size=1,
        TagSpecifications=[{"ResourceType": "volume", "Tags": [{"Key": "Backup", "Value": "daily"}]}],
    )


def _judged(report: Report, what: str, event: dict[str, Any], answer: dict[str, Any]) -> None:
    want = "Planned" if event.get("DryRun") else "Succeeded"
    if answer.get("Status") != want:
        report.finding(what, f"answered {answer}, and not {want}")
        return
    report.looked_at(
        what,
        f"{answer['Status']}, {counted(len(answer.get('Actions', [])), 'action')}, {len(answer.get('Held', []))} held",
    )


def _in_docker(report: Report, top: Path, built: Path, template: Path) -> None:
    why = _no_docker(built)
    if why:
        report.skipped(f"sam local invoke in Docker: {why}")
        return
    gateway = _said(
        ["docker", "network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}"]
    )
    with local_aws(top, gateway, 5000) as url:
        stage(url)
        for file, name in EVENTS.items():
            event = json.loads((top / "events" / file).read_text(encoding="utf-8"))
            command = [
                "sam",
                "local",
                "invoke",
                name,
                "--template",
                str(template),
                "--event",
                f"events/{file}",
            ]
            command += ["--env-vars", "events/local/env.json", "--add-host", f"local-aws:{gateway}"]
            command += ["--parameter-overrides", *parameters()]
            credentials = {
                "AWS_ACCESS_KEY_ID": ACCOUNTS[name],
                "AWS_SECRET_ACCESS_KEY": "local",
                "AWS_REGION": REGION,
            }
            done = subprocess.run(
                command, cwd=top, env=os.environ | credentials, capture_output=True, text=True
            )
            lines = done.stdout.strip().splitlines()
            try:
                _judged(report, f"{file} to {name} in Docker", event, json.loads(lines[-1]))
            except (IndexError, ValueError):
                report.finding(f"{file} to {name} in Docker", done.stdout + done.stderr)


def _no_docker(built: Path) -> str:
    try:
        if subprocess.run(["docker", "info"], capture_output=True).returncode:
            return "no Docker engine answers `docker info`"
    except OSError as error:
        return str(error)
    for name in ACCOUNTS:
        text = (built / name / "bootstrap").read_bytes()
        newest = max((int(it[1]), int(it[2])) for it in re.finditer(rb"GLIBC_(\d+)\.(\d+)", text))
        if newest > NEWEST_GLIBC:
            return f"{name} was linked here against glibc {newest}, and Lambda has {NEWEST_GLIBC}: build with Zig"
    return ""


def _said(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
