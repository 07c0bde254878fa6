#!/usr/bin/env python3
"""Checks the CloudFormation templates of the project: every file with an AWSTemplateFormatVersion.

    python3 tests/deployment/check.py            # all
    python3 tests/deployment/check.py lint build # some of them

Installs what it needs under target/deployment the first time; nothing but Python's standard library is needed
before, and pip's own configuration is used. No AWS account is needed, and none is asked.
"""

from __future__ import annotations

import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.dirname(HERE))

from virtual_environment import (  # noqa: E402
    Failed,
    fingerprint,
    interpreter,
    make_venv,
    once,
    python_in,
)

LEAST = (3, 11)  # what the pinned packages need
FOLDER = os.path.join(TOP, "target", "deployment")
# No updates, no telemetry, and nobody's account.
QUIET = {
    "AWS_ACCESS_KEY_ID": "111111111111",
    "AWS_SECRET_ACCESS_KEY": "local",
    "AWS_DEFAULT_REGION": "eu-central-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "PYTHONWARNINGS": "ignore:pkg_resources is deprecated",
    "SAM_CLI_TELEMETRY": "0",
    "__SAM_CLI_TELEMETRY_ENDPOINT_URL": "http://127.0.0.1:9",
}


def say(text):
    print("deployment: " + text, file=sys.stderr, flush=True)


def prepared(name, requirements, modules):
    """The Python of a virtual environment under target/deployment."""
    directory, packages = os.path.join(FOLDER, name), os.path.join(HERE, requirements)
    base = interpreter(LEAST)

    def make(lock):
        make_venv(directory, base, packages, modules, lock, say)

    once(directory, fingerprint(base, [packages]), make, say)
    return python_in(directory)


def main():
    if any(name.startswith("-") for name in sys.argv[1:]):
        print(__doc__, file=sys.stderr)
        return 2
    try:
        tools = prepared("tools", "requirements.txt", ["samcli", "cfnlint", "parliament"])
        checkov = prepared("checkov", "requirements-checkov.txt", ["checkov.main"])
    except (Failed, OSError) as error:
        say(str(error))
        return 1
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    path = os.path.dirname(tools) + os.pathsep + environment.get("PATH", "")
    environment.update(QUIET, PATH=path, PYTHONPATH=HERE)
    checkov = os.path.join(os.path.dirname(checkov), "checkov")
    return subprocess.call([tools, "-m", "checks", FOLDER, checkov, *sys.argv[1:]], env=environment)


if __name__ == "__main__":
    sys.exit(main())
