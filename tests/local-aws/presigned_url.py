"""What botocore sends as CopySnapshot, `PresignedUrl` included, for given credentials at a given time.

Reads a list of cases as JSON from standard input and writes one answer for each; nothing goes to a network:

    {"region", "endpoint_url", "use_fips", "use_dual_stack",                  where the copy is to be made
     "access_key_id", "secret_access_key", "session_token", "at",             by whom, and when (RFC 3339)
     "parameters": [["SourceRegion", "eu-central-1"], …]}                     of the call, in their order
    {"url": "https://…", "sent": [["Action", "CopySnapshot"], …]}             PresignedUrl, and all others
"""

from __future__ import annotations

import datetime as dt
import functools
import json
import sys
from typing import Any
from urllib.parse import parse_qsl

import botocore.auth
import botocore.session
from botocore.config import Config

SESSION = botocore.session.Session()


class Captured(Exception):
    """The request, instead of its answer."""


def capture(request: Any, **_: Any) -> None:
    raise Captured(request.body)


@functools.cache
def client(region: str, url: str | None, fips: bool, dual_stack: bool, *credentials: str | None) -> Any:
    key, secret, token = credentials
    made = SESSION.create_client(
        "ec2",
        region_name=region,
        endpoint_url=url,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        aws_session_token=token,
        config=Config(
            retries={"total_max_attempts": 1}, use_fips_endpoint=fips, use_dualstack_endpoint=dual_stack
        ),
    )
    made.meta.events.register("before-send.ec2.CopySnapshot", capture)
    return made


def answer(case: dict[str, Any]) -> dict[str, Any]:
    at = dt.datetime.fromisoformat(case["at"].replace("Z", "+00:00"))
    botocore.auth.get_current_datetime = lambda *_: at.replace(tzinfo=None)
    place = [case[name] for name in ("region", "endpoint_url", "use_fips", "use_dual_stack")]
    credentials = [case[name] for name in ("access_key_id", "secret_access_key", "session_token")]
    try:
        client(*place, *credentials).copy_snapshot(**dict(case["parameters"]))
    except Captured as captured:
        body = captured.args[0]
        text = body.decode() if isinstance(body, bytes) else body
        sent = parse_qsl(text, keep_blank_values=True)
        url = dict(sent)["PresignedUrl"]
        return {"url": url, "sent": [pair for pair in sent if pair[0] != "PresignedUrl"]}
    raise RuntimeError("nothing was sent")


if __name__ == "__main__":
    json.dump([answer(case) for case in json.load(sys.stdin)], sys.stdout)
