"""Trust policies and key policies: who may do what. Not IAM's whole language, but what these two use."""

from __future__ import annotations

import fnmatch
import json
import re
from typing import Any

from .world import Caller

POSITIVE = {"StringEquals", "StringLike", "StringEqualsIgnoreCase", "ArnEquals", "ArnLike", "Bool", "Null"}


def many(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def allows(policy: str | dict[str, Any], caller: Caller, action: str, context: dict[str, str]) -> bool:
    """Whether the resource policy `policy` lets `caller` do `action`. An explicit Deny wins."""
    try:
        document = json.loads(policy) if isinstance(policy, str) else policy
    except ValueError:
        return False
    context = {
        "aws:PrincipalArn": caller.role_arn or caller.arn,
        "aws:PrincipalAccount": caller.account,
        **context,
    }
    allowed = False
    for statement in many(document.get("Statement")):
        actions = [a.lower() for a in many(statement.get("Action"))]
        if not any(fnmatch.fnmatchcase(action.lower(), a) for a in actions):
            continue
        if not is_principal(statement.get("Principal"), caller):
            continue
        if not conditions_hold(statement.get("Condition") or {}, context):
            continue
        if statement.get("Effect") == "Deny":
            return False
        allowed = allowed or statement.get("Effect") == "Allow"
    return allowed


def is_principal(principal: Any, caller: Caller) -> bool:
    """`*`, an account (id or root ARN: everybody in it), a user, a role or a session of it."""
    named = many(principal.get("AWS")) if isinstance(principal, dict) else many(principal)
    mine = {caller.account, caller.arn, caller.role_arn}
    for each in named:
        root = re.fullmatch(r"arn:aws[\w-]*:iam::(\d{12}):root", str(each))
        if each == "*" or each in mine or (root and root.group(1) == caller.account):
            return True
    return False


def conditions_hold(conditions: dict[str, Any], context: dict[str, str]) -> bool:
    """Every operator and key must hold; an operator that is not known here never does."""
    known = {k.lower(): v for k, v in context.items()}
    for operator, keys in conditions.items():
        plain = operator.removeprefix("ForAnyValue:").removeprefix("ForAllValues:")
        if_exists = plain.endswith("IfExists")
        plain = plain.removesuffix("IfExists")
        for key, wanted in keys.items():
            value = known.get(key.lower())
            if not holds(plain, value, [str(w) for w in many(wanted)], if_exists):
                return False
    return True


def holds(operator: str, value: str | None, wanted: list[str], if_exists: bool) -> bool:
    if operator == "Null":
        return (value is None) == (wanted[:1] == ["true"])
    negated = operator.startswith(("StringNot", "ArnNot"))
    if value is None:
        return if_exists or negated
    operator = operator.replace("Not", "", 1) if negated else operator
    if operator not in POSITIVE:
        return False
    if operator in ("StringLike", "ArnLike", "ArnEquals"):
        found = any(fnmatch.fnmatchcase(value, w) for w in wanted)
    elif operator in ("StringEqualsIgnoreCase", "Bool"):
        found = value.lower() in {w.lower() for w in wanted}
    else:
        found = value in wanted
    return found != negated
