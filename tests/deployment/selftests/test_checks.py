"""Every check, held against templates that it must find fault with, and against one that it must not."""

from __future__ import annotations

import json
import os
import tempfile
import unittest
from pathlib import Path
from typing import Any, Callable

import yaml
from checks import build, invoke, lint, policies, security, statements, templates
from checks.cases import NoValue, cases
from checks.report import Report
from checks.resolve import Resolver, Unknown
from checks.templates import Template

GOOD = """\
AWSTemplateFormatVersion: "2010-09-09"
Transform: AWS::Serverless-2016-10-31
Parameters:
  Role: { Type: String, AllowedValues: [central, vault], Default: central }
  VaultAccounts: { Type: CommaDelimitedList, Default: "" }
Conditions:
  IsVault: !Equals [!Ref Role, vault]
Resources:
  Queue:
    Type: AWS::SQS::Queue
    Metadata:
      checkov:
        skip:
          - id: CKV_AWS_27
            comment: this one is encrypted with a key of the service
    DeletionPolicy: Delete
    UpdateReplacePolicy: Delete
    Properties:
      MessageRetentionPeriod: 1209600
      SqsManagedSseEnabled: true
  TheRole:
    Type: AWS::IAM::Role
    Condition: IsVault
    Properties:
      AssumeRolePolicyDocument:
        Version: "2012-10-17"
        Statement:
          # Lambda, and nobody else.
          - Sid: Lambda
            Effect: Allow
            Principal: { Service: lambda.amazonaws.com }
            Action: sts:AssumeRole
      Policies:
        - PolicyName: all
          PolicyDocument:
            Version: "2012-10-17"
            Statement:
              # CreateSnapshot is for a volume ...
              - Sid: Volumes
                Effect: Allow
                Action: ec2:CreateSnapshot
                Resource: !Sub arn:${AWS::Partition}:ec2:*:${AWS::AccountId}:volume/*
              # ... and for a snapshot.
              - Sid: Snapshots
                Effect: Allow
                Action: ec2:CreateSnapshot
                Resource: !Sub arn:${AWS::Partition}:ec2:*::snapshot/*
                Condition:
                  StringEquals:
                    aws:RequestTag/accounts: !Ref VaultAccounts
              # Failures.
              - Sid: Send
                Effect: Allow
                Action: sqs:SendMessage
                Resource: !GetAtt Queue.Arn
"""


class Broken(unittest.TestCase):
    """A check finds something, if GOOD is changed in one place."""

    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = Path(scratch.name)
        self.looked_at_the_good = False

    def template(self, old: str = "", new: str = "", name: str = "template") -> Template:
        self.assertIn(old, GOOD)
        path = self.folder / f"{name}.yaml"
        path.write_text(GOOD.replace(old, new, 1) if old else GOOD, encoding="utf-8")
        return templates.read(self.folder, path)

    def finds(self, check: Callable[[Template, Report], None], old: str, new: str, want: str) -> None:
        report = Report("test", quiet=True)
        if not self.looked_at_the_good:
            check(self.template(), report)
            self.assertEqual(report.findings, [], "before it is broken")
            self.looked_at_the_good = True
        check(self.template(old, new), report)
        self.assertIn(want, "\n".join(report.findings))

    def test_lint(self) -> None:
        def check(template: Template, report: Report) -> None:
            lint.lint([template], report, self.folder / "lint")

        self.finds(check, "SqsManagedSseEnabled", "SqsManagedSse", "E3002")
        self.finds(check, "!Equals [!Ref Role, vault]", "!Equals [!Ref Rolle, vault]", "E1020")
        reason = "comments: { W3045: because this is only a test }"
        ignores = "Metadata:\n      cfn-lint: { config: { ignore_checks: [W3045] }, %s }\n"
        self.finds(check, "Metadata:\n", ignores % reason, "Queue: W3045 is skipped, but not found")
        self.finds(check, "Metadata:\n", ignores % "more: {}", "Queue: W3045 is skipped without a reason")
        for text, wants in [(reason.replace("W3045", "I3013"), []), ("more: {}", ["without a reason"])]:
            good = (ignores % text).replace("W3045", "I3013")
            template = self.template("Metadata:\n", good)
            path = self.folder / "kept.yaml"
            path.write_text(
                template.text.replace("      MessageRetentionPeriod: 1209600\n", ""), encoding="utf-8"
            )
            report = Report("test", quiet=True)
            check(templates.read(self.folder, path), report)
            self.assertEqual(len(report.findings), len(wants), report.findings)

    def test_validate(self) -> None:
        def check(template: Template, report: Report) -> None:
            lint.validate([template], report, self.folder)

        self.finds(check, "SqsManagedSseEnabled", "SqsManagedSse", "E3002")

    def test_transform(self) -> None:
        def check(template: Template, report: Report) -> None:
            lint.transform(list(cases(template)), report, self.folder / "transformed")

        self.finds(check, "SqsManagedSseEnabled", "SqsManagedSse", "transformed-0.json")
        self.finds(check, "Transform: AWS::Serverless-2016-10-31\n", "", "no template has a Transform")

    def test_coverage(self) -> None:
        def check(template: Template, report: Report) -> None:
            lint.coverage(list(cases(template)), report)

        self.finds(check, "[!Ref Role, vault]", "[!Ref Role, moon]", "TheRole is in no case")

    def test_statements(self) -> None:
        def check(template: Template, report: Report) -> None:
            statements.statements([template], report)

        self.finds(check, "- Sid: Volumes\n                Effect", "- Effect", "a statement without Sid")
        self.finds(check, "Sid: Snapshots", "Sid: Volumes", "the Sid Volumes is there twice")
        self.finds(check, "              # ... and for a snapshot.\n", "", "no comment directly above")
        self.finds(check, "          # Lambda, and nobody else.\n", "", "no comment directly above")

    def test_statements_that_are_chosen(self) -> None:
        old = "- Sid: Send\n                Effect: Allow\n                Action: sqs:SendMessage\n"
        new = "- !If\n                - IsVault\n                - Effect: Allow\n"
        template = self.template(old + "                Resource: !GetAtt Queue.Arn\n", new)
        report = Report("test", quiet=True)
        statements.statements([template], report)
        self.assertIn("a statement without Sid", "\n".join(report.findings))

    def test_policies(self) -> None:
        def check(template: Template, report: Report) -> None:
            policies.policies(list(cases(template)), report)

        volumes = "arn:${AWS::Partition}:ec2:*:${AWS::AccountId}:volume/*"
        self.finds(check, "sqs:SendMessage", "sqs:SendMassage", "UNKNOWN_ACTION")
        self.finds(check, "sqs:SendMessage", "sqz:SendMessage", "UNKNOWN_PREFIX")
        self.finds(check, "StringEquals", "StringEqual", "UNKNOWN_OPERATOR")
        self.finds(
            check, "aws:RequestTag/accounts", "ec2:RequestTag/accounts", "UNKNOWN_CONDITION_FOR_ACTION"
        )
        self.finds(check, volumes, "ec2:volume/*", "INVALID_ARN")
        self.finds(check, "!GetAtt Queue.Arn", "!GetAtt TheRole.Arn", "sqs:SendMessage is never for")
        self.finds(check, volumes, "arn:${AWS::Partition}:ec2:*::snapshot/a*", "ec2:CreateSnapshot needs")
        self.finds(check, "Action: sts:AssumeRole", "Action: sts:AssumeRoll", "UNKNOWN_ACTION")
        self.finds(check, "!GetAtt Queue.Arn", '"*"', "RESOURCE_STAR")
        self.finds(check, "sqs:SendMessage", "sqs:*", "ANY_ACTION Send")
        public = """\
  Anyone:
    Type: AWS::SQS::QueuePolicy
    Properties:
      Queues: [!Ref Queue]
      PolicyDocument:
        Version: "2012-10-17"
        Statement: [{ Sid: A, Effect: Allow, Principal: "*", Action: "sqs:SendMessage", Resource: !GetAtt Queue.Arn }]
"""
        self.finds(check, "  TheRole:\n", public + "  TheRole:\n", "Anyone: ANYONE A is for anyone")

    def test_suppressions_of_policies(self) -> None:
        def found(comment: str, action: str) -> list[str]:
            skip = {"id": "UNKNOWN_ACTION", "about": "Unknown action sqs:SendMassage", "comment": comment}
            metadata = (
                f"    Condition: IsVault\n    Metadata: {json.dumps({'parliament': {'skip': [skip]}})}\n"
            )
            text = GOOD.replace("    Condition: IsVault\n", metadata).replace("sqs:SendMessage", action)
            path = self.folder / "template.yaml"
            path.write_text(text, encoding="utf-8")
            report = Report("test", quiet=True)
            policies.policies(list(cases(templates.read(self.folder, path))), report)
            return report.findings

        reason = "a reason that has enough words"
        self.assertEqual(found(reason, "sqs:SendMassage"), [])
        self.assertIn("is skipped, but not found", "".join(found(reason, "sqs:SendMessage")))
        self.assertIn("without a reason", "".join(found("so it is", "sqs:SendMassage")))

    def test_security(self) -> None:
        open_group = """\
  Open:
    Type: AWS::EC2::SecurityGroup
    Properties:
      GroupDescription: open
      SecurityGroupIngress: [{ IpProtocol: tcp, FromPort: 22, ToPort: 22, CidrIp: 0.0.0.0/0 }]
"""
        send = "Action: sqs:SendMessage\n                Resource: !GetAtt Queue.Arn\n"
        broken = {
            "good": ("", "", []),
            "open": ("  TheRole:\n", open_group + "  TheRole:\n", ["Open: CKV_AWS_24"]),
            "all": (send, "Action: '*'\n                Resource: '*'\n", ["TheRole: CKV_AWS_"]),
            "id": (
                "CKV_AWS_27",
                "CKV_AWS_28",
                ["Queue: CKV_AWS_27", "Queue: CKV_AWS_28 is skipped, but not found"],
            ),
            "reason": ("this one is encrypted with a key of the service", "fine", ["without a reason"]),
        }
        every = [self.template(old, new, name) for name, (old, new, _) in broken.items()]
        report = Report("test", quiet=True)
        checkov = Path(os.environ["CHECKOV"])
        security.security(
            [case for it in every for case in cases(it)], report, checkov, self.folder / "cases"
        )
        for name, (_, _, wants) in broken.items():
            found = [it for it in report.findings if it.startswith(f"{name}.yaml: ")]
            self.assertEqual(bool(wants), bool(found), f"{name}: {found}")
            for want in wants:
                self.assertIn(want, "\n".join(found))

    def test_cases(self) -> None:
        with self.assertRaisesRegex(NoValue, "no example for the parameter Colour"):
            list(cases(self.template("Parameters:\n", "Parameters:\n  Colour: { Type: String }\n")))
        pattern = 'VaultAccounts: { Type: CommaDelimitedList, AllowedPattern: "^x+$", Default: "" }'
        with self.assertRaisesRegex(NoValue, "does not match"):
            list(cases(self.template('VaultAccounts: { Type: CommaDelimitedList, Default: "" }', pattern)))

    def test_artifacts(self) -> None:
        report = Report("test", quiet=True)
        build.artifact("Function", self.folder / "bootstrap", 62, report)
        self.assertIn("made no bootstrap", report.findings[-1])
        (self.folder / "bootstrap").write_bytes(b"#!/bin/sh\n" * 9)
        build.artifact("Function", self.folder / "bootstrap", 62, report)
        self.assertIn("no program for this processor", report.findings[-1])

    def test_environment(self) -> None:
        class Function:
            environment: dict[str, Any] = {"Variables": {"POLICIES": "", "AWS_ENDPOINT_URL": ""}}

        good = {"POLICIES": "[]", "AWS_ENDPOINT_URL": invoke.ENDPOINT}
        for environment, want in [
            ({"Function": good}, None),
            ({"Function": good | {"POLICY": "[]"}}, "has no POLICY in the template"),
            ({"Function": good | {"AWS_ENDPOINT_URL": "http://localhost"}}, "is not http://local-aws"),
            ({"Funktion": good}, "Funktion is not both"),
        ]:
            report = Report("test", quiet=True)
            invoke.declared(report, environment, {"Function": Function})
            found = "\n".join(report.findings)
            self.assertTrue(want in found if want else not found, f"{want}: {found}")


class Resolving(unittest.TestCase):
    def value(self, text: str) -> Any:
        template = {
            "Resources": {"Queue": {"Type": "AWS::SQS::Queue"}, "Odd": {"Type": "AWS::Odd::Thing"}},
            "Conditions": {"Holds": {"Fn::Equals": ["a", "a"]}, "Not": {"Fn::Not": [{"Condition": "Holds"}]}},
            "Mappings": {"M": {"k": {"v": 1}}},
        }
        return Resolver(template, {"P": "x:y", "L": ["1", "2"]}).value(yaml.safe_load(text))

    def test_values(self) -> None:
        for text, want in [
            ("{Ref: P}", "x:y"),
            ("{Ref: Queue}", "Queue"),
            ("{Fn::Sub: '${P}-${Queue.Arn}-${!*}'}", "x:y-arn:aws:sqs:eu-central-1:111111111111:Queue-${*}"),
            ("{Fn::Sub: ['${A}', {A: {Fn::Select: [1, {Fn::Split: [':', {Ref: P}]}]}}]}", "y"),
            ("{Fn::Join: ['/', {Ref: L}]}", "1/2"),
            ("[{Fn::If: [Not, a, {Ref: AWS::NoValue}]}, {Fn::If: [Holds, b, c]}]", ["b"]),
            ("{a: {Ref: AWS::NoValue}, b: {Fn::FindInMap: [M, k, v]}}", {"b": 1}),
        ]:
            self.assertEqual(self.value(text), want, text)

    def test_what_is_not_understood(self) -> None:
        for text in [
            "{Ref: Nothing}",
            "{Fn::GetAtt: [Odd, Arn]}",
            "{Fn::ImportValue: a}",
            "{Fn::Sub: '${Nothing}'}",
        ]:
            with self.assertRaises(Unknown, msg=text):
                self.value(text)
