"""STS: AssumeRole and GetCallerIdentity."""

from __future__ import annotations

import datetime as dt
import re
import secrets
from typing import Any

from .errors import AwsError, request_id
from .organizations import organization_of
from .policy import Context, allows
from .query import Params, element, timestamp
from .roles import ROLE_ARN, denial, find_role, may
from .world import LOCK, WORLD, Caller, Session, new_access_key, now

NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"


def answer(action: str, members: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
    rid = request_id()
    body = (
        f'<{action}Response xmlns="{NAMESPACE}">{element(f"{action}Result", members)}'
        f"<ResponseMetadata><RequestId>{rid}</RequestId></ResponseMetadata></{action}Response>"
    )
    return 200, {"content-type": "text/xml", "x-amzn-requestid": rid}, body.encode()


def owner(account: str) -> Context:
    """What is known of whose a role is."""
    organization = organization_of(account)
    return {"aws:ResourceAccount": account, **({"aws:ResourceOrgID": organization} if organization else {})}


def assume_role(caller: Caller, p: Params) -> tuple[int, dict[str, str], bytes]:
    arn, name = p.need("RoleArn"), p.need("RoleSessionName")
    if not re.fullmatch(r"[\w+=,.@-]{2,64}", name):
        raise AwsError(
            "ValidationError",
            f"1 validation error detected: Value '{name}' at 'roleSessionName' failed "
            r"to satisfy constraint: Member must satisfy regular expression pattern: "
            r"[\w+=,.@-]*",
        )
    seconds = p.number("DurationSeconds") or 3600
    context = {"sts:RoleSessionName": name}
    if p.get("ExternalId"):
        context["sts:ExternalId"] = p.need("ExternalId")
    with LOCK:
        role = find_role(arn)
        if role is None or not allows(role.assume_role_policy_document, caller, "sts:AssumeRole", context):
            raise AwsError(
                "AccessDenied",
                f"User: {caller.arn} is not authorized to perform: sts:AssumeRole on resource: {arn}",
            )
        account = ROLE_ARN.fullmatch(arn).group(2)
        if not may(caller, "sts:AssumeRole", arn, {**context, **owner(account)}):
            raise AwsError("AccessDenied", denial(caller, "sts:AssumeRole", arn))
        if not 900 <= seconds <= int(role.max_session_duration or 3600):
            raise AwsError(
                "ValidationError",
                "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
            )
        key = new_access_key()
        session = Session(
            account,
            arn,
            name,
            now() + dt.timedelta(seconds=seconds),
            secrets.token_urlsafe(30),
            secrets.token_urlsafe(120),
            caller.actor,
        )
        WORLD.sessions[key] = session
    return answer(
        "AssumeRole",
        {
            "AssumedRoleUser": {"AssumedRoleId": f"{role.id}:{name}", "Arn": session.arn},
            "Credentials": {
                "AccessKeyId": key,
                "SecretAccessKey": session.secret,
                "SessionToken": session.token,
                "Expiration": timestamp(session.expires),
            },
        },
    )


def get_caller_identity(caller: Caller, p: Params) -> tuple[int, dict[str, str], bytes]:
    return answer(
        "GetCallerIdentity", {"Arn": caller.arn, "UserId": caller.user_id, "Account": caller.account}
    )


ACTIONS = {"AssumeRole": assume_role, "GetCallerIdentity": get_caller_identity}
