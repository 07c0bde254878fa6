#!/usr/bin/env python3
"""Makes what the local AWS runs on: a virtual environment, and AWS's Runtime Interface Emulator (RIE).

    python3 prepare.py DIR [--cloud]

Prints `{"python": "DIR/venv/bin/python", "rie": "DIR/aws-lambda-rie"}` on standard output and what it is
doing on standard error. `--cloud` adds to the same environment what local_cloud needs, and with it some
tests. A second call returns at once; two calls at once wait for each other; after an
interrupted call the next one repairs. Nothing but Python's standard library is needed, and pip's own
configuration (index, proxy, certificates) is used as it is.

The RIE is the program in which `sam local invoke` runs functions. It is taken out of the package
aws-sam-cli, and checked: everything else in that package stays away.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))

from virtual_environment import (  # noqa: E402
    Failed,
    fingerprint,
    import_all,
    install,
    interpreter,
    make_venv,
    once,
    pip,
    python_in,
    run,
)

REQUIREMENTS = os.path.join(HERE, "requirements.txt")
CLOUD_REQUIREMENTS = os.path.join(HERE, "requirements-cloud.txt")
LEAST = (3, 10)  # what moto needs; this script itself runs on 3.9, too
SAM_CLI = "aws-sam-cli==1.170.0"
RIE = {
    "x86_64": (
        "samcli/local/rapid/aws-lambda-rie-x86_64",
        "6b1e686e62ab2baf5759c412c4864276ef2a88b094fca53ec070637ccba9b9a5",
    ),
    "aarch64": (
        "samcli/local/rapid/aws-lambda-rie-arm64",
        "ec2e5d09633d853834c008b1ef264bf834b258a94d551d2b2074966494b39a21",
    ),
}
RIE["amd64"], RIE["arm64"] = RIE["x86_64"], RIE["aarch64"]


def say(text):
    print("local-aws: " + text, file=sys.stderr, flush=True)


def rie_in(directory):
    return os.path.join(directory, "aws-lambda-rie")


def make_rie(directory, lock):
    """Takes the one file out of the package."""
    import platform
    import shutil
    import tempfile
    import zipfile

    rie = rie_in(directory)
    machine = platform.machine().lower()
    if platform.system() != "Linux" or machine not in RIE:
        say(
            "no Runtime Interface Emulator for %s %s: functions cannot be run here"
            % (platform.system(), machine)
        )
        return
    member, wanted = RIE[machine]
    if os.path.exists(rie) and sha256(rie) == wanted:
        os.chmod(rie, 0o755)
        return
    say("fetching the Runtime Interface Emulator (8 MB)")
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        run(
            lock,
            pip(directory, ["download", "--only-binary=:all:", "--dest", scratch, SAM_CLI]),
            "pip download " + SAM_CLI,
            "The emulator lies inside this package; nothing of it is installed.",
        )
        wheels = [name for name in os.listdir(scratch) if name.endswith(".whl")]
        extracted = os.path.join(scratch, "aws-lambda-rie")
        with zipfile.ZipFile(os.path.join(scratch, wheels[0])) as wheel:
            with wheel.open(member) as source, open(extracted, "wb") as target:
                shutil.copyfileobj(source, target)
        found = sha256(extracted)
        if found != wanted:
            raise Failed("%s in %s has SHA-256 %s, and not %s: not used" % (member, SAM_CLI, found, wanted))
        os.chmod(extracted, 0o755)
        os.replace(extracted, rie)


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def prepare(directory):
    base = interpreter(LEAST)
    rie = rie_in(directory)

    def make(lock):
        if os.path.exists(cloud_stamp(directory)):
            os.remove(cloud_stamp(directory))
        make_venv(directory, base, REQUIREMENTS, ["moto.ec2.models", "boto3"], lock, say)
        make_rie(directory, lock)

    wanted = fingerprint(base, [REQUIREMENTS, os.path.abspath(__file__)])
    once(directory, wanted, make, say, lambda: {"rie": os.access(rie, os.X_OK)})
    return {"python": python_in(directory), "rie": rie if os.path.exists(rie) else None}


def cloud_stamp(directory):
    return os.path.join(directory, "prepared-cloud")


def add_cloud(directory):
    """Adds local_cloud's packages to a virtual environment that is ready."""
    import fcntl

    stamp = cloud_stamp(directory)
    wanted = fingerprint(interpreter(LEAST), [CLOUD_REQUIREMENTS, REQUIREMENTS])
    with open(os.path.join(directory, "lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.exists(stamp):
            with open(stamp) as file:
                if file.read() == wanted:
                    return
        say("installing ministack, the SAM translator and what they need (about 40 MB)")
        install(directory, CLOUD_REQUIREMENTS, lock)
        import_all(directory, ["ministack.app", "samtranslator.translator.translator"], lock)
        with open(stamp + ".new", "w") as file:
            file.write(wanted)
        os.replace(stamp + ".new", stamp)


def main():
    options, cloud = sys.argv[1:], sys.argv[2:] == ["--cloud"]
    if len(options) != 1 + cloud or options[0].startswith("-"):
        print(__doc__, file=sys.stderr)
        return 2
    directory = os.path.abspath(options[0])
    try:
        made = prepare(directory)
        if cloud:
            add_cloud(directory)
        print(json.dumps(made), flush=True)
    except (Failed, OSError) as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
