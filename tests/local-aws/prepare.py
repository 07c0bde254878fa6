#!/usr/bin/env python3
"""Makes what the local AWS runs on: a virtual environment, and AWS's Runtime Interface Emulator (RIE).

    python3 prepare.py DIR [--cloud]

Prints `{"python": "DIR/venv/bin/python", "rie": "DIR/aws-lambda-rie"}` on standard output and what it is
doing on standard error. `--cloud` adds to the same environment what local_cloud needs, and with it some
tests. A second call returns at once; two calls at once wait for each other; after an interrupted call the
next one repairs. Nothing but Python's standard library is needed, and pip's own configuration (index, proxy,
certificates) is used as it is.

The RIE is the program in which `sam local invoke` runs functions. It is taken out of the package
aws-sam-cli, and checked: everything else in that package stays away.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
REQUIREMENTS = os.path.join(HERE, "requirements.txt")
CLOUD_REQUIREMENTS = os.path.join(HERE, "requirements-cloud.txt")
LEAST = (3, 10)  # what moto needs; this script itself runs on 3.9, too
NEWER = ("python3.13", "python3.12", "python3.11", "python3.10", "python3.14")
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


class Failed(Exception):
    """Says what is missing and what to do about it."""


def say(text):
    print("local-aws: " + text, file=sys.stderr, flush=True)


def interpreter():
    """A Python that moto runs on: this one, or a newer one of the PATH."""
    if sys.version_info >= LEAST:
        return sys.executable
    import shutil
    import subprocess

    for path in filter(None, map(shutil.which, NEWER)):
        if subprocess.call([path, "-c", ""], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0:
            return path  # else it is a stand-in, as pyenv makes them
    raise Failed(
        "Python %d.%d or newer is needed, this is %s (%s), and none of %s is in the PATH.\n"
        "  Debian, Ubuntu: apt-get install python3 python3-venv    macOS: brew install python\n"
        "  anywhere: https://www.python.org/downloads/"
        % (LEAST + (sys.version.split()[0], sys.executable, ", ".join(NEWER)))
    )


def fingerprint(python):
    """Changes with the requirements, with this script and with the Python they are for."""
    digest = hashlib.sha256(("%s %s" % (os.path.realpath(python), sys.version)).encode())
    for path in (REQUIREMENTS, os.path.abspath(__file__)):
        digest.update(contents(path))
    return digest.hexdigest()


def contents(path):
    with open(path, "rb") as file:
        return file.read()


def paths(directory):
    return (
        os.path.join(directory, "venv", "bin", "python"),
        os.path.join(directory, "aws-lambda-rie"),
        os.path.join(directory, "prepared.json"),
    )


def result(directory):
    python, rie, _ = paths(directory)
    return {"python": python, "rie": rie if os.path.exists(rie) else None}


def is_ready(directory, wanted):
    python, rie, stamp = paths(directory)
    try:
        with open(stamp) as file:
            made = json.load(file)
    except (OSError, ValueError):
        return False
    return made == {"fingerprint": wanted, "rie": os.access(rie, os.X_OK)} and os.access(python, os.X_OK)


def run(lock, command, what, hint):
    """Runs `command`. It holds the lock, too: should this script be killed, the next waits for its end."""
    import subprocess

    try:
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            pass_fds=[lock.fileno()],
        )
    except OSError as error:
        raise Failed("%s failed: %s" % (what, error)) from error
    if done.returncode:
        tail = "\n".join("  | " + line for line in done.stdout.strip().splitlines()[-15:])
        raise Failed("%s failed:\n%s\n  %s" % (what, tail, hint))


def make_venv(directory, base, lock):
    import shutil

    venv = os.path.join(directory, "venv")
    remove(cloud_stamp(directory))
    shutil.rmtree(venv, ignore_errors=True)
    say("making a virtual environment with %s" % base)
    run(
        lock,
        [base, "-m", "venv", venv],
        "python -m venv",
        "If ensurepip is missing: apt-get install python3-venv (Debian, Ubuntu).",
    )
    say("installing moto and what it needs (about 140 MB; half a minute the first time)")
    pip_install(directory, REQUIREMENTS, lock)
    run(
        lock,
        [paths(directory)[0], "-c", "import moto.ec2.models, boto3"],
        "importing moto",
        "Is the Python complete?",
    )


def pip_install(directory, requirements, lock):
    options = ["--quiet", "--no-input", "--disable-pip-version-check", "--no-deps"]
    run(
        lock,
        [paths(directory)[0], "-m", "pip", "install", *options, "-r", requirements],
        "pip install",
        "pip reads its own configuration (PIP_INDEX_URL, pip.conf, proxies): can it reach a package index?",
    )


def cloud_stamp(directory):
    return os.path.join(directory, "prepared-cloud")


def remove(path):
    if os.path.exists(path):
        os.remove(path)


def add_cloud(directory, wanted):
    """Adds local_cloud's packages to a virtual environment that is ready."""
    import fcntl

    stamp = cloud_stamp(directory)
    wanted = hashlib.sha256(wanted.encode() + contents(CLOUD_REQUIREMENTS)).hexdigest()
    with open(os.path.join(directory, "lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.exists(stamp) and contents(stamp).decode() == wanted:
            return
        say("installing ministack, the SAM translator and what they need (about 40 MB)")
        pip_install(directory, CLOUD_REQUIREMENTS, lock)
        check = "import ministack.app, samtranslator.translator.translator"
        run(lock, [paths(directory)[0], "-c", check], "importing ministack", "Is the Python complete?")
        with open(stamp + ".new", "w") as file:
            file.write(wanted)
        os.replace(stamp + ".new", stamp)


def make_rie(directory, lock):
    """Takes the one file out of the package."""
    import platform
    import shutil
    import tempfile
    import zipfile

    _, rie, _ = paths(directory)
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
            [
                paths(directory)[0],
                "-m",
                "pip",
                "download",
                "--quiet",
                "--no-input",
                "--disable-pip-version-check",
                "--no-deps",
                "--only-binary=:all:",
                "--dest",
                scratch,
                SAM_CLI,
            ],
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
    base = interpreter()
    wanted = fingerprint(base)
    if is_ready(directory, wanted):
        return result(directory)
    try:
        import fcntl
    except ImportError:
        raise Failed("Linux or macOS is needed: this system has no file locks of their kind") from None
    os.makedirs(directory, exist_ok=True)
    python, rie, stamp = paths(directory)
    with open(os.path.join(directory, "lock"), "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say("waiting for another prepare.py")
            fcntl.flock(lock, fcntl.LOCK_EX)
        if is_ready(directory, wanted):
            return result(directory)
        remove(stamp)
        make_venv(directory, base, lock)
        make_rie(directory, lock)
        with open(stamp + ".new", "w") as file:
            json.dump({"fingerprint": wanted, "rie": os.access(rie, os.X_OK)}, file)
        os.replace(stamp + ".new", stamp)
    say("ready")
    return result(directory)


def main():
    options, cloud = sys.argv[1:], sys.argv[2:] == ["--cloud"]
    if len(options) != 1 + cloud or options[0].startswith("-"):
        print(__doc__, file=sys.stderr)
        return 2
    directory = os.path.abspath(options[0])
    try:
        made = prepare(directory)
        if cloud:
            add_cloud(directory, fingerprint(interpreter()))
        print(json.dumps(made), flush=True)
    except (Failed, OSError) as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
