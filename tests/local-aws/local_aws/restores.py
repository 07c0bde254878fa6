"""Fast snapshot restores: of a snapshot, in an Availability Zone, for the account that enabled them."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .describe import compile_filters, page
from .errors import AwsError
from .query import Params, answer
from .snapshots import Result, Snapshot, check_ids, visible
from .world import KNOBS, LOCK, TIMERS, Caller, backend, backends, now, spend

PHASES = {"enabling": "optimizing", "optimizing": "enabled", "disabling": "disabled"}
BIGGEST = 16384  # GiB
USER, SYSTEM = "Client.UserInitiated", "Client.UserInitiated - Lifecycle state transition"


@dataclass
class Restore:
    owner_id: str
    snapshot_id: str
    zone: Any  # moto's
    phase: str = ""
    until: float = 0.0  # when the next phase begins
    reason: str = USER
    times: dict[str, dt.datetime] = field(default_factory=dict)  # when each phase began

    @property
    def id(self) -> str:
        return f"{self.snapshot_id}/{self.zone.name}"

    @property
    def state(self) -> str:
        while self.phase in PHASES and time.time() >= self.until:
            self.begin(PHASES[self.phase], SYSTEM)
        return self.phase

    def begin(self, phase: str, reason: str = USER) -> None:
        seconds = KNOBS["restore_seconds"]
        self.phase, self.reason = phase, reason
        if phase == "enabling":
            self.times = {}
        self.times[phase] = now()
        self.until = time.time() + seconds if seconds >= 0 else float("inf")
        if phase in PHASES and seconds > 0:
            TIMERS.at(self.until, self.tick)

    def tick(self) -> None:
        with LOCK:
            _ = self.state

    def view(self) -> dict[str, Any]:
        _ = self.state
        return self.as_it_was()

    def as_it_was(self) -> dict[str, Any]:
        """With the phase that has just begun, even if it takes no time."""
        return {
            "snapshotId": self.snapshot_id,
            "availabilityZone": self.zone.name,
            "availabilityZoneId": self.zone.zone_id,
            "state": self.phase,
            "stateTransitionReason": self.reason,
            "ownerId": self.owner_id,
            **{f"{phase}Time": at for phase, at in self.times.items()},
        }


def restores_of(state: Any) -> dict[str, Restore]:
    """Those that an account enabled in a Region, by snapshot and zone."""
    return state.__dict__.setdefault("fast_restores", {})


def end(snapshot: Snapshot, accounts: set[str] | None = None) -> None:
    """The snapshot is gone, archived, or no longer shared with `accounts`: EC2 disables all by itself."""
    for state in backends(snapshot.region):
        if accounts is None or state.account_id in accounts:
            for each in restores_of(state).values():
                if each.snapshot_id == snapshot.id and each.state not in ("disabling", "disabled"):
                    each.begin("disabling", SYSTEM)


# ---- calls ----------------------------------------------------------------------------------------


def zones_of(state: Any, p: Params) -> list[tuple[dict[str, str], Any]]:
    """What the call names, and moto's zone where there is one."""
    names, ids = p.items("AvailabilityZone"), p.items("AvailabilityZoneId")
    if names and ids:
        raise AwsError(
            "InvalidParameterCombination", "Only one of AvailabilityZone and AvailabilityZoneId may be given"
        )
    if not names and not ids:
        raise AwsError("MissingParameter", "The request must contain the parameter AvailabilityZone")
    known = state.zones.get(state.region_name, [])
    named, numbered = {z.name: z for z in known}, {z.zone_id: z for z in known}
    return [({"availabilityZone": n}, named.get(n)) for n in dict.fromkeys(names)] + [
        ({"availabilityZoneId": i}, numbered.get(i)) for i in dict.fromkeys(ids)
    ]


def change(
    caller: Caller, region: str, p: Params, action: str, one: Callable[[Any, str, Any], dict[str, Any]]
) -> Result:
    """Every snapshot in every zone by itself: some may succeed and others not, in one answer."""
    state, ids = backend(caller.account, region), list(dict.fromkeys(p.items("SourceSnapshotId")))
    if not ids:
        raise AwsError("MissingParameter", "The request must contain the parameter SourceSnapshotId")
    check_ids(ids)
    zones = zones_of(state, p)
    p.refuse_dry_run()
    done, failed = [], []
    with LOCK:
        for snapshot_id in ids:
            errors = []
            for name, zone in zones:
                try:
                    if zone is None:
                        wrong = next(iter(name.values()))
                        raise AwsError("InvalidParameterValue", f"Invalid availability zone: [{wrong}]")
                    if spend("restore_failures"):
                        raise AwsError("InternalError", "An internal error has occurred")
                    done.append(one(state, snapshot_id, zone))
                except AwsError as error:
                    errors.append({**name, "error": {"code": error.code, "message": error.message}})
            if errors:
                failed.append({"snapshotId": snapshot_id, "fastSnapshotRestoreStateErrorSet": errors})
    return answer(action, {"successful": done, "unsuccessful": failed})


def enable(state: Any, snapshot_id: str, zone: Any) -> dict[str, Any]:
    mine = restores_of(state)
    snapshot = visible(state.account_id, state.region_name, snapshot_id)
    if snapshot is None:
        raise AwsError("InvalidSnapshot.NotFound", f"The snapshot '{snapshot_id}' does not exist.")
    if snapshot.status != "completed" or snapshot.archived:
        state_of = "archived" if snapshot.archived else snapshot.status
        raise AwsError("IncorrectState", f"The snapshot '{snapshot_id}' is {state_of}.")
    if snapshot.size > BIGGEST:
        raise AwsError("InvalidParameterValue", f"The snapshot '{snapshot_id}' is larger than 16 TiB.")
    limit = KNOBS["restore_limit"]
    busy = {r.snapshot_id for r in mine.values() if r.state != "disabled"} - {snapshot_id}
    if limit and len(busy) >= limit:
        raise AwsError(
            "FastSnapshotRestoreLimitExceeded",
            f"Fast snapshot restores are enabled for {limit} snapshots already, the limit of this Region.",
        )
    found = mine.setdefault(f"{snapshot_id}/{zone.name}", Restore(state.account_id, snapshot_id, zone))
    if found.state in ("enabling", "optimizing", "enabled"):
        return found.view()
    found.begin("enabling")
    return found.as_it_was()


def disable(state: Any, snapshot_id: str, zone: Any) -> dict[str, Any]:
    found = restores_of(state).get(f"{snapshot_id}/{zone.name}")
    if found is None or found.state == "disabled":
        raise AwsError(
            "IncorrectState", f"Fast snapshot restores of {snapshot_id} are not enabled in {zone.name}."
        )
    if found.state == "disabling":
        return found.view()
    found.begin("disabling")
    return found.as_it_was()


def enable_fast_snapshot_restores(caller: Caller, region: str, p: Params) -> Result:
    return change(caller, region, p, "EnableFastSnapshotRestores", enable)


def disable_fast_snapshot_restores(caller: Caller, region: str, p: Params) -> Result:
    return change(caller, region, p, "DisableFastSnapshotRestores", disable)


FIELDS = {
    "availability-zone": lambda r: r.zone.name,
    "availability-zone-id": lambda r: r.zone.zone_id,
    "owner-id": lambda r: r.owner_id,
    "snapshot-id": lambda r: r.snapshot_id,
    "state": lambda r: r.state,
}


def describe_fast_snapshot_restores(caller: Caller, region: str, p: Params) -> Result:
    """Those that the caller enabled; disabled ones stay in the list."""
    state = backend(caller.account, region)
    p.refuse_dry_run()
    tests = compile_filters(p.filters(), FIELDS, lambda r: {})
    with LOCK:
        seen = list(restores_of(state).values())
        for test in tests:
            seen = [r for r in seen if test(r)]
        shown, token = page(p, seen, [], "", least=0, most=200)
        rows = [r.view() for r in shown]
    return answer("DescribeFastSnapshotRestores", {"fastSnapshotRestoreSet": rows, "nextToken": token})


ACTIONS = {
    "DescribeFastSnapshotRestores": describe_fast_snapshot_restores,
    "DisableFastSnapshotRestores": disable_fast_snapshot_restores,
    "EnableFastSnapshotRestores": enable_fast_snapshot_restores,
}
