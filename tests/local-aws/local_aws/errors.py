"""AWS errors, and how each protocol writes them."""

from __future__ import annotations

import json
import uuid
from xml.sax.saxutils import escape

# What the EC2 API reference says of the HTTP status; everything else is a 400.
STATUS = {
    "AccessDenied": 403,
    "AccessDeniedException": 400,
    "AuthFailure": 401,
    "Blocked": 401,
    "DryRunOperation": 412,
    "InternalError": 500,
    "InternalFailure": 500,
    "InvalidClientTokenId": 403,
    "OptInRequired": 401,
    "RequestExpired": 400,
    "RequestLimitExceeded": 503,
    "ServiceUnavailable": 503,
    "SlowDown": 503,
    "Unavailable": 503,
    "UnauthorizedOperation": 403,
}

QUERY_XML = {"sts", "iam", "cloudformation", "sns", "autoscaling", "rds"}


class AwsError(Exception):
    """What a service answers instead of a result."""

    def __init__(self, code: str, message: str, status: int | None = None):
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status or STATUS.get(code, 400)


def request_id() -> str:
    return str(uuid.uuid4())


def render(service: str, protocol: str, error: AwsError) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of `error`, as a client of `service` expects them.

    `protocol` is what the request looked like: "query", "json" (X-Amz-Target), "rest" or "cbor".
    """
    rid = request_id()
    code, message = error.code, error.message
    headers = {"x-amzn-requestid": rid}
    if service == "ec2":
        headers["content-type"] = "text/xml;charset=UTF-8"
        body = (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<Response><Errors><Error><Code>{escape(code)}</Code>'
            f"<Message>{escape(message)}</Message></Error></Errors><RequestID>{rid}</RequestID></Response>"
        )
    elif service in QUERY_XML or protocol == "query":
        headers["content-type"] = "text/xml"
        kind = "Receiver" if error.status >= 500 else "Sender"
        body = (
            f"<ErrorResponse><Error><Type>{kind}</Type><Code>{escape(code)}</Code>"
            f"<Message>{escape(message)}</Message></Error><RequestId>{rid}</RequestId></ErrorResponse>"
        )
    else:
        headers["content-type"] = "application/json" if protocol == "rest" else "application/x-amz-json-1.1"
        headers["x-amzn-errortype"] = code
        body = json.dumps({"__type": code, "message": message, "Message": message})
    return error.status, headers, body.encode()
