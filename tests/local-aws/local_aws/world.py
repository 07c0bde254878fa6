"""What all parts share: the knobs, the one lock, the timers, who calls, and moto's EC2 state.

Volumes, instances, images and tags live in moto's own EC2 backends, one for each account and Region;
snapshots live there too, but are of our own class (see `snapshots`).
"""

from __future__ import annotations

import datetime as dt
import heapq
import itertools
import random
import re
import string
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from moto.core.base_backend import BackendDict
from moto.ec2.models import ec2_backends
from moto.iam.models import iam_backends
from moto.organizations.models import organizations_backends

from .errors import AwsError

# One lock around every state change: moto has none, and the functions call in parallel.
LOCK = threading.RLock()

KNOBS: dict[str, Any] = {
    "snapshot_seconds": 0.3,  # CreateSnapshot stays pending this long; negative: for ever
    "copy_seconds": 0.3,  # CopySnapshot stays pending this long; negative: for ever
    "copy_limit": 20,  # pending copies per account and destination Region; 0: no limit
    "copy_throughput": 2000,  # MiB/s of pending time-based copies between two Regions; 0: none of them
    "full_copies": 0,  # the next n copies that could be incremental are full ones; negative: all
    "copy_refusal": "sync",  # unknown source: "sync" refuses, "async" ends in State=error
    "presigned_url": "optional",  # "required": a copy of an encrypted source without one ends in State=error
    "snapshot_rate_seconds": 0,  # SnapshotCreationPerVolumeRateExceeded within this time; 0: off
    "concurrent_snapshots": 5,  # pending or failed ones of a volume, of st1 and sc1 one; 0: no limit
    "archive_seconds": 0.3,  # ModifySnapshotTier is in progress this long; negative: for ever
    "archive_failures": 0,  # the next n archivings fail; negative: all
    "archive_limit": 25,  # archivings in progress per account and Region, archived per volume; 0: no limit
    "restore_seconds": 0.3,  # fast restores are enabling, optimizing, disabling this long; negative: for ever
    "restore_limit": 5,  # snapshots with fast restores per account and Region; 0: no limit
    "restore_failures": 0,  # the next n zones of fast restores are unsuccessful; negative: all
    "backup_seconds": 0.3,  # a job of AWS Backup runs this long; negative: for ever
    "identity_policies": False,  # a role's session may do in EC2, STS and KMS what the role's policies allow
    "command_seconds": 0.05,  # a command is Pending this long before the agent takes it
    "invocation_seconds": 0.1,  # as long a command that was sent cannot be seen
    "command_timeout_factor": 1,  # of the seconds of a command's two timeouts
    "status_details_spaced": False,  # StatusDetails of commands are "In Progress" instead of "InProgress"
    "key_policies": False,  # foreign KMS keys need a key policy that names the caller
    "duplicate_events": 0,  # every event is delivered this many times more
    "drop_events": 0,  # the next n events are lost; negative: all
    "delay_events": 0,  # seconds between an event and its delivery
    "async_retries": 0,  # further tries after a function error (Lambda's default is 2)
    "async_retry_seconds": 60,  # time before such a try
    "function_timeout": 960,  # how long a worker waits for a function's answer
}
DEFAULTS = dict(KNOBS)


def now() -> dt.datetime:
    return dt.datetime.now(dt.timezone.utc)


def naive(value: dt.datetime) -> dt.datetime:
    """moto keeps UTC without saying so."""
    return value.astimezone(dt.timezone.utc).replace(tzinfo=None)


def rfc3339(value: dt.datetime) -> str:
    return value.strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: str) -> dt.datetime:
    text = re.sub(r"\.(\d{1,6})\d*", lambda m: f".{m.group(1):0<6}", text)  # Python 3.10 wants 3 or 6 digits
    value = dt.datetime.fromisoformat(text.replace("Z", "+00:00"))
    return value if value.tzinfo else value.replace(tzinfo=dt.timezone.utc)


def partition(region: str) -> str:
    return "aws-cn" if region.startswith("cn-") else "aws-us-gov" if region.startswith("us-gov-") else "aws"


def spend(knob: str) -> bool:
    """Whether the knob "the next n fail" hits this time; a negative one always does."""
    left = KNOBS[knob]
    KNOBS[knob] -= left > 0
    return left != 0


def random_id(prefix: str) -> str:
    return f"{prefix}-{random.getrandbits(68):017x}"


# ---- timers: one thread for everything that happens later -----------------------------------------


class Timers(threading.Thread):
    def __init__(self) -> None:
        super().__init__(daemon=True, name="timers")
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()
        self._changed = threading.Condition()
        self.running = 0

    def at(self, when: float, what: Callable[[], None]) -> None:
        with self._changed:
            heapq.heappush(self._heap, (when, next(self._count), what))
            self._changed.notify()

    def pending(self) -> int:
        with self._changed:
            return len(self._heap) + self.running

    def clear(self) -> None:
        with self._changed:
            self._heap.clear()

    def run(self) -> None:
        while True:
            with self._changed:
                while not self._heap or self._heap[0][0] > time.time():
                    self._changed.wait(max(0.0, self._heap[0][0] - time.time()) if self._heap else None)
                what = heapq.heappop(self._heap)[2]
                self.running = 1
            try:
                what()
            except Exception:  # a late event must not end all later ones
                import traceback

                traceback.print_exc()
            finally:
                self.running = 0


TIMERS = Timers()  # snapshots and copies that complete
DELAYS = Timers()  # events and retries under way


# ---- who calls ------------------------------------------------------------------------------------


@dataclass
class Session:
    """Credentials made by AssumeRole."""

    account: str
    role_arn: str
    name: str
    expires: dt.datetime
    secret: str
    token: str
    made_by: str = ""  # the function that has assumed it, in its role of that time
    instance: str = ""  # the ARN of the one whose profile it is of

    @property
    def arn(self) -> str:
        part = self.role_arn.split(":")[1]
        return f"arn:{part}:sts::{self.account}:assumed-role/{self.role_arn.rsplit('/', 1)[-1]}/{self.name}"


@dataclass
class Caller:
    account: str
    arn: str
    role_arn: str | None = None
    user_id: str = ""
    actor: str = ""  # a function, see `proof`
    instance: str = ""  # the ARN of the one that calls in its profile's role


@dataclass
class World:
    sessions: dict[str, Session] = field(default_factory=dict)
    disabled: dict[tuple[str, str], str] = field(default_factory=dict)  # (account, Region) -> error code
    enabled: set[tuple[str, str]] = field(default_factory=set)


WORLD = World()
_CURRENT = threading.local()
DEFAULT_ACCOUNT = "123456789012"


def new_access_key() -> str:
    return "ASIA" + "".join(random.choices(string.ascii_uppercase + string.digits, k=16))


def caller_of(key: str) -> Caller:
    """Who signs with access key id `key`: 12 digits are an account's root user."""
    if re.fullmatch(r"\d{12}", key):
        return Caller(key, f"arn:aws:iam::{key}:root", user_id=key)
    session = WORLD.sessions.get(key)
    if session:
        if session.expires < now():
            raise AwsError("ExpiredToken", "The security token included in the request is expired", 403)
        user_id = f"AROA{session.account}EXAMPL:{session.name}"
        return Caller(
            session.account, session.arn, session.role_arn, user_id, instance=session.instance
        )
    if key.startswith("ASIA"):
        raise AwsError("InvalidClientTokenId", "The security token included in the request is invalid.")
    for account, parts in list(iam_backends.items()):
        for backend in list(parts.values()):
            if key in backend.access_keys:
                user = backend.get_user_from_access_key_id(key)
                arn = user.arn if user else f"arn:aws:iam::{account}:root"
                return Caller(account, arn, user_id=getattr(user, "id", account))
    return Caller(DEFAULT_ACCOUNT, f"arn:aws:iam::{DEFAULT_ACCOUNT}:root", user_id=DEFAULT_ACCOUNT)


def set_current_caller(caller: Caller) -> None:
    _CURRENT.caller = caller


def current_caller() -> Caller:
    """Who made the call this thread is answering."""
    return _CURRENT.caller


# ---- EC2 state ------------------------------------------------------------------------------------


def backend(account: str, region: str) -> Any:
    """moto's EC2 state of one account and Region, made on first use."""
    try:
        return ec2_backends[account][region]
    except KeyError:
        raise AwsError("InvalidRegion", f"Could not find Region {region}") from None


def backends(region: str | None = None, account: str | None = None) -> Iterator[Any]:
    """Every EC2 state there is."""
    for owner, regions in list(ec2_backends.items()):
        if account is None or owner == account:
            for name, state in list(regions.items()):
                if region is None or name == region:
                    yield state


def reset() -> None:
    """Forgets everything: fresh world, default knobs."""
    with LOCK:
        TIMERS.clear()
        DELAYS.clear()
        KNOBS.update(DEFAULTS)
        WORLD.sessions.clear()
        WORLD.disabled.clear()
        WORLD.enabled.clear()
        organizations_backends.master_accounts.clear()
        for each in list(BackendDict._instances):
            each.clear()
        BackendDict._instances.clear()
