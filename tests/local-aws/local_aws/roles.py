"""Roles: where they are, and what their own policies allow, where knob `identity_policies` is on."""

from __future__ import annotations

import re
from typing import Any

from moto.iam.models import iam_backends

from .policy import Context, permits, principal
from .proof import RECORD
from .world import KNOBS, Caller

ROLE_ARN = re.compile(r"arn:(aws[\w-]*):iam::(\d{12}):role/(.+)")


def find_role(arn: str) -> Any:
    match = ROLE_ARN.fullmatch(arn)
    if not match or match.group(2) not in iam_backends:
        return None
    roles = iam_backends[match.group(2)][match.group(1)].roles.values()
    return next((role for role in list(roles) if role.arn == arn), None)


def may(caller: Caller, action: str, resource: str, context: Context) -> bool:
    """Whether the caller's own policies let it. Root and users may do everything."""
    context = {**principal(caller), **context}
    RECORD.need(caller, action, resource, context)
    if not KNOBS["identity_policies"] or not caller.role_arn:
        return True
    role = find_role(caller.role_arn)
    documents = [*role.policies.values(), *map(current, role.managed_policies.values())] if role else []
    return permits(documents, action, resource, context)


def current(managed: Any) -> str:
    return next(v.document for v in managed.versions if v.version_id == managed.default_version_id)


def denial(caller: Caller, action: str, resource: str, kind: str = "identity") -> str:
    """As AWS says it; `kind` of policy: "identity" or "resource"."""
    return (
        f"User: {caller.arn} is not authorized to perform: {action} on resource: {resource} "
        f"because no {kind}-based policy allows the {action} action"
    )
