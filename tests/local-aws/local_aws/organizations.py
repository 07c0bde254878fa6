"""AWS Organizations, as far as accounts are looked up by where they are. moto makes accounts and units with ids of its own;
here tests say which there are."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from moto.organizations import responses as organizations_r

from .errors import AwsError

PAGE = 20  # what AWS gives at most


@dataclass
class Unit:
    accounts: list[str] = field(default_factory=list)
    suspended: list[str] = field(default_factory=list)
    units: list[str] = field(default_factory=list)


@dataclass
class Organization:
    # The management account, or a delegated administrator: nobody else may look.
    account: str = ""
    units: dict[str, Unit] = field(default_factory=dict)


ORGANIZATION = Organization()


def put(account: str, units: dict[str, dict[str, list[str]]]) -> None:
    ORGANIZATION.account = account
    ORGANIZATION.units = {name: Unit(**members) for name, members in units.items()}


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


def list_accounts_for_parent(self: Any) -> str:
    unit = parent(self)
    states = [(account, "ACTIVE") for account in unit.accounts]
    states += [(account, "SUSPENDED") for account in unit.suspended]
    accounts = [{"Id": account, "Name": account, "State": state} for account, state in states]
    return page(self, "Accounts", accounts)


def list_organizational_units_for_parent(self: Any) -> str:
    return page(self, "OrganizationalUnits", [{"Id": unit, "Name": unit} for unit in parent(self).units])


def install() -> None:
    response = organizations_r.OrganizationsResponse
    response.list_accounts_for_parent = list_accounts_for_parent
    response.list_organizational_units_for_parent = list_organizational_units_for_parent
