"""The EC2 Query protocol: parameters in, XML out.

EC2's busy calls are answered from here and not by moto's generic serializer: that one takes about a
millisecond for every snapshot of an answer, this one about twenty microseconds.
"""

from __future__ import annotations

import datetime as dt
from typing import Any
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from .errors import AwsError, request_id
from .world import parse_time

NAMESPACE = "http://ec2.amazonaws.com/doc/2016-11-15/"


class Params:
    """`Filter.1.Name=…&Filter.1.Value.1=…` as nested dictionaries."""

    def __init__(self, flat: dict[str, str]):
        self.flat = flat
        self.tree: dict[str, Any] = {}
        for key, value in flat.items():
            node = self.tree
            *path, last = key.split(".")
            for part in path:
                child = node.setdefault(part, {})
                if not isinstance(child, dict):
                    child = node[part] = {}
                node = child
            node[last] = value

    @classmethod
    def parse(cls, body: bytes) -> Params:
        return cls(dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)))

    def get(self, name: str, default: str | None = None) -> str | None:
        value = self.flat.get(name)
        return value if value not in (None, "") else default

    def need(self, name: str) -> str:
        value = self.get(name)
        if value is None:
            raise AwsError("MissingParameter", f"The request must contain the parameter {name}")
        return value

    def flag(self, name: str) -> bool:
        return (self.get(name) or "").lower() == "true"

    def number(self, name: str) -> int | None:
        value = self.get(name)
        if value is None:
            return None
        try:
            return int(value)
        except ValueError:
            raise AwsError(
                "InvalidParameterValue", f"Value ({value}) for parameter {name} is invalid."
            ) from None

    def time(self, name: str) -> dt.datetime | None:
        value = self.get(name)
        try:
            return None if value is None else parse_time(value)
        except ValueError:
            raise AwsError(
                "InvalidParameterValue", f"Value ({value}) for parameter {name} is invalid."
            ) from None

    def items(self, name: str, node: dict[str, Any] | None = None) -> list[Any]:
        """The list `name`: strings, or dictionaries for a list of structures."""
        found = (self.tree if node is None else node).get(name)
        if not isinstance(found, dict):
            return [] if found is None else [found]
        numbered = sorted((int(k), v) for k, v in found.items() if k.isdigit())
        return [v for _, v in numbered]

    def structure(self, name: str) -> dict[str, Any]:
        found = self.tree.get(name)
        return found if isinstance(found, dict) else {}

    def filters(self) -> list[tuple[str, list[str]]]:
        result = []
        for entry in self.items("Filter"):
            if not isinstance(entry, dict) or "Name" not in entry:
                raise AwsError("InvalidParameterValue", "The filter 'null' is invalid.")
            result.append((entry["Name"], self.items("Value", entry)))
        return result

    def tags(self, name: str = "Tag", node: dict[str, Any] | None = None) -> list[tuple[str, str | None]]:
        pairs = [t for t in self.items(name, node) if isinstance(t, dict) and "Key" in t]
        return [(t["Key"], t.get("Value")) for t in pairs]

    def tag_specification(self, resource_type: str) -> dict[str, str]:
        result: dict[str, str] = {}
        for spec in self.items("TagSpecification"):
            kind = spec.get("ResourceType")
            if kind != resource_type:
                raise AwsError(
                    "InvalidParameterValue",
                    f"'{kind}' is not a valid taggable resource type for this operation.",
                )
            for key, value in self.tags("Tag", spec):
                if key in result:
                    raise AwsError("InvalidParameterValue", f"Duplicate tag key '{key}' specified.")
                result[key] = value or ""
        check_tags(result)
        return result

    def refuse_dry_run(self) -> None:
        if self.flag("DryRun"):
            raise AwsError("DryRunOperation", "Request would have succeeded, but DryRun flag is set.")


def check_tags(tags: dict[str, str]) -> None:
    for key, value in tags.items():
        if key.lower().startswith("aws:"):
            raise AwsError(
                "InvalidParameterValue",
                "Value ( aws: ) for parameter key is invalid. Tag keys "
                "starting with 'aws:' are reserved for internal use",
            )
        if not 1 <= len(key) <= 128:
            raise AwsError(
                "InvalidParameterValue", f"Tag key exceeds the maximum length of 128 characters: {key}"
            )
        if len(value) > 256:
            raise AwsError(
                "InvalidParameterValue", f"Tag value exceeds the maximum length of 256 characters: {value}"
            )
    if len(tags) > 50:
        raise AwsError("TagLimitExceeded", "The maximum number of Tags for a resource has been reached.")


def timestamp(value: dt.datetime) -> str:
    if value.tzinfo is not None:
        value = value.astimezone(dt.timezone.utc)
    return value.strftime("%Y-%m-%dT%H:%M:%S.") + f"{value.microsecond // 1000:03d}Z"


def element(name: str, value: Any) -> str:
    """XML of one member; None is left out, a list becomes `<item>`s."""
    if value is None:
        return ""
    if isinstance(value, str):
        text = escape(value)
    elif isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, dict):
        text = "".join([element(k, v) for k, v in value.items()])
    elif isinstance(value, (list, tuple)):
        text = "".join([element("item", v) for v in value])
    elif isinstance(value, dt.datetime):
        text = timestamp(value)
    else:
        text = escape(str(value))
    return f"<{name}>{text}</{name}>"


def tag_set(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"key": k, "value": v} for k, v in sorted(tags.items())]


def answer(action: str, members: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
    rid = request_id()
    inner = "".join([element(k, v) for k, v in members.items()])
    body = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<{action}Response xmlns="{NAMESPACE}">'
        f"<requestId>{rid}</requestId>{inner}</{action}Response>"
    )
    return 200, {"content-type": "text/xml;charset=UTF-8", "x-amzn-requestid": rid}, body.encode()
