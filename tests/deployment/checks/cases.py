"""Values for the parameters of the templates: each is checked with the least and with the most that can be given."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import Any, Iterator

from .resolve import Resolver
from .templates import ACCOUNT, REGION, Template

# By the parameter's name: what has no default, or none that turns things on.
EXAMPLES: dict[str, str] = {
    "AlarmTopicArn": f"arn:aws:sns:{REGION}:{ACCOUNT}:alarms",
    "BackupCommandDocuments": f"arn:aws:ssm:{REGION}:{ACCOUNT}:document/freeze,arn:aws:ssm:{REGION}::document/AWS-Thaw",
    "BackupDefaults": f'{{"ResourceArns": ["arn:aws:ec2:{REGION}:{ACCOUNT}:volume/vol-0123456789abcdef0"]}}',
    "BackupSchedule": "cron(0 3 * * ? *)",
    "BackupVaultLockAfterDays": "3",
    "BackupVaultMinRetentionDays": "7",
    "CentralRoleArn": f"arn:aws:iam::{ACCOUNT}:role/snapferry-central",
    "DeleteLimit": "100",
    "EventBusArn": f"arn:aws:events:eu-west-1:{ACCOUNT}:event-bus/default",
    "ExternalId": "an-external-id",
    "FleetConcurrency": "10",
    "ForwardingRoleArn": f"arn:aws:iam::{ACCOUNT}:role/snapferry-forwarding",
    "MemberExternalId": "an-external-id",
    "MemberOrganizationalUnits": "ou-ab12-cd34ef56",
    "OrganizationId": "o-1234567890",
    "PolicyKeyArn": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/11111111-2222-3333-4444-555555555555",
    "ScriptDocumentArns": f"arn:aws:ssm:*::document/AWS-A,arn:aws:ssm:*:{ACCOUNT}:document/freeze",
    "SourceAccounts": "333333333333,444444444444",
    "TargetRegions": "eu-west-1,eu-north-1",
    "VaultAccounts": "222222222222",
    "VaultRoleArn": "arn:aws:iam::222222222222:role/snapferry-vault",
    "VssComponentsTag": "snapferry:vss",
}
# Whose default the template's own rules refuse.
REQUIRED = ("SourceAccounts",)
# Each of their values is a case of its own.
PARTS = ("Role",)


@dataclass(frozen=True)
class Case:
    """A template with values for its parameters, resolved."""

    template: Template
    name: str
    parameters: dict[str, Any]
    transformed: dict[str, Any]
    resolved: dict[str, Any]


class NoValue(Exception):
    """A parameter needs an example."""


def cases(template: Template) -> Iterator[Case]:
    parameters = template.data.get("Parameters", {})
    parts = [[(name, it) for it in parameters[name]["AllowedValues"]] for name in PARTS if name in parameters]
    for part in itertools.product(*parts):
        for name, value in (("least", _least), ("most", _most)):
            given = {key: value(template, key, it) for key, it in parameters.items()} | dict(part)
            for key, it in parameters.items():
                _must_be_allowed(template, key, it, given[key])
            text = {key: str(it) for key, it in given.items()}
            transformed = template.transformed(text)
            lists = {key: it.split(",") if _is_list(parameters[key]) else it for key, it in text.items()}
            resolved = Resolver(transformed, lists).template()
            label = ", ".join([*(f"{key}={it}" for key, it in part), name])
            yield Case(template, label, text, transformed, resolved)


def _is_list(parameter: dict[str, Any]) -> bool:
    return parameter["Type"] == "CommaDelimitedList" or parameter["Type"].startswith("List<")


def _least(template: Template, name: str, parameter: dict[str, Any]) -> Any:
    if name in REQUIRED:
        return EXAMPLES[name]
    return parameter["Default"] if "Default" in parameter else _example(template, name)


def _most(template: Template, name: str, parameter: dict[str, Any]) -> Any:
    if name in EXAMPLES:
        return EXAMPLES[name]
    others = [it for it in parameter.get("AllowedValues", []) if it != parameter.get("Default")]
    return others[-1] if others else _least(template, name, parameter)


def _example(template: Template, name: str) -> str:
    if name not in EXAMPLES:
        raise NoValue(
            f"{template.name}: no example for the parameter {name}: add one to EXAMPLES in {__file__}"
        )
    return EXAMPLES[name]


def _must_be_allowed(template: Template, name: str, parameter: dict[str, Any], value: Any) -> None:
    allowed = parameter.get("AllowedValues")
    pattern = parameter.get("AllowedPattern")
    items = str(value).split(",") if _is_list(parameter) else [str(value)]
    if allowed and str(value) not in map(str, allowed):
        raise NoValue(f"{template.name}: {name} is {value}, but allowed are {allowed}")
    if pattern and not all(re.search(pattern, it) for it in items):
        raise NoValue(f"{template.name}: {name} is {value}, which does not match {pattern}")
