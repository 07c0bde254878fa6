"""Run Command: agents, documents, scripts that freeze and thaw, and how commands end."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

from botocore.exceptions import BotoCoreError

from .support import MEMBER, OTHER, REGION, VAULT, Case, client, control, pages, until

PATTERN = "^(None|[a-fA-F0-9]{8}-[a-fA-F0-9]{4}-[a-fA-F0-9]{4}-[a-fA-F0-9]{4}-[a-fA-F0-9]{12})$"
CONTENT = {
    "schemaVersion": "2.2",
    "parameters": {
        "executionId": {"type": "String", "default": "None", "allowedPattern": PATTERN},
        "command": {
            "type": "String",
            "default": "dry-run",
            "allowedValues": ["pre-script", "post-script", "dry-run"],
        },
    },
    "mainSteps": [
        {
            "action": "aws:runShellScript",
            "name": "run_pre_post_scripts",
            "precondition": {"StringEquals": ["platformType", "Linux"]},
            "inputs": {"runCommand": ["true"]},
        }
    ],
}


class CommandCase(Case):
    """Instances with agents, and commands that take no time."""

    def setUp(self) -> None:
        super().setUp()
        control("POST", "config", {"command_seconds": 0, "invocation_seconds": 0})
        self.ssm = client("ssm")

    def document(self, name: str = "Freeze", content: dict[str, Any] | None = None, **more: Any) -> str:
        text = json.dumps(content or CONTENT)
        self.ssm.create_document(Name=name, Content=text, DocumentType="Command", **more)
        return name

    def agent(self, instance: str | None = None, **more: Any) -> str:
        instance = instance or self.instance([{}])["id"]
        control("POST", "agents", {"account": MEMBER, "region": REGION, "instance": instance, **more})
        return instance

    def seen(self, instance: str) -> dict[str, Any]:
        return control("GET", f"agents?instance={instance}")[0]

    def send(self, instance: str, which: str | None = None, name: str = "Freeze", **more: Any) -> str:
        if which:
            more["Parameters"] = {"command": [which], "executionId": [str(uuid.uuid4())]}
        sent = self.ssm.send_command(InstanceIds=[instance], DocumentName=name, **more)
        return sent["Command"]["CommandId"]

    def get(self, command: str, instance: str, **more: Any) -> dict[str, Any]:
        return self.ssm.get_command_invocation(CommandId=command, InstanceId=instance, **more)

    def ended(self, command: str, instance: str) -> dict[str, Any]:
        def found() -> dict[str, Any] | None:
            got = self.get(command, instance)
            return got if got["Status"] not in ("Pending", "InProgress", "Delayed") else None

        return until(found)

    def ran(self, instance: str, which: str | None = None, name: str = "Freeze", **more: Any) -> tuple:
        got = self.ended(self.send(instance, which, name, **more), instance)
        return got["Status"], got["StatusDetails"], got["ResponseCode"]


SUCCESS = ("Success", "Success", 0)


def failed(code: int) -> tuple[str, str, int]:
    return ("Failed", "Failed", code)


class Agents(CommandCase):
    def found(self, *filters: tuple[str, str]) -> set[str]:
        each = [{"Key": key, "Values": [value]} for key, value in filters]
        answer = self.ssm.describe_instance_information(Filters=each)
        return {i["InstanceId"] for i in answer["InstanceInformationList"]}

    def test_only_where_a_test_says_so(self) -> None:
        plain = self.instance()["id"]
        self.assertEqual(self.found(), set())
        linux, windows = self.agent(), self.agent(platform="Windows", ping="ConnectionLost")
        self.ec2.create_tags(Resources=[linux], Tags=[{"Key": "team", "Value": "db"}])
        self.assertEqual(self.found(), {linux, windows})
        self.assertEqual(self.found(("InstanceIds", plain)), set())
        self.assertEqual(self.found(("PingStatus", "Online")), {linux})
        self.assertEqual(self.found(("PlatformTypes", "Windows")), {windows})
        self.assertEqual(self.found(("tag:team", "db")), {linux})
        self.assertEqual(self.found(("tag-key", "team")), {linux})
        self.assertEqual(client("ssm", VAULT).describe_instance_information()["InstanceInformationList"], [])
        elsewhere = client("ssm", MEMBER, OTHER)
        self.assertEqual(elsewhere.describe_instance_information()["InstanceInformationList"], [])
        self.ec2.stop_instances(InstanceIds=[linux])
        self.assertEqual(self.found(), {windows})
        control("DELETE", f"agents?instance={windows}")
        self.assertEqual(self.found(), set())
        call = self.ssm.describe_instance_information
        self.refused("InvalidFilterKey", call, Filters=[{"Key": "Nonsense", "Values": ["1"]}])
        wrong = [{"Key": "InstanceIds", "Values": ["i-1"]}]
        self.refused("InvalidInstanceInformationFilterValue", call, Filters=wrong)
        unknown = [{"Key": "InstanceIds", "Values": ["i-0123456789abcdef0"]}]
        self.refused("InvalidInstanceId", call, Filters=unknown)
        mixed = [{"Key": "tag-key", "Values": ["a"]}, {"Key": "PingStatus", "Values": ["Online"]}]
        self.refused("ValidationException", call, Filters=mixed)

    def test_pages(self) -> None:
        made = {self.agent() for _ in range(11)}
        call = self.ssm.describe_instance_information
        for more, sizes in (({"MaxResults": 5}, [5, 5, 1]), ({}, [10, 1])):
            found = pages(call, "InstanceInformationList", **more)
            self.assertEqual([len(page) for page in found], sizes)
            self.assertEqual({i["InstanceId"] for page in found for i in page}, made)
        for size in (4, 51):
            self.refused("ValidationException", call, MaxResults=size)
        self.refused("InvalidNextToken", call, NextToken="nonsense")

    def test_platform_and_profile_of_an_instance(self) -> None:
        iam = client("iam")
        iam.create_role(RoleName="web", AssumeRolePolicyDocument="{}")
        profile = iam.create_instance_profile(InstanceProfileName="web")["InstanceProfile"]
        iam.add_role_to_instance_profile(InstanceProfileName="web", RoleName="web")
        seeded = self.instance([{}], profile="web")["id"]
        ran = self.ec2.run_instances(
            ImageId="ami-12345678", MinCount=1, MaxCount=1, IamInstanceProfile={"Name": "web"}
        )["Instances"][0]["InstanceId"]
        bare = self.agent(platform="Windows")
        wanted = {"Arn": profile["Arn"], "Id": profile["InstanceProfileId"]}
        for instance, of, platform in ((seeded, wanted, None), (ran, wanted, None), (bare, None, "windows")):
            shown = self.ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]
            self.assertEqual((shown.get("IamInstanceProfile"), shown.get("Platform")), (of, platform))
        with self.assertRaisesRegex(AssertionError, "no such instance profile: nobody"):
            self.instance(profile="nobody")
        filters = [{"Name": "platform", "Values": ["windows"]}]
        found = self.ec2.describe_instances(Filters=filters)["Reservations"]
        self.assertEqual([r["Instances"][0]["InstanceId"] for r in found], [bare])

    def test_mistakes(self) -> None:
        for body in (
            {"platform": "Plan9"},
            {"ping": "Maybe"},
            {"nonsense": 1},
            {"vss": {"nonsense": 1}},
            {"vss": {"fails": "yes"}},
            {"scripts": {"mid-script": {}}},
            {"scripts": {"pre-script": {"seconds": "1"}}},
            {"scripts": {"pre-script": {"at": "noon"}}},
            {"scripts": {"auto_thaw_seconds": "1"}},
            {"instance": "i-0123456789abcdef0"},
        ):
            with self.subTest(body=body), self.assertRaisesRegex(AssertionError, next(iter(body))):
                self.agent(**{"instance": self.instance()["id"], **body})


class Scripts(CommandCase):
    def test_freeze_and_thaw(self) -> None:
        self.document()
        one = self.agent()
        self.assertEqual(self.ran(one), SUCCESS, "a dry run")
        self.assertFalse(self.seen(one)["frozen"])
        volume = next(iter(control("GET", "instances")[0]["volumes"].values()))
        before = self.snapshot(volume)
        self.assertEqual(self.ran(one, "pre-script"), SUCCESS)
        agent = self.seen(one)
        self.assertEqual((agent["frozen"], agent["freezes"], agent["thaws"]), (True, 1, 0))
        self.assertIsNotNone(agent["frozen_since"])
        during = self.snapshot(volume)
        self.assertEqual(self.ran(one, "pre-script"), failed(204))
        self.assertEqual(self.ran(one, "post-script"), SUCCESS)
        after = self.snapshot(volume)
        self.assertEqual(self.ran(one, "post-script"), failed(205))
        agent = self.seen(one)
        self.assertEqual((agent["frozen"], agent["freezes"], agent["thaws"]), (False, 1, 1))
        found = {s["id"]: s["frozen"] for s in control("GET", "snapshots")}
        self.assertEqual(found, {before: False, during: True, after: False})
        kinds = [(c["kind"], c["exit"]) for c in agent["commands"]]
        scripts = [("pre-script", 0), ("pre-script", 204), ("post-script", 0), ("post-script", 205)]
        self.assertEqual(kinds, [("dry-run", 0), *scripts])

    def test_auto_thaw(self) -> None:
        self.document()
        one = self.agent(scripts={"auto_thaw_seconds": 0.2})
        self.assertEqual(self.ran(one, "pre-script"), SUCCESS)
        until(lambda: not self.seen(one)["frozen"])
        self.assertEqual((self.seen(one)["auto_thaws"], self.seen(one)["thaws"]), (1, 0))
        self.assertEqual(self.ran(one, "post-script"), failed(203))

    def test_scripts_that_fail(self) -> None:
        self.document()
        one = self.agent(scripts={"pre-script": {"exit": 201, "times": 2}})
        outcomes = [self.ran(one, "pre-script") for _ in range(3)]
        self.assertEqual(outcomes, [failed(201), failed(201), SUCCESS])
        self.assertEqual(self.seen(one)["freezes"], 1)
        self.agent(one, scripts={"post-script": {"exit": 202, "times": 1}})
        self.assertEqual(self.ran(one, "post-script"), failed(202))
        self.assertTrue(self.seen(one)["frozen"])
        self.assertEqual(self.ran(one, "post-script"), SUCCESS)
        self.agent(one, scripts={"pre-script": {"exit": 201, "freezes": True}})
        self.assertEqual(self.ran(one, "pre-script"), failed(201))
        self.assertTrue(self.seen(one)["frozen"], "it froze and yet failed")

    def test_scripts_that_take_time(self) -> None:
        self.document()
        for at, frozen in (("begin", True), ("end", False)):
            one = self.agent(scripts={"pre-script": {"seconds": 60, "at": at}})
            sent = self.send(one, "pre-script")
            until(lambda s=sent, o=one: self.get(s, o)["Status"] == "InProgress")
            got = self.get(sent, one)
            self.assertEqual((got["StatusDetails"], got["ResponseCode"]), ("InProgress", -1))
            until(lambda o=one, f=frozen: self.seen(o)["frozen"] == f)
            self.ssm.cancel_command(CommandId=sent)
            got = self.get(sent, one)
            self.assertEqual((got["Status"], got["StatusDetails"]), ("Cancelled", "Cancelled"))
            self.assertEqual(self.seen(one)["frozen"], frozen, "whatever it has done stays done")

    def test_a_script_for_another_platform_is_skipped(self) -> None:
        self.document()
        one = self.agent(platform="Windows")
        self.assertEqual(self.ran(one, "pre-script"), SUCCESS)
        self.assertFalse(self.seen(one)["frozen"])


class Endings(CommandCase):
    def document(self, name: str = "Freeze", content: dict[str, Any] | None = None, **more: Any) -> str:
        step = {**CONTENT["mainSteps"][0], "inputs": {"timeoutSeconds": "30"}}
        return super().document(name, content or {**CONTENT, "mainSteps": [step]}, **more)

    def test_delivery_timed_out(self) -> None:
        control("POST", "config", {"command_timeout_factor": 0.01})
        self.document()
        one = self.agent(scripts={"pre-script": {"delivery_seconds": 60}})
        self.assertEqual(
            self.ran(one, "pre-script", TimeoutSeconds=30), ("TimedOut", "DeliveryTimedOut", -1)
        )
        self.assertFalse(self.seen(one)["frozen"])
        command = self.ssm.list_commands()["Commands"][0]
        self.assertEqual((command["DeliveryTimedOutCount"], command["ErrorCount"]), (1, 0))

    def test_an_agent_that_is_lost_on_the_way(self) -> None:
        control("POST", "config", {"command_seconds": 0.8, "command_timeout_factor": 0.05})
        self.document()
        one = self.agent()
        sent = self.send(one, "pre-script", TimeoutSeconds=60)
        self.agent(one, ping="ConnectionLost")
        until(lambda: self.get(sent, one)["Status"] == "Delayed")
        self.agent(one, ping="Online")
        self.assertEqual(self.ended(sent, one)["Status"], "Success")
        self.assertTrue(self.seen(one)["frozen"])

    def test_an_agent_that_is_lost_at_work(self) -> None:
        control("POST", "config", {"command_timeout_factor": 0.05})
        self.document()
        one = self.agent(scripts={"pre-script": {"seconds": 0.8, "at": "begin"}})
        sent = self.send(one, "pre-script", TimeoutSeconds=30)
        until(lambda: self.seen(one)["frozen"])
        self.agent(one, ping="ConnectionLost")
        time.sleep(1)
        self.assertEqual(self.get(sent, one)["Status"], "InProgress")
        got = self.ended(sent, one)
        self.assertEqual((got["Status"], got["StatusDetails"]), ("TimedOut", "DeliveryTimedOut"))
        self.assertTrue(self.seen(one)["frozen"], "it ran")

    def test_an_agent_has_five_workers(self) -> None:
        self.document()
        one = self.agent(scripts={"dry-run": {"seconds": 60}})
        busy = [self.send(one) for _ in range(5)]
        until(lambda: all(self.get(c, one)["Status"] == "InProgress" for c in busy))
        sent = self.send(one, "pre-script")
        time.sleep(0.2)
        self.assertFalse(self.seen(one)["frozen"])
        self.ssm.cancel_command(CommandId=busy[0])
        self.assertEqual(self.ended(sent, one)["Status"], "Success")

    def test_execution_timed_out(self) -> None:
        control("POST", "config", {"command_timeout_factor": 0.01})
        self.document()
        one = self.agent(scripts={"pre-script": {"seconds": 60, "at": "begin"}})
        self.assertEqual(self.ran(one, "pre-script"), ("TimedOut", "ExecutionTimedOut", 137))
        self.assertTrue(self.seen(one)["frozen"])
        self.assertEqual(self.ssm.list_commands()["Commands"][0]["ErrorCount"], 1)
        control("POST", "config", {"status_details_spaced": True})
        row = self.ssm.list_command_invocations(Details=True)["CommandInvocations"][0]
        details = (row["StatusDetails"], row["CommandPlugins"][0]["StatusDetails"])
        self.assertEqual(details, ("Execution Timed Out", "Execution Timed Out"))

    def test_cancelled_before_it_began(self) -> None:
        control("POST", "config", {"command_seconds": 0.8})
        self.document()
        one = self.agent()
        sent = self.send(one, "pre-script")
        self.ssm.cancel_command(CommandId=sent, InstanceIds=[one])
        time.sleep(1)
        self.assertEqual((self.get(sent, one)["Status"], self.seen(one)["frozen"]), ("Cancelled", False))
        self.refused("InvalidCommandId", self.ssm.cancel_command, CommandId=str(uuid.uuid4()))

    def test_invocations_come_later(self) -> None:
        control("POST", "config", {"invocation_seconds": 0.8})
        self.document()
        one = self.agent()
        sent = self.send(one)
        get = self.ssm.get_command_invocation
        self.refused("InvocationDoesNotExist", get, CommandId=sent, InstanceId=one)
        self.assertEqual(self.ssm.list_command_invocations()["CommandInvocations"], [])
        time.sleep(0.9)
        self.assertEqual(self.get(sent, one)["PluginName"], "run_pre_post_scripts")
        self.refused("InvocationDoesNotExist", get, CommandId=str(uuid.uuid4()), InstanceId=one)
        theirs = client("ssm", VAULT).get_command_invocation
        self.refused("InvocationDoesNotExist", theirs, CommandId=sent, InstanceId=one)
        self.refused("InvalidCommandId", get, CommandId="1", InstanceId=one)
        self.refused("InvalidPluginName", get, CommandId=sent, InstanceId=one, PluginName="nonsense")

    def test_waiting_for_the_end(self) -> None:
        control("POST", "config", {"invocation_seconds": 0.3})
        self.document()
        for seconds in (0, 1.5):
            one = self.agent(scripts={"dry-run": {"seconds": seconds}})
            sent = self.send(one)
            control("GET", "agents?wait=idle")
            self.assertEqual(self.get(sent, one)["Status"], "Success")
        sent = self.send(one)
        control("GET", "agents?wait=idle&timeout=0.35")
        self.assertEqual(self.get(sent, one)["Status"], "InProgress")
        with self.assertRaisesRegex(AssertionError, "wait: idle"):
            control("GET", "agents?wait=nonsense")

    def test_everything_is_forgotten(self) -> None:
        self.document()
        one = self.agent(scripts={"pre-script": {"seconds": 60}})
        self.send(one, "pre-script")
        control("POST", "reset")
        self.assertEqual(control("GET", "agents"), [])
        self.assertEqual(self.ssm.list_commands()["Commands"], [])


class Sending(CommandCase):
    def test_what_is_refused(self) -> None:
        self.document()
        one, call = self.agent(), self.ssm.send_command
        good = {"InstanceIds": [one], "DocumentName": "Freeze"}
        lost, bare = self.agent(ping="ConnectionLost"), self.instance()["id"]
        stopped = self.agent()
        self.ec2.stop_instances(InstanceIds=[stopped])
        for instance in (lost, bare, stopped, "i-0123456789abcdef0"):
            text = self.refused("InvalidInstanceId", call, **{**good, "InstanceIds": [one, instance]})
            self.assertEqual(text, f"Instances [[{instance}]] not in a valid state for account {MEMBER}")
        for code, more in (
            ("InvalidDocument", {"DocumentName": "Nonsense"}),
            ("InvalidDocument", {"DocumentName": f"arn:aws:ssm:{OTHER}:{MEMBER}:document/Freeze"}),
            ("InvalidDocument", {"DocumentName": f"arn:aws:ssm:{REGION}:{VAULT}:document/Freeze"}),
            ("InvalidDocument", {"DocumentHash": "0" * 64}),
            ("InvalidDocumentVersion", {"DocumentVersion": "7"}),
            ("InvalidParameters", {"Parameters": {"nonsense": ["1"]}}),
            ("InvalidParameters", {"Parameters": {"command": ["rm"]}}),
            ("InvalidParameters", {"Parameters": {"command": ["pre-script", "post-script"]}}),
            ("InvalidParameters", {"Parameters": {"executionId": ["1"]}}),
            ("InvalidParameters", {"DocumentName": "AWS-RunShellScript"}),
            ("UnsupportedPlatformType", {"DocumentName": "AWSEC2-CreateVssSnapshot"}),
            ("DuplicateInstanceId", {"InstanceIds": [one, one]}),
            ("ValidationException", {"InstanceIds": []}),
            ("ValidationException", {"InstanceIds": ["web"]}),
            ("ValidationException", {"InstanceIds": [f"i-{n:017x}" for n in range(51)]}),
            ("ValidationException", {"TimeoutSeconds": 29}),
            ("ValidationException", {"TimeoutSeconds": 2592001}),
            ("ValidationException", {"Comment": "x" * 101}),
            ("ValidationException", {"DocumentName": "x"}),
        ):
            with self.subTest(more=more):
                self.refused(code, call, **{**good, **more})
        self.assertEqual(self.ssm.list_commands()["Commands"], [])

    def test_a_shared_document(self) -> None:
        theirs = client("ssm", VAULT)
        content = json.dumps(CONTENT)
        theirs.create_document(Name="Shared", Content=content, DocumentType="Command")
        arn = f"arn:aws:ssm:{REGION}:{VAULT}:document/Shared"
        good = {"InstanceIds": [self.agent()], "DocumentName": arn}
        self.refused("InvalidDocument", self.ssm.send_command, **good)
        permission = {"Name": "Shared", "PermissionType": "Share", "AccountIdsToAdd": [MEMBER]}
        theirs.modify_document_permission(**permission)
        self.assertEqual(self.ssm.send_command(**good)["Command"]["DocumentName"], "Shared")

    def test_lists(self) -> None:
        self.document()
        one, two = self.agent(), self.agent(scripts={"pre-script": {"exit": 201}})
        for _ in range(3):
            more = {"Parameters": {"command": ["pre-script"]}, "Comment": "nightly"}
            sent = self.ssm.send_command(InstanceIds=[one, two], DocumentName="Freeze", **more)
            command = sent["Command"]["CommandId"]
            self.ended(command, one)
            self.ended(command, two)
            self.ran(one, "post-script")
        lists = self.ssm.list_command_invocations
        found = pages(lists, "CommandInvocations", MaxResults=4)
        self.assertEqual([len(page) for page in found], [4, 4, 1])

        def count(**more: Any) -> int:
            return len(lists(**more)["CommandInvocations"])

        def only(key: str, value: str) -> dict[str, Any]:
            return {"Filters": [{"key": key, "value": value}]}

        self.assertEqual(count(CommandId=command), 2)
        self.assertEqual(count(InstanceId=two), 3)
        self.assertEqual((count(**only("Status", "Failed")), count(**only("Status", "Success"))), (3, 6))
        for name, wanted in (("Freeze", 9), ("x", 0)):
            self.assertEqual(count(**only("DocumentName", name)), wanted)
        past, future = (only("InvokedAfter", f"{year}-01-01T00:00:00Z") for year in (2020, 2099))
        self.assertEqual((count(**past), count(**future)), (9, 0))
        self.refused("InvalidFilterKey", lists, **only("ExecutionStage", "Complete"))
        row = lists(CommandId=command, InstanceId=two, Details=True)["CommandInvocations"][0]
        self.assertEqual((row["Comment"], row["Status"]), ("nightly", "Failed"))
        step = row["CommandPlugins"][0]
        self.assertEqual((step["Name"], step["ResponseCode"]), ("run_pre_post_scripts", 201))
        commands = self.ssm.list_commands(**only("ExecutionStage", "Complete"))["Commands"]
        self.assertEqual(len(commands), 6)
        self.assertEqual(len(self.ssm.list_commands(InstanceId=two)["Commands"]), 3)
        found = self.ssm.list_commands(CommandId=command)["Commands"][0]
        counts = (found["Status"], found["TargetCount"], found["CompletedCount"], found["ErrorCount"])
        self.assertEqual(counts, ("Failed", 2, 2, 1))
        control("POST", "age", {"days": 1})
        requested = self.ssm.list_commands(CommandId=command)["Commands"][0]["RequestedDateTime"]
        self.assertAlmostEqual(found["RequestedDateTime"].timestamp() - requested.timestamp(), 86400, 1)


class Calls(CommandCase):
    """What calls of Systems Manager are asked for, and that they can go wrong as those of EC2."""

    def session(self, *statements: dict[str, Any]) -> Any:
        iam, name = client("iam"), f"r{len(client('iam').list_roles()['Roles'])}"
        trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "*"}}
        document = json.dumps({"Statement": [trust]})
        arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]["Arn"]
        if statements:
            document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **s} for s in statements]}
            iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=json.dumps(document))
        c = client("sts").assume_role(RoleArn=arn, RoleSessionName="s1")["Credentials"]
        control("POST", "config", {"identity_policies": True})
        secret = {"secret": c["SecretAccessKey"], "aws_session_token": c["SessionToken"]}
        return client("ssm", c["AccessKeyId"], agent="exec-env/rotate", **secret)

    def test_send_command(self) -> None:
        self.document(Tags=[{"Key": "DLMScriptsAccess", "Value": "true"}])
        one = self.agent()
        self.ec2.create_tags(Resources=[one], Tags=[{"Key": "team", "Value": "db"}])
        own = f"arn:aws:ssm:{REGION}:{MEMBER}:document/Freeze"
        shell = f"arn:aws:ssm:{REGION}::document/AWS-RunShellScript"
        instance = f"arn:aws:ec2:{REGION}:{MEMBER}:instance/{one}"

        def allowed(resource: str, **tags: str) -> dict[str, Any]:
            row = {"Action": "ssm:SendCommand", "Resource": resource}
            return {**row, "Condition": {"StringEquals": tags}} if tags else row

        tag = {"aws:ResourceTag/DLMScriptsAccess": "true"}
        all_instances = f"arn:aws:ec2:*:{MEMBER}:instance/*"
        mine = allowed(all_instances, **{"ssm:resourceTag/team": "db"})
        theirs = allowed(all_instances, **{"aws:ResourceTag/team": "web"})
        ours = allowed("arn:aws:ssm:*:*:document/*", **tag)
        for statements, name, denied in (
            ((ours, mine), "Freeze", None),
            ((ours, mine), own, None),
            ((allowed(shell), mine), "AWS-RunShellScript", None),
            ((mine,), "Freeze", own),
            ((ours, mine), "AWS-RunShellScript", shell),
            ((ours, theirs), "Freeze", instance),
        ):
            with self.subTest(name=name, denied=denied):
                call = self.session(*statements).send_command
                more = {"Parameters": {"commands": ["true"]}} if name == "AWS-RunShellScript" else {}
                more |= {"InstanceIds": [one], "DocumentName": name}
                if denied:
                    text = self.refused("AccessDeniedException", call, **more)
                    self.assertIn(f"perform: ssm:SendCommand on resource: {denied} because", text)
                else:
                    call(**more)
        policy = {"Statement": [{"Effect": "Allow", "Sid": "1", **ours}]}
        body = {"policies": {"p": policy}, "actors": {a: ["p"] for a in ("rotate",)}}
        actors = {f"rotate as r{n}": ["p"] for n in range(6)}
        body["actors"] |= actors
        found = control("POST", "proof", body)
        self.assertEqual(sum(row["needs"] for row in found["actors"].values()), 6)
        self.assertEqual({r["resource"] for r in found["refused"]}, {instance, shell})

    def calls(self, ssm: Any) -> dict[str, tuple[Any, dict[str, Any]]]:
        one = self.agent()
        sent = self.send(one)
        return {
            "DescribeInstanceInformation": (ssm.describe_instance_information, {}),
            "SendCommand": (ssm.send_command, {"InstanceIds": [one], "DocumentName": "Freeze"}),
            "ListCommandInvocations": (ssm.list_command_invocations, {"CommandId": sent}),
            "ListCommands": (ssm.list_commands, {}),
            "GetCommandInvocation": (ssm.get_command_invocation, {"CommandId": sent, "InstanceId": one}),
            "CancelCommand": (ssm.cancel_command, {"CommandId": sent}),
        }

    def test_everything_else_by_its_name(self) -> None:
        self.document()
        role = self.session()
        for action, (call, arguments) in self.calls(role).items():
            text = self.refused("AccessDeniedException", call, **arguments)
            resource = "arn:aws:ssm" if action == "SendCommand" else "*"
            self.assertIn(f"perform: ssm:{action} on resource: {resource}", text)
        role = self.session({"Action": "ssm:*", "Resource": "*"})
        for call, arguments in self.calls(role).values():
            call(**arguments)

    def test_faults(self) -> None:
        self.document()
        for action, (call, arguments) in self.calls(self.ssm).items():
            with self.subTest(action=action):
                fault = {"service": "ssm", "action": action, "times": 1}
                sent = len(self.ssm.list_commands()["Commands"])
                control("POST", "faults", {**fault, "code": "ThrottlingException"})
                self.refused("ThrottlingException", call, **arguments)
                control("POST", "faults", {**fault, "drop": "before"})
                with self.assertRaises(BotoCoreError):
                    call(**arguments)
                self.assertEqual(len(self.ssm.list_commands()["Commands"]), sent, "nothing took effect")
                control("POST", "faults", {**fault, "drop": "after"})
                with self.assertRaises(BotoCoreError):
                    call(**arguments)
                made = len(self.ssm.list_commands()["Commands"]) - sent
                self.assertEqual(made, action == "SendCommand")
                denied = {"code": "InternalServerError", "status": 500, "after": True}
                control("POST", "faults", {**fault, **denied})
                self.refused("InternalServerError", call, **arguments)
                control("POST", "faults", {**fault, "slow": {"from": "body", "bytes": 10, "seconds": 0.01}})
                call(**arguments)
                control("POST", "faults", {**fault, "delay": 0.1})
                began = time.time()
                call(**arguments)
                self.assertGreater(time.time() - began, 0.1)
                control("DELETE", "faults")
        found = control("GET", "calls?service=ssm&action=SendCommand")["calls"]
        params = {tuple(sorted(c["params"])) for c in found}
        self.assertEqual(params, {("DocumentName", "InstanceIds")})
        self.assertEqual([c["error"] for c in found].count("ThrottlingException"), 1)

    def test_a_page_that_is_lost(self) -> None:
        made = {self.agent() for _ in range(6)}
        control("POST", "faults", {"action": "DescribeInstanceInformation", "ask": {"MaxResults": 5}})
        call = self.ssm.describe_instance_information
        found = pages(call, "InstanceInformationList")
        self.assertEqual([len(page) for page in found], [5, 1])
        self.assertEqual({i["InstanceId"] for page in found for i in page}, made)
