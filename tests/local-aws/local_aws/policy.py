"""Policies: who may do what. Not IAM's whole language, but what trust, key and role policies use here."""

from __future__ import annotations

import fnmatch
import functools
import json
import re
from typing import Any

from .organizations import organization_of
from .world import Caller, parse_time

Context = dict[str, Any]  # a key's value, or the list of its values
Statement = dict[str, Any]
POSITIVE = {"StringEquals", "StringLike", "StringEqualsIgnoreCase", "ArnEquals", "ArnLike", "Bool", "Null"}


def many(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def principal(caller: Caller) -> Context:
    """What is known of whoever asks."""
    organization = organization_of(caller.account)
    return {
        "aws:PrincipalArn": caller.role_arn or caller.arn,
        "aws:PrincipalAccount": caller.account,
        **({"aws:PrincipalOrgID": organization} if organization else {}),
        **({"ec2:SourceInstanceARN": caller.instance} if caller.instance else {}),
    }


def allows(policy: str | dict[str, Any], caller: Caller, action: str, context: dict[str, str]) -> bool:
    """Whether the resource policy `policy` lets `caller` do `action`. An explicit Deny wins."""
    try:
        document = json.loads(policy) if isinstance(policy, str) else policy
    except ValueError:
        return False
    context = {**principal(caller), **context}
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


def permits(documents: list[Any], action: str, resource: str, context: Context) -> bool:
    """Whether identity policies let their holder do `action` to `resource`. An explicit Deny wins."""
    allowed = False
    for document in documents:
        whole = json.loads(document) if isinstance(document, str) else document
        for statement in many(whole.get("Statement")):
            if not fits(statement, action, resource, context):
                continue
            if statement.get("Effect") == "Deny":
                return False
            allowed = allowed or statement.get("Effect") == "Allow"
    return allowed


def fits(statement: Statement, action: str, resource: str, context: Context) -> bool:
    """Whether a statement of an identity policy is about doing `action` to `resource`."""
    return (
        names(statement, "Action", action, context)
        and names(statement, "Resource", resource, context)
        and conditions_hold(statement.get("Condition") or {}, context)
    )


def names(statement: Statement, element: str, value: str, context: Context) -> bool:
    """`Action`, `NotAction`, `Resource` or `NotResource` of a statement."""
    flags = re.IGNORECASE if element == "Action" else 0
    if f"Not{element}" in statement:
        wanted = many(statement[f"Not{element}"])
        return not any(re.fullmatch(pattern(str(w), context), value, flags) for w in wanted)
    wanted = many(statement.get(element))
    return any(re.fullmatch(pattern(str(w), context), value, flags) for w in wanted)


def pattern(text: str, context: Context) -> str:
    """`*` and `?` match anything; `${*}` is an asterisk, `${aws:PrincipalAccount}` a value of the context."""
    return translated(text, context) if "${" in text else constant(text)


@functools.cache
def constant(text: str) -> str:
    return translated(text, {})


def translated(text: str, context: Context) -> str:
    known = {k.lower(): v for k, v in context.items()}
    result = ""
    for part in re.findall(r"\$\{[^}]*\}|.", text, re.DOTALL):
        if part.startswith("${"):
            name = part[2:-1]
            value = name if name in ("*", "?", "$") else known.get(name.lower(), part)
            result += re.escape(str(value))
        else:
            result += ".*" if part == "*" else "." if part == "?" else re.escape(part)
    return f"(?s:{result})"


def is_principal(principal: Any, caller: Caller) -> bool:
    """`*`, an account (id or root ARN: everybody in it), a user, a role or a session of it."""
    named = many(principal.get("AWS")) if isinstance(principal, dict) else many(principal)
    mine = {caller.account, caller.arn, caller.role_arn}
    for each in named:
        root = re.fullmatch(r"arn:aws[\w-]*:iam::(\d{12}):root", str(each))
        if each == "*" or each in mine or (root and root.group(1) == caller.account):
            return True
    return False


def conditions_hold(conditions: dict[str, Any], context: Context) -> bool:
    """Every operator and key must hold; an operator that is not known here never does."""
    known = {k.lower(): v for k, v in context.items()}
    for operator, keys in conditions.items():
        plain = operator.removeprefix("ForAnyValue:").removeprefix("ForAllValues:")
        if_exists = plain.endswith("IfExists")
        plain = plain.removesuffix("IfExists")
        for key, wanted in keys.items():
            value = known.get(key.lower())
            texts = [str(w).lower() if isinstance(w, bool) else expanded(str(w), known) for w in many(wanted)]
            if isinstance(value, list) or operator.startswith("ForA"):
                found = [holds(plain, v, texts, if_exists) for v in many(value)]
                held = all(found) if operator.startswith("ForAllValues:") else any(found)
                if plain == "Null":
                    held = holds(plain, value or None, texts, if_exists)
            else:
                held = holds(plain, value, texts, if_exists)
            if not held:
                return False
    return True


def expanded(text: str, known: Context) -> str:
    """With values of the context for `${aws:…}`."""
    return re.sub(r"\$\{(\w+:[^}]*)\}", lambda m: str(known.get(m.group(1).lower(), m.group())), text)


def holds(operator: str, value: Any, wanted: list[str], if_exists: bool) -> bool:
    if operator == "Null":
        return (value is None) == (wanted[:1] == ["true"])
    negated = operator.startswith(("StringNot", "ArnNot", "NumericNot", "DateNot"))
    if value is None:
        return if_exists or negated
    operator = operator.replace("Not", "", 1) if negated else operator
    if operator.startswith(("Numeric", "Date")):
        return any(compares(operator, str(value), w) for w in wanted) != negated
    value = str(value)
    if operator not in POSITIVE:
        return False
    if operator in ("StringLike", "ArnLike", "ArnEquals"):
        found = any(fnmatch.fnmatchcase(value, w) for w in wanted)
    elif operator in ("StringEqualsIgnoreCase", "Bool"):
        found = value.lower() in {w.lower() for w in wanted}
    else:
        found = value in wanted
    return found != negated


def compares(operator: str, value: str, wanted: str) -> bool:
    read: Any = float if operator.startswith("Numeric") else parse_time
    try:
        left, right = read(value), read(wanted)
    except ValueError:
        return False
    return {
        "Equals": left == right,
        "LessThan": left < right,
        "LessThanEquals": left <= right,
        "GreaterThan": left > right,
        "GreaterThanEquals": left >= right,
    }.get(operator.removeprefix("Numeric").removeprefix("Date"), False)
