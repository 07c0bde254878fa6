"""AWS Organizations: accounts by where they are, and what policies ask about them. moto makes accounts and units with
ids of its own; tests can say here which there are instead.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from moto.organizations import responses as organizations_r
from moto.organizations.models import organizations_backends

from .errors import AwsError

PAGE = 20  # what AWS gives at most


@dataclass
class Unit:
    accounts: list[str] = field(default_factory=list)
    suspended: list[str] = field(default_factory=list)
    units: list[str] = field(default_factory=list)


@dataclass
class Organization:
    # The management account, or a delegated administrator: nobody else may look. Empty: moto's is asked.
    account: str = ""
    id: str = "o-0123456789"
    units: dict[str, Unit] = field(default_factory=dict)


ORGANIZATION = Organization()


def put(account: str, units: dict[str, dict[str, list[str]]]) -> None:
    ORGANIZATION.account = account
    ORGANIZATION.units = {name: Unit(**members) for name, members in units.items()}


def backend_of(account: str) -> Any:
    """moto's organization of this management account or member; None where there is none."""
    master, part = organizations_backends.master_accounts.get(account, (account, "aws"))
    found = organizations_backends[master].get(part) if master in organizations_backends else None
    return found if found is not None and found.org else None


def organization_of(account: str) -> str | None:
    units = ORGANIZATION.units.values()
    if account == ORGANIZATION.account or any(account in unit.accounts + unit.suspended for unit in units):
        return ORGANIZATION.id
    found = backend_of(account)
    return found.org.id if found else None


def parent_arn(account: str, parent: str) -> str | None:
    """The ARN of the root or organizational unit with this id."""
    if account == ORGANIZATION.account and parent in ORGANIZATION.units:
        kind = "root" if parent.startswith("r-") else "ou"
        return f"arn:aws:organizations::{account}:{kind}/{ORGANIZATION.id}/{parent}"
    found = backend_of(account)
    return next((unit.arn for unit in found.ou if unit.id == parent), None) if found else None


def forget() -> None:
    put("", {})


def parent(self: Any) -> Unit:
    if self.current_account != ORGANIZATION.account:
        raise AwsError("AccessDeniedException", "You don't have permissions to access this resource.")
    unit = ORGANIZATION.units.get(self._get_param("ParentId"))
    if unit is None:
        raise AwsError("ParentNotFoundException", "You specified parent that doesn't exist.")
    return unit


def page(self: Any, name: str, items: list[dict[str, str]]) -> str:
    """The token is where to go on."""
    token = self._get_param("NextToken") or "0"
    if not token.isdigit():
        raise AwsError("InvalidInputException", "You provided invalid values for one or more parameters.")
    size = self._get_int_param("MaxResults") or PAGE
    if not 1 <= size <= PAGE:
        raise AwsError("InvalidInputException", f"MaxResults: want 1 to {PAGE}, found {size}")
    end = int(token) + size
    answer: dict[str, Any] = {name: items[int(token) : end]}
    if end < len(items):
        answer["NextToken"] = str(end)
    return json.dumps(answer)


def accounts(self: Any) -> str:
    unit = parent(self)
    states = [(account, "ACTIVE") for account in unit.accounts]
    states += [(account, "SUSPENDED") for account in unit.suspended]
    found = [{"Id": account, "Name": account, "State": state} for account, state in states]
    return page(self, "Accounts", found)


def units(self: Any) -> str:
    return page(self, "OrganizationalUnits", [{"Id": unit, "Name": unit} for unit in parent(self).units])


def install() -> None:
    response = organizations_r.OrganizationsResponse
    for name, ours in (("list_accounts_for_parent", accounts), ("list_organizational_units_for_parent", units)):
        setattr(response, name, instead_of(getattr(response, name), ours))


def instead_of(motos: Callable[[Any], str], ours: Callable[[Any], str]) -> Callable[[Any], str]:
    return lambda self: (ours if ORGANIZATION.account else motos)(self)
