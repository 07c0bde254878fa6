"""Intrinsic functions, replaced by their values: linters of policies understand none."""

from __future__ import annotations

import re
from typing import Any

from .templates import ACCOUNT, REGION

PSEUDO: dict[str, Any] = {
    "AWS::AccountId": ACCOUNT,
    "AWS::NoValue": None,
    "AWS::NotificationARNs": [],
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::StackId": f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/snapferry/1",
    "AWS::StackName": "snapferry",
    "AWS::URLSuffix": "amazonaws.com",
}
# The ARN of a resource, after `arn:aws:`.
ARNS = {
    "AWS::Backup::BackupVault": f"backup:{REGION}:{ACCOUNT}:backup-vault:{{}}",
    "AWS::CloudFormation::StackSet": f"cloudformation:{REGION}:{ACCOUNT}:stackset/{{}}",
    "AWS::CloudWatch::Alarm": f"cloudwatch:{REGION}:{ACCOUNT}:alarm:{{}}",
    "AWS::Events::EventBus": f"events:{REGION}:{ACCOUNT}:event-bus/{{}}",
    "AWS::Events::Rule": f"events:{REGION}:{ACCOUNT}:rule/{{}}",
    "AWS::IAM::Role": f"iam::{ACCOUNT}:role/{{}}",
    "AWS::KMS::Key": f"kms:{REGION}:{ACCOUNT}:key/{{}}",
    "AWS::Lambda::Function": f"lambda:{REGION}:{ACCOUNT}:function:{{}}",
    "AWS::Logs::LogGroup": f"logs:{REGION}:{ACCOUNT}:log-group:{{}}:*",
    "AWS::S3::Bucket": "s3:::{}",
    "AWS::SNS::Topic": f"sns:{REGION}:{ACCOUNT}:{{}}",
    "AWS::SQS::Queue": f"sqs:{REGION}:{ACCOUNT}:{{}}",
    "AWS::SSM::Parameter": f"ssm:{REGION}:{ACCOUNT}:parameter/{{}}",
    "AWS::Scheduler::Schedule": f"scheduler:{REGION}:{ACCOUNT}:schedule/default/{{}}",
    "AWS::StepFunctions::StateMachine": f"states:{REGION}:{ACCOUNT}:stateMachine:{{}}",
}
REF_IS_ARN = ("AWS::SNS::Topic", "AWS::StepFunctions::StateMachine")
NOTHING = object()


class Unknown(Exception):
    """An intrinsic function that is more than is understood here."""


class Resolver:
    """Of one template, with values for all of its parameters."""

    def __init__(self, template: dict[str, Any], parameters: dict[str, Any]):
        self._template = template
        self._values = PSEUDO | parameters
        self._resources = template["Resources"]

    def template(self) -> dict[str, Any]:
        """Without parameters, conditions and resources whose condition does not hold."""
        there = {name: it for name, it in self._resources.items() if self._is_there(it)}
        resources = {name: self.value(it) for name, it in there.items()}
        for it in resources.values():
            it.pop("Condition", None)
        return {"AWSTemplateFormatVersion": "2010-09-09", "Resources": resources}

    def _is_there(self, resource: dict[str, Any]) -> bool:
        return "Condition" not in resource or self.condition(resource["Condition"])

    def value(self, it: Any) -> Any:
        """NOTHING for what `AWS::NoValue` leaves out."""
        if isinstance(it, dict):
            if len(it) == 1:
                name, argument = next(iter(it.items()))
                if name == "Ref" or name.startswith("Fn::"):
                    return self._function(name, argument)
            members = {key: self.value(member) for key, member in it.items()}
            return {key: member for key, member in members.items() if member is not NOTHING}
        if isinstance(it, list):
            return [item for item in map(self.value, it) if item is not NOTHING]
        return it

    def _function(self, name: str, argument: Any) -> Any:
        match name, argument:
            case "Ref", str():
                return self._ref(argument)
            case "Fn::GetAtt", [str(resource), str(attribute)]:
                return self._attribute(resource, attribute)
            case "Fn::GetAtt", str():
                return self._attribute(*argument.split(".", 1))
            case "Fn::Sub", str():
                return self._substitute(argument, {})
            case "Fn::Sub", [str(text), dict(variables)]:
                return self._substitute(text, variables)
            case "Fn::If", [str(condition), then, otherwise]:
                return self.value(then if self.condition(condition) else otherwise)
            case "Fn::Join", [str(between), items]:
                return between.join(map(str, self.value(items)))
            case "Fn::Split", [str(at), text]:
                return self.value(text).split(at)
            case "Fn::Select", [index, items]:
                return self.value(items)[int(index)]
            case "Fn::FindInMap", [mapping, key, member]:
                return self._template["Mappings"][self.value(mapping)][self.value(key)][self.value(member)]
            case "Fn::GetAZs", _:
                return [REGION + "a", REGION + "b"]
            case "Fn::Base64", _:
                return self.value(argument)
        raise Unknown(f"{name} is not understood with {argument}: add it to {__file__}")

    def _ref(self, name: str) -> Any:
        if name in self._values:
            value = self._values[name]
            return NOTHING if value is None else value
        kind = self._type(name)
        return self._attribute(name, "Arn") if kind in REF_IS_ARN else name

    def _type(self, name: str) -> str:
        if name not in self._resources:
            raise Unknown(f"there is neither a parameter nor a resource {name}")
        return self._resources[name]["Type"]

    def _attribute(self, name: str, attribute: str) -> str:
        kind = self._type(name)
        if not attribute.endswith("Arn"):
            return f"{name}.{attribute}"
        if kind not in ARNS:
            raise Unknown(f"no example of the ARN of an {kind}: add one to ARNS in {__file__}")
        return "arn:aws:" + ARNS[kind].format(name)

    def _substitute(self, text: str, variables: dict[str, Any]) -> str:
        def one(found: re.Match[str]) -> str:
            name = found[1]
            if name.startswith("!"):
                return "${" + name[1:] + "}"
            if name in variables:
                return str(self.value(variables[name]))
            if "." in name:
                return self._attribute(*name.split(".", 1))
            return str(self._ref(name))

        return re.sub(r"\$\{([^}]*)\}", one, text)

    def condition(self, name: str) -> bool:
        return self._holds(self._template["Conditions"][name])

    def _holds(self, it: Any) -> bool:
        name, argument = next(iter(it.items()))
        match name, argument:
            case "Condition", str():
                return self.condition(argument)
            case "Fn::Not", [one]:
                return not self._holds(one)
            case "Fn::And", list():
                return all(map(self._holds, argument))
            case "Fn::Or", list():
                return any(map(self._holds, argument))
            case "Fn::Equals", [one, other]:
                return str(self.value(one)) == str(self.value(other))  # parameters are text
        raise Unknown(f"the condition {it} is not understood: add it to {__file__}")
