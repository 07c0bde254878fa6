"""Command documents: those of an account (moto's CreateDocument), shared ones, and some of AWS's own."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from moto.ssm import ssm_backends

from .errors import AwsError
from .world import partition

ARN = re.compile(r"arn:aws[\w-]*:ssm:([\w-]+):(\d{12})?:document/(.+)")
UUID = "[a-fA-F0-9]{8}(-[a-fA-F0-9]{4}){3}-[a-fA-F0-9]{12}"
EXECUTION_TIMEOUT = 3600  # of a step that says nothing of it
FLAG = {"type": "String", "default": "False", "allowedValues": ["True", "False"]}
TEXT = {"type": "String", "default": ""}
SCRIPT = {
    "executionId": {"type": "String", "default": "None", "allowedPattern": f"^(None|{UUID})$"},
    "command": {
        "type": "String",
        "default": "dry-run",
        "allowedValues": ["pre-script", "post-script", "dry-run"],
    },
}
TIMEOUT = {
    "executionTimeout": {
        "type": "String",
        "default": "3600",
        "allowedPattern": "([1-9][0-9]{0,4})|(1[0-6][0-9]{4})|(17[0-1][0-9]{3})|(172[0-7][0-9]{2})|(172800)",
    }
}
VSS = {
    "ExcludeBootVolume": FLAG,
    "NoWriters": FLAG,
    "CopyOnly": FLAG,
    "CreateAmi": FLAG,
    "CollectDiagnosticLogs": FLAG,
    "SaveVssMetadata": FLAG,
    "AmiName": TEXT,
    "description": TEXT,
    "tags": {"type": "String", "default": "Key=Name,Value="},
    "executionTimeout": {"type": "String", "default": "1800", "allowedPattern": "[0-9]{1,6}"},
}
CREATE_VSS, INSTALL_VSS = "AWSEC2-CreateVssSnapshot", "AWSEC2-VssInstallAndSnapshot"
CONFIGURE = "AWS-ConfigureAWSPackage"


@dataclass
class Document:
    name: str
    arn: str
    parameters: dict[str, dict[str, Any]]
    steps: list[dict[str, Any]]
    version: str = "1"
    platforms: tuple[str, ...] = ("Linux", "Windows")
    tags: dict[str, str] = field(default_factory=dict)
    hash: str | None = None

    def steps_on(self, platform: str) -> list[dict[str, Any]]:
        """Those whose precondition, if there is one, is this platform."""
        asked = [(step, step.get("precondition", {}).get("StringEquals")) for step in self.steps]
        return [step for step, values in asked if values is None or platform in values]

    def timeout(self, values: dict[str, list[str]]) -> float:
        """Seconds for a command's execution."""
        for step in self.steps:
            text = str(step.get("inputs", {}).get("timeoutSeconds", EXECUTION_TIMEOUT))
            named = re.fullmatch(r"\{\{\s*(\w+)\s*\}\}", text)
            text = values.get(named[1], [""])[0] if named else text
            if text.isdigit():
                return float(text)
        return EXECUTION_TIMEOUT


def built_in(name: str, platforms: tuple[str, ...], parameters: dict[str, Any], *steps: str) -> Document:
    inputs = {"timeoutSeconds": "{{ executionTimeout }}"} if "executionTimeout" in parameters else {}
    return Document(name, "", parameters, [{"name": s, "inputs": inputs} for s in steps], platforms=platforms)


BUILT_IN = {
    each.name: each
    for each in (
        built_in(CREATE_VSS, ("Windows",), VSS, "runPowerShellScript"),
        built_in(
            INSTALL_VSS, ("Windows",), {**VSS, "VssVersion": TEXT}, "InstallVssPackage", "CreateVssSnapshot"
        ),
        built_in("AWSSystemsManagerSAP-CreateDLMSnapshotForSAPHANA", ("Linux",), SCRIPT, "RunPrePostScript"),
        built_in(
            CONFIGURE,
            ("Linux", "Windows"),
            {
                "action": {"type": "String", "allowedValues": ["Install", "Uninstall"]},
                "installationType": {
                    "type": "String",
                    "default": "Uninstall and reinstall",
                    "allowedValues": ["Uninstall and reinstall", "In-place update"],
                },
                "name": {"type": "String", "allowedPattern": r"^[a-zA-Z][a-zA-Z0-9\-_]{0,39}$"},
                "version": TEXT,
                "additionalArguments": {"type": "StringMap", "default": "{}"},
            },
            "configurePackage",
        ),
        built_in(
            "AWS-RunShellScript",
            ("Linux",),
            {"commands": {"type": "StringList"}, "workingDirectory": TEXT, **TIMEOUT},
            "aws:runShellScript",
        ),
    )
}


def find(account: str, region: str, name: str, version: str | None = None) -> Document:
    """The document that `account` means by a name or an ARN."""
    missing = AwsError("InvalidDocument", f"Document with name {name} does not exist.")
    match = ARN.fullmatch(name)
    where, owner, plain = match.groups() if match else (region, None, name)
    arn = arn_of(account, region, name)
    if plain in BUILT_IN and owner is None and where == region:
        known = BUILT_IN[plain]
        return Document(plain, arn, known.parameters, known.steps, platforms=known.platforms)
    if where != region or (match and owner is None):
        raise missing
    held = ssm_backends[owner or account][region]
    found = held._documents.get(plain)
    if found is None or (owner not in (None, account) and not {account, "all"} & set(found.permissions)):
        raise missing
    wanted = None if version in (None, "", "$DEFAULT") else version
    chosen = found.find(wanted, strict=False)
    if chosen is None:
        raise AwsError("InvalidDocumentVersion", f"{plain} has no version {version}")
    if chosen.document_type not in (None, "Command"):
        raise AwsError("InvalidDocument", f"{plain} is a document of type {chosen.document_type}")
    content = chosen.content_json
    return Document(
        plain,
        arn,
        content.get("parameters") or {},
        content.get("mainSteps") or [],
        chosen.document_version,
        tags={t["Key"]: t["Value"] for t in held._get_documents_tags(plain)},
        hash=chosen.hash,
    )


def tags_of(account: str, region: str, name: str) -> dict[str, str]:
    """None where it does not exist: the call says so."""
    try:
        return find(account, region, name).tags
    except AwsError:
        return {}


def arn_of(account: str, region: str, name: str) -> str:
    """What IAM is asked for: documents of AWS have no account."""
    if ARN.fullmatch(name):
        return name
    owner = "" if name in BUILT_IN else account
    return f"arn:{partition(region)}:ssm:{region}:{owner}:document/{name}"


# ---- parameters -----------------------------------------------------------------------------------


def checked(document: Document, given: dict[str, list[str]]) -> dict[str, list[str]]:
    """The values of all parameters, defaults too; what is given has to be as the document asks for."""
    if unknown := sorted(set(given) - set(document.parameters)):
        raise invalid(f"{document.name} has no parameter {', '.join(unknown)}")
    values = {}
    for name, rule in document.parameters.items():
        if name not in given:
            if "default" not in rule:
                raise invalid(f"{document.name} needs the parameter {name}")
            default = rule["default"]
            values[name] = [str(each) for each in (default if isinstance(default, list) else [default])]
            continue
        values[name] = given[name]
        if rule.get("type", "String") == "String" and len(given[name]) != 1:
            raise invalid(f"{document.name}: parameter {name} takes one value, not {len(given[name])}")
        for value in given[name]:
            check(document.name, name, rule, value)
    return values


def check(document: str, name: str, rule: dict[str, Any], value: Any) -> None:
    if not isinstance(value, str):
        raise invalid(f"{document}: parameter {name} is no string: {value!r}")
    allowed, pattern = rule.get("allowedValues"), rule.get("allowedPattern")
    if allowed and value not in [str(a) for a in allowed]:
        raise invalid(f"{document}: parameter {name} is {value!r}, but has to be one of {allowed}")
    if pattern and not re.fullmatch(pattern, value):
        raise invalid(f"{document}: parameter {name} is {value!r}, which does not match {pattern}")
    if not int(rule.get("minChars", 0)) <= len(value) <= int(rule.get("maxChars", 1 << 16)):
        raise invalid(f"{document}: parameter {name} has {len(value)} characters")


def invalid(message: str) -> AwsError:
    return AwsError("InvalidParameters", message)
