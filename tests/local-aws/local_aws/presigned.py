"""`PresignedUrl` of CopySnapshot: the same call once more, to the Region of the source, signed in its query."""

from __future__ import annotations

import datetime as dt
import hmac
from hashlib import sha256
from urllib.parse import SplitResult, parse_qsl, urlsplit

from .errors import AwsError
from .query import Params
from .world import KNOBS, WORLD, Caller, caller_of, now

MISSING = "PresignedUrl is missing"
INVALID = "PresignedUrl is invalid"
SIGNERS = "X-Amz-"


class Invalid(Exception):
    """What is wrong with it."""


def fault(caller: Caller, region: str, p: Params, encrypted: bool) -> str | None:
    """How the copy will end, if not well; `encrypted`: the source."""
    url = p.get("PresignedUrl")
    if url is None:
        return MISSING if encrypted and KNOBS["presigned_url"] == "required" else None
    try:
        check(caller, region, p, urlsplit(url))
    except (Invalid, AwsError, KeyError, ValueError) as error:
        return f"{INVALID}: {error}"
    return None


def check(caller: Caller, region: str, p: Params, url: SplitResult) -> None:
    query = dict(parse_qsl(url.query, keep_blank_values=True))
    wanted = {**p.flat, "Action": "CopySnapshot", "DestinationRegion": region}
    for name in ("Action", "SourceRegion", "SourceSnapshotId", "DestinationRegion"):
        agree(name, query.get(name), wanted[name])
    agree("DestinationRegion of the request", p.get("DestinationRegion", region), region)
    for name in query:
        if not name.startswith(SIGNERS):
            agree(name, query[name], wanted.get(name))

    key, date, signed_region, service, terminator = query["X-Amz-Credential"].split("/")
    agree("Region of the signature", signed_region, p.need("SourceRegion"))
    agree("service of the signature", f"{service}/{terminator}", "ec2/aws4_request")
    agree("account", caller_of(key).account, caller.account)
    signed = dt.datetime.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.timezone.utc)
    agree("day of the signature", date, f"{signed:%Y%m%d}")
    if not signed - dt.timedelta(minutes=15) <= now() < signed + dt.timedelta(
        seconds=int(query["X-Amz-Expires"])
    ):
        raise Invalid("it has expired or is not valid yet")
    agree("algorithm", query["X-Amz-Algorithm"], "AWS4-HMAC-SHA256")
    agree("signed headers", query["X-Amz-SignedHeaders"], "host")
    session = WORLD.sessions.get(key)
    if session:  # of all others we do not know the secret
        agree("session token", query.get("X-Amz-Security-Token"), session.token)
        right = signature(session.secret, date, signed_region, query["X-Amz-Date"], url)
        agree("signature", query["X-Amz-Signature"], right)


def agree(what: str, found: str | None, wanted: str | None) -> None:
    if found != wanted:
        raise Invalid(f"{what} is {found!r}, not {wanted!r}")


def signature(secret: str, date: str, region: str, time: str, url: SplitResult) -> str:
    members = [m for m in url.query.split("&") if not m.startswith("X-Amz-Signature=")]
    host = url.netloc.removesuffix({"http": ":80", "https": ":443"}.get(url.scheme, ""))
    request = "\n".join(
        ["GET", url.path, "&".join(sorted(members)), f"host:{host}", "", "host", sha256(b"").hexdigest()]
    )
    scope = f"{date}/{region}/ec2/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", time, scope, sha256(request.encode()).hexdigest()])
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, text.encode(), "sha256").hex()
