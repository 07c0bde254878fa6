"""VSS: snapshots that an instance makes of itself, in the role of its profile."""

from __future__ import annotations

import json
from typing import Any

from .support import MEMBER, REGION, client, control
from .test_commands import SUCCESS, CommandCase, failed

CREATE, INSTALL = "AWSEC2-CreateVssSnapshot", "AWSEC2-VssInstallAndSnapshot"
ITSELF = {"ArnLike": {"ec2:SourceInstanceARN": "arn:aws:ec2:*:*:instance/${ec2:InstanceId}"}}
MADE = {"StringLike": {"aws:RequestTag/AwsVssConfig": "*"}}
CREATED = {"StringEquals": {"ec2:CreateAction": ["CreateImage", "CreateSnapshots"]}}
LATER = {
    "StringLike": {"ec2:ResourceTag/AwsVssConfig": "*"},
    "ForAllValues:StringEquals": {"aws:TagKeys": ["AppConsistent", "Device"]},
}


def statement(action: str, kind: str, condition: dict[str, Any] | None = None) -> dict[str, Any]:
    row = {"Effect": "Allow", "Action": f"ec2:{action}", "Resource": f"arn:aws:ec2:*:*:{kind}/*"}
    return {**row, "Condition": condition} if condition else row


# As far as it is about snapshots, the policy that AWS has for such profiles.
POLICY = [
    statement("CreateSnapshots", "snapshot", MADE),
    statement("CreateSnapshots", "instance", ITSELF),
    statement("CreateSnapshots", "volume"),
    statement("CreateTags", "snapshot", CREATED),
    statement("CreateTags", "snapshot", LATER),
]


class Vss(CommandCase):
    def setUp(self) -> None:
        super().setUp()
        iam = client("iam")
        trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "ec2.amazonaws.com"}}
        document = json.dumps({"Statement": [trust]})
        iam.create_role(RoleName="windows", AssumeRolePolicyDocument=document)
        iam.create_instance_profile(InstanceProfileName="windows")
        iam.add_role_to_instance_profile(InstanceProfileName="windows", RoleName="windows")

    def windows(self, profile: str | None = "windows", **vss: Any) -> dict[str, Any]:
        """An instance with a root volume and two more, and an agent."""
        made = self.instance([{}, {}], profile=profile)
        self.agent(made["id"], platform="Windows", vss=vss)
        return made

    def snap(self, one: dict[str, Any], document: str = CREATE, /, **parameters: str) -> tuple:
        return self.ran(one["id"], name=document, Parameters={k: [v] for k, v in parameters.items()})

    def error(self, one: dict[str, Any]) -> str:
        return self.seen(one["id"])["commands"][-1]["error"]

    def made(self) -> list[dict[str, Any]]:
        return control("GET", "snapshots")

    def test_one_of_each_volume(self) -> None:
        one = self.windows()
        tags = "Key=Name,Value=web;Key=snapferry:policy,Value=sets=1"
        self.assertEqual(self.snap(one, tags=tags, description="nightly"), SUCCESS)
        made = self.made()
        self.assertEqual({s["volume"] for s in made}, set(one["volumes"].values()))
        self.assertEqual(len({s["start_time"] for s in made}), 1)
        for each in made:
            config = each["tags"].pop("AwsVssConfig")
            self.assertIn("2.5.0", config)
            device = next(d for d, v in one["volumes"].items() if v == each["volume"])
            wanted = {"Name": "web", "snapferry:policy": "sets=1", "Device": device, "AppConsistent": "True"}
            self.assertEqual(each["tags"], wanted)
            self.assertEqual((each["description"], each["frozen"]), ("nightly", True))
        agent = self.seen(one["id"])
        self.assertEqual((agent["frozen"], agent["freezes"], agent["thaws"]), (False, 1, 1))

    def test_without_the_boot_volume(self) -> None:
        one = self.windows()
        self.assertEqual(self.snap(one, ExcludeBootVolume="True"), SUCCESS)
        wanted = {v for device, v in one["volumes"].items() if device != "/dev/sda1"}
        self.assertEqual({s["volume"] for s in self.made()}, wanted)
        self.assertEqual({s["tags"]["Name"] for s in self.made()}, {""})

    def test_tags_that_are_refused(self) -> None:
        one = self.windows()
        for tags in ("Key=Device,Value=x", "Key=AppConsistent,Value=True", "Key=AwsVssConfig,Value=x"):
            self.assertEqual(self.snap(one, tags=tags), failed(1))
            self.assertIn("is reserved", self.error(one))
        for tags in ("Key=a", "a=b", "Key=a,Value=b,c", "Key=a,Value=b|c", "Key=a,Value=ä"):
            self.assertEqual(self.snap(one, tags=tags), failed(1))
        for names in (("NoWriters", "SaveVssMetadata"), ("CreateAmi",)):
            self.assertEqual(self.snap(one, **dict.fromkeys(names, "True")), failed(1))
        self.assertEqual(self.made(), [])

    def test_it_fails(self) -> None:
        one = self.windows(fails=True, exit=7, times=1)
        self.assertEqual(self.snap(one), failed(7))
        self.assertEqual(self.made(), [])
        self.assertEqual(self.snap(one), SUCCESS)
        two = self.windows(exit=3, app_consistent="")
        control("POST", "age", {"days": 1})
        self.assertEqual(self.snap(two), failed(3))
        late = [s for s in self.made() if s["volume"] in two["volumes"].values()]
        self.assertEqual((len(late), {"AppConsistent" in s["tags"] for s in late}), (3, {False}))

    def test_a_volume_fails(self) -> None:
        one = self.windows()
        failing = one["volumes"]["/dev/sdf"]
        self.agent(one["id"], vss={"volumes_fail": [failing]})
        self.assertEqual(self.snap(one), SUCCESS)
        self.assertEqual({s["volume"] for s in self.made()}, set(one["volumes"].values()) - {failing})
        root = one["volumes"]["/dev/sda1"]
        self.agent(one["id"], vss={"volumes_fail": [root, failing], "error": True})
        self.assertEqual(self.snap(one), SUCCESS)
        self.assertEqual({s["volume"] for s in self.made() if s["state"] == "error"}, {root, failing})
        self.assertEqual(len(self.made()), 5)
        two = self.windows()
        self.agent(two["id"], vss={"volumes_fail": [two["volumes"]["/dev/sda1"]]})
        self.assertEqual(self.snap(two), SUCCESS)
        made = {s["tags"]["Device"] for s in self.made() if s["volume"] in two["volumes"].values()}
        self.assertEqual(made, {"/dev/sdf", "/dev/sdg"})

    def test_not_consistent_and_not_tagged(self) -> None:
        one = self.windows(app_consistent=False)
        self.assertEqual(self.snap(one), SUCCESS)
        self.assertEqual({s["tags"]["AppConsistent"] for s in self.made()}, {"False"})
        control("POST", "age", {"days": 1})
        two = self.windows(untagged=True)
        self.assertEqual(self.snap(two, tags="Key=a,Value=b"), SUCCESS)
        self.assertEqual([s["tags"] for s in self.made()].count({}), 3)

    def test_components_are_installed_first(self) -> None:
        one = self.windows(installed=False)
        self.assertEqual(self.snap(one), failed(1))
        self.assertFalse(self.seen(one["id"])["vss"]["installed"])
        self.assertEqual(self.snap(one, INSTALL), SUCCESS)
        self.assertTrue(self.seen(one["id"])["vss"]["installed"])
        plugins = self.ssm.list_command_invocations(InstanceId=one["id"], Details=True)
        names = [p["Name"] for p in plugins["CommandInvocations"][0]["CommandPlugins"]]
        self.assertEqual(names[-1], "CreateVssSnapshot")
        for action, outcome in (("Uninstall", failed(1)), ("Install", SUCCESS)):
            done = self.snap(one, "AWS-ConfigureAWSPackage", action=action, name="AwsVssComponents")
            self.assertEqual(done, SUCCESS)
            self.assertEqual(self.snap(one), outcome)

    def test_in_the_role_of_its_profile(self) -> None:
        bare = self.windows(profile=None)
        self.assertEqual(self.snap(bare), failed(1))
        self.assertIn("no profile", self.error(bare))
        control("POST", "config", {"identity_policies": True})
        one, iam = self.windows(), client("iam")
        for left_out, text in ((None, ""), *((n, "UnauthorizedOperation") for n in range(len(POLICY)))):
            with self.subTest(left_out=left_out):
                rows = [s for n, s in enumerate(POLICY) if n != left_out]
                document = json.dumps({"Version": "2012-10-17", "Statement": rows})
                iam.put_role_policy(RoleName="windows", PolicyName="vss", PolicyDocument=document)
                control("DELETE", "calls")
                self.assertEqual(self.snap(one), failed(1) if text else SUCCESS)
                self.assertIn(text, self.error(one))
                calls = control("GET", "calls?service=ec2&action=CreateSnapshots")["calls"]
                arn = f"arn:aws:iam::{MEMBER}:role/windows"
                self.assertEqual([(c["role"], c["region"]) for c in calls], [(arn, REGION)])
        self.assertFalse(self.seen(one["id"])["frozen"])

    def test_faults_hit_its_calls(self) -> None:
        one = self.windows()
        fault = {"action": "CreateSnapshots", "code": "RequestLimitExceeded", "times": 1}
        control("POST", "faults", fault)
        self.assertEqual(self.snap(one), failed(1))
        self.assertIn("RequestLimitExceeded", self.error(one))
        self.assertEqual(self.seen(one["id"])["thaws"], 1)
