"""Faults in HTTP itself: other requests, other answers, and what goes wrong while an answer is sent. See ../README.md."""

from __future__ import annotations

import dataclasses
import json
import random
import re
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qsl, urlencode

from .calls import Request, Response

# What a fault may say about the wire, and of which type it is.
KEYS: dict[str, tuple[type, ...]] = {
    "chance": (int, float),
    "seed": (int,),
    "ask": (dict,),
    "answer": (str,),
    "encoding": (str,),
    "rewrite": (list,),
    "headers": (dict,),
    "cut": (int, float, str),
    "framing": (str,),
    "reset": (bool,),
    "slow": (dict,),
    "endless": (dict,),
}
FRAMINGS = ("length", "chunked", "close")
PIECE = {"bytes": 1, "seconds": 0.2}


def wrong(fault: dict[str, Any]) -> str | None:
    """What is wrong with the members of a fault that are about the wire."""
    for key, types in KEYS.items():
        value = fault.get(key)
        if value is not None and not isinstance(value, types):
            return f"{key}: {' or '.join(t.__name__ for t in types)}"
    if fault.get("framing") not in (None, *FRAMINGS):
        return f"framing: {', '.join(FRAMINGS)}"
    for key, more in (("slow", {"from"}), ("endless", set())):
        if unknown := set(fault.get(key) or {}) - {*PIECE, *more}:
            return f"{key}: no such key: {', '.join(sorted(unknown))}"
    if (fault.get("slow") or {}).get("from") not in (None, "head", "body"):
        return "slow: from head or body"
    for pair in fault.get("rewrite") or []:
        if not (isinstance(pair, list) and len(pair) == 2):
            return "rewrite: pairs of a pattern and what it becomes"
        try:
            re.compile(pair[0])
        except re.error as error:
            return f"rewrite: {pair[0]!r}: {error}"
    return None


def is_hit(fault: dict[str, Any]) -> bool:
    """Whether chance has it; the same calls in the same order are hit each time."""
    if fault.get("chance") is None:
        return True
    fault["drawn"] = fault.get("drawn", 0) + 1
    return random.Random(f"{fault.get('seed', 0)}/{fault['drawn']}").random() < fault["chance"]


# ---- what is asked and answered -------------------------------------------------------------------


def asked(fault: dict[str, Any], request: Request) -> Request:
    """The request with other parameters; null takes one away."""
    changes: dict[str, Any] | None = fault.get("ask")
    if not changes:
        return request
    if request.headers.get("x-amz-target"):
        members = json.loads(request.body or b"{}")
        body = json.dumps(changed(members, changes)).encode()
    else:
        members = dict(parse_qsl(request.body.decode(), keep_blank_values=True))
        body = urlencode(changed(members, changes)).encode()
    return dataclasses.replace(request, body=body)


def changed(members: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in {**members, **changes}.items() if v is not None}


def answered(fault: dict[str, Any], response: Response) -> Response:
    """The answer as the fault has it."""
    if fault.get("answer") is not None:
        response.status, response.body = fault.get("status", 200), fault["answer"].encode()
        response.headers = {**response.headers, "content-type": "text/plain"}
    for pattern, replacement in fault.get("rewrite") or []:
        text = response.body.decode("utf-8", "replace")
        response.body = re.sub(pattern, lambda _, it=replacement: it, text, flags=re.DOTALL).encode()
    if fault.get("encoding"):
        response.body = response.body.decode("utf-8", "replace").encode(fault["encoding"], "replace")
    for name, value in (fault.get("headers") or {}).items():
        response.headers.pop(name.lower(), None)
        if value is not None:
            response.headers[name.lower()] = value
    response.wire = {k: fault[k] for k in ("cut", "framing", "reset", "slow", "endless") if fault.get(k)}
    return response


# ---- how it is sent -------------------------------------------------------------------------------


def pieces(head: bytes, response: Response, goes_on: Callable[[], bool]) -> Iterator[bytes]:
    """What is sent, piece by piece, with the waiting in between. `head`: without a length, and not ended."""
    wire: dict[str, Any] = response.wire or {}
    framing = wire.get("framing", "length")
    body = cut(response.body, wire.get("cut"))
    head += {
        "length": f"content-length: {len(response.body)}\r\n",
        "chunked": "transfer-encoding: chunked\r\n",
        "close": "connection: close\r\n",
    }[framing].encode() + b"\r\n"
    slow, endless = wire.get("slow"), wire.get("endless")
    if framing == "chunked":
        body = chunk(body)
        if not endless and wire.get("cut") is None:
            body += chunk(b"")
    if not slow:
        yield head + body
    elif slow.get("from") == "head":
        yield from crumbs(head + body, slow, goes_on)
    else:
        yield head
        yield from crumbs(body, slow, goes_on)
    while endless and goes_on():
        spaces = b" " * endless.get("bytes", PIECE["bytes"])
        yield chunk(spaces) if framing == "chunked" else spaces
        time.sleep(endless.get("seconds", PIECE["seconds"]))


def crumbs(data: bytes, how: dict[str, Any], goes_on: Callable[[], bool]) -> Iterator[bytes]:
    size = int(how.get("bytes", PIECE["bytes"]))
    for at in range(0, len(data), size):
        yield data[at : at + size]
        if not goes_on():
            return
        time.sleep(how.get("seconds", PIECE["seconds"]))


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def cut(body: bytes, where: float | str | None) -> bytes:
    """A share of the body; or as far as the first place where a pattern ends, else half."""
    if where is None:
        return body
    if isinstance(where, str):
        found = re.search(where.encode(), body, re.DOTALL)
        return body[: found.end()] if found else body[: len(body) // 2]
    return body[: int(len(body) * where)]
