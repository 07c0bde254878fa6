"""Systems Manager's managed instances: those with an agent. And what its calls share."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from . import agents
from .agents import PLATFORMS, Agent
from .errors import AwsError
from .world import LOCK, Caller, backend

Params = dict[str, Any]
INSTANCE = re.compile(r"i-([0-9a-f]{8}|[0-9a-f]{17})")
AGENT_VERSION = "3.3.2299.0"


def bad(name: str, value: Any, constraint: str) -> AwsError:
    return AwsError(
        "ValidationException",
        f"1 validation error detected: Value '{value}' at '{name}' failed to satisfy constraint: Member must "
        f"{constraint}",
    )


def within(name: str, value: int, least: int, most: int) -> int:
    if value < least:
        raise bad(name, value, f"have value greater than or equal to {least}")
    if value > most:
        raise bad(name, value, f"have value less than or equal to {most}")
    return value


def page(
    p: Params, rows: list[tuple[str, Any]], least: int, default: int | None = None
) -> tuple[list[Any], str | None]:
    """The page of `rows`, each after its id, that the call asks for, and the token of the next."""
    size = p.get("MaxResults")
    size = within("maxResults", int(size), least, 50) if size is not None else default or 50
    if token := p.get("NextToken"):
        ids = [name.encode().hex() for name, _ in rows]
        if token not in ids:
            raise AwsError("InvalidNextToken", "The specified token is not valid.")
        rows = rows[ids.index(token) + 1 :]
    shown = rows[:size]
    more = shown[-1][0].encode().hex() if len(rows) > len(shown) else None
    return [row for _, row in shown], more


def tags_of(agent: Agent) -> dict[str, str]:
    return backend(agent.account, agent.region).tags.get(agent.instance) or {}


FILTERS: dict[str, Callable[[Agent], str]] = {
    "AgentVersion": lambda agent: AGENT_VERSION,
    "InstanceIds": lambda agent: agent.instance,
    "PingStatus": lambda agent: agent.ping,
    "PlatformTypes": lambda agent: agent.platform,
    "ResourceType": lambda agent: "EC2Instance",
    "SourceIds": lambda agent: agent.instance,
    "SourceTypes": lambda agent: "AWS::EC2::Instance",
}


def fits(agent: Agent, key: str, values: list[str]) -> bool:
    if key == "tag-key":
        return bool(set(values) & set(tags_of(agent)))
    if key.startswith("tag:"):
        return tags_of(agent).get(key[4:]) in values
    return FILTERS[key](agent) in values


def describe_instance_information(caller: Caller, region: str, p: Params) -> Params:
    filters, legacy = p.get("Filters") or [], p.get("InstanceInformationFilterList") or []
    if filters and legacy:
        raise AwsError("ValidationException", "Filters cannot be used with InstanceInformationFilterList.")
    wanted = [(f["Key"], f["Values"]) for f in filters] + [(f["key"], f["valueSet"]) for f in legacy]
    with LOCK:
        check_filters(caller, region, wanted)
        found = [a for a in agents.agents_of(caller.account, region) if a.state == "running"]
        rows = [(a.instance, information(a)) for a in found if all(fits(a, *each) for each in wanted)]
    shown, more = page(p, rows, least=5, default=10)
    return {"InstanceInformationList": shown, "NextToken": more}


def check_filters(caller: Caller, region: str, wanted: list[tuple[str, list[str]]]) -> None:
    if len({key.startswith("tag") for key, _ in wanted}) > 1:
        raise AwsError("ValidationException", "Filters on tags cannot be used with others.")
    for key, values in wanted:
        if key not in FILTERS and key != "tag-key" and not key.startswith("tag:"):
            raise AwsError("InvalidFilterKey", f"The specified key is not valid: {key}")
        if not 1 <= len(values) <= 100:
            raise bad("filters", key, "have between 1 and 100 values")
        if key == "InstanceIds":
            if wrong := [v for v in values if not INSTANCE.fullmatch(v)]:
                raise AwsError("InvalidInstanceInformationFilterValue", f"No id of an instance: {wrong[0]}")
            mine = {i.id for i in backend(caller.account, region).all_instances()}
            if wrong := [v for v in values if v not in mine]:
                raise AwsError("InvalidInstanceId", f"There is no such instance in this account: {wrong[0]}")


def information(agent: Agent) -> Params:
    return {
        "InstanceId": agent.instance,
        "PingStatus": agent.ping,
        "AgentVersion": AGENT_VERSION,
        "IsLatestVersion": True,
        "PlatformType": agent.platform,
        **PLATFORMS[agent.platform],
        "ResourceType": "EC2Instance",
        "SourceId": agent.instance,
        "SourceType": "AWS::EC2::Instance",
    }
