"""Organizations, as policies ask for them: which one an account belongs to, and the ARN of a root or unit."""

from __future__ import annotations

from typing import Any

from moto.organizations.models import organizations_backends


def backend_of(account: str) -> Any:
    """moto's organization of this management account or member; None where there is none."""
    master, part = organizations_backends.master_accounts.get(account, (account, "aws"))
    found = organizations_backends[master].get(part) if master in organizations_backends else None
    return found if found is not None and found.org else None


def organization_of(account: str) -> str | None:
    found = backend_of(account)
    return found.org.id if found else None


def parent_arn(account: str, parent: str) -> str | None:
    """The ARN of the root or organizational unit with this id."""
    found = backend_of(account)
    return next((unit.arn for unit in found.ou if unit.id == parent), None) if found else None
