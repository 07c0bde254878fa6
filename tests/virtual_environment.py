"""Virtual environments of pinned packages, for scripts that need nothing but Python's standard library.

What is made once stays: a second call returns at once; two calls at once wait for each other; after an
interrupted call the next one repairs. pip's own configuration (index, proxy, certificates) is used as it is.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys

NEWER = ("python3.13", "python3.12", "python3.11", "python3.10", "python3.14")


class Failed(Exception):
    """Says what is missing and what to do about it."""


def interpreter(least):
    """A Python of at least this version: this one, or a newer one of the PATH."""
    if sys.version_info >= least:
        return sys.executable
    import shutil
    import subprocess

    for path in filter(None, map(shutil.which, NEWER)):
        is_new = "import sys; sys.exit(sys.version_info < %r)" % (least,)
        if subprocess.call([path, "-c", is_new], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0:
            return path  # else it is older, or a stand-in, as pyenv makes them
    raise Failed(
        "Python %d.%d or newer is needed, this is %s (%s), and none of %s in the PATH is.\n"
        "  Debian, Ubuntu: apt-get install python3 python3-venv    macOS: brew install python\n"
        "  anywhere: https://www.python.org/downloads/"
        % (least + (sys.version.split()[0], sys.executable, ", ".join(NEWER)))
    )


def fingerprint(python, files):
    """Changes with the files, with this one and with the Python they are for."""
    digest = hashlib.sha256(("%s %s" % (os.path.realpath(python), sys.version)).encode())
    for path in [os.path.abspath(__file__), *files]:
        with open(path, "rb") as file:
            digest.update(file.read())
    return digest.hexdigest()


def python_in(directory):
    return os.path.join(directory, "venv", "bin", "python")


def once(directory, wanted, make, say, state=dict):
    """Calls `make(lock)`, unless all of it is there, made for the same fingerprint.

    state: what else is there, beside the Python of the virtual environment.
    """

    def now():
        return {"fingerprint": wanted, "python": os.access(python_in(directory), os.X_OK), **state()}

    stamp = os.path.join(directory, "prepared.json")

    def is_made():
        try:
            with open(stamp) as file:
                return json.load(file) == now()
        except (OSError, ValueError):
            return False

    if is_made():
        return
    try:
        import fcntl
    except ImportError:
        raise Failed("Linux or macOS is needed: this system has no file locks of their kind") from None
    os.makedirs(directory, exist_ok=True)
    with open(os.path.join(directory, "lock"), "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say("waiting for another call of this")
            fcntl.flock(lock, fcntl.LOCK_EX)
        if is_made():
            return
        if os.path.exists(stamp):
            os.remove(stamp)
        make(lock)
        with open(stamp + ".new", "w") as file:
            json.dump(now(), file)
        os.replace(stamp + ".new", stamp)
    say("ready")


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


def pip(directory, arguments):
    """The command line of the virtual environment's pip."""
    quiet = ["--quiet", "--no-input", "--disable-pip-version-check", "--no-deps"]
    return [python_in(directory), "-m", "pip", arguments[0], *quiet, *arguments[1:]]


def make_venv(directory, base, requirements, modules, lock, say):
    """Makes DIR/venv with the packages of a file that names all of them; `modules` are imported as a test."""
    import shutil

    venv = os.path.join(directory, "venv")
    shutil.rmtree(venv, ignore_errors=True)
    say("making a virtual environment with %s" % base)
    run(
        lock,
        [base, "-m", "venv", venv],
        "python -m venv",
        "If ensurepip is missing: apt-get install python3-venv (Debian, Ubuntu).",
    )
    say("installing %s and what it needs (half a minute the first time)" % modules[0].split(".")[0])
    install(directory, requirements, lock)
    import_all(directory, modules, lock)


def install(directory, requirements, lock):
    """Adds the packages of a file that names all of them."""
    run(
        lock,
        pip(directory, ["install", "-r", requirements]),
        "pip install",
        "pip reads its own configuration (PIP_INDEX_URL, pip.conf, proxies): can it reach a package index?",
    )


def import_all(directory, modules, lock):
    names = ", ".join(modules)
    run(
        lock, [python_in(directory), "-c", "import " + names], "importing " + names, "Is the Python complete?"
    )
