"""Who calls, in which account and Region; keys and parameters."""

from __future__ import annotations

import json

from botocore.exceptions import ClientError

from .support import CENTRAL, MEMBER, OTHER, REGION, VAULT, Case, client, control


class Roles(Case):
    def trust(self, **statement: object) -> str:
        document = {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", **statement}],
        }
        role = client("iam").create_role(
            RoleName=f"r{id(statement)}", AssumeRolePolicyDocument=json.dumps(document)
        )
        return role["Role"]["Arn"]

    def assume(self, arn: str, account: str = CENTRAL, **more: str) -> dict:
        return client("sts", account).assume_role(RoleArn=arn, RoleSessionName="session", **more)

    def with_session(self, service: str, answer: dict, region: str = REGION) -> object:
        c = answer["Credentials"]
        return client(
            service,
            c["AccessKeyId"],
            region,
            secret=c["SecretAccessKey"],
            aws_session_token=c["SessionToken"],
        )

    def test_acts_in_the_roles_account(self) -> None:
        arn = self.trust(Principal={"AWS": f"arn:aws:iam::{CENTRAL}:root"})
        answer = self.assume(arn)
        self.assertEqual(
            answer["AssumedRoleUser"]["Arn"],
            f"arn:aws:sts::{MEMBER}:assumed-role/{arn.split('/')[-1]}/session",
        )
        self.assertEqual(self.with_session("sts", answer).get_caller_identity()["Account"], MEMBER)
        volume = self.volume()
        seen = self.with_session("ec2", answer).describe_volumes()["Volumes"]
        self.assertEqual([v["VolumeId"] for v in seen], [volume])
        self.with_session("kms", answer).create_key()
        self.assertEqual(len(client("kms").list_keys()["Keys"]), 1)
        roles = {c["role"] for c in control("GET", f"calls?account={MEMBER}&action=DescribeVolumes")["calls"]}
        self.assertEqual(roles, {arn})

    def test_refusals(self) -> None:
        ghost = f"arn:aws:iam::{MEMBER}:role/ghost"
        message = self.refused("AccessDenied", self.assume, arn=ghost)
        self.assertEqual(
            message,
            f"User: arn:aws:iam::{CENTRAL}:root is not authorized to perform: sts:AssumeRole "
            f"on resource: {ghost}",
        )
        other = self.trust(Principal={"AWS": VAULT})
        self.refused("AccessDenied", self.assume, arn=other)
        self.assume(other, VAULT)
        strict = self.trust(Principal={"AWS": CENTRAL}, Condition={"StringEquals": {"sts:ExternalId": "e-1"}})
        self.refused("AccessDenied", self.assume, arn=strict)
        self.refused("AccessDenied", self.assume, arn=strict, ExternalId="e-2")
        self.assume(strict, ExternalId="e-1")
        self.refused(
            "AccessDenied", self.assume, arn=self.trust(Principal={"Service": "lambda.amazonaws.com"})
        )
        self.assume(self.trust(Principal="*"))

    def test_chains_by_role_arn(self) -> None:
        first = self.trust(Principal={"AWS": CENTRAL})
        second = self.trust(Principal={"AWS": first})
        self.refused("AccessDenied", self.assume, arn=second)
        chained = self.with_session("sts", self.assume(first)).assume_role(
            RoleArn=second, RoleSessionName="s2"
        )
        self.assertIn("/s2", chained["AssumedRoleUser"]["Arn"])

    def test_unknown_session(self) -> None:
        self.refused("AuthFailure", client("ec2", "ASIAXXXXXXXXXXXXXXXX").describe_volumes)
        self.refused("UnrecognizedClientException", client("kms", "ASIAXXXXXXXXXXXXXXXX").list_keys)
        self.refused("InvalidClientTokenId", client("sts", "ASIAXXXXXXXXXXXXXXXX").get_caller_identity)


class Regions(Case):
    def test_disabled(self) -> None:
        there = client("ec2", MEMBER, OTHER)
        control("POST", "regions", {"account": MEMBER, "region": OTHER, "code": "AuthFailure"})
        self.refused("AuthFailure", there.describe_snapshots)
        control("POST", "regions", {"account": MEMBER, "region": OTHER, "code": "OptInRequired"})
        self.refused("OptInRequired", there.describe_volumes)
        client("ec2", VAULT, OTHER).describe_volumes()
        names = [r["RegionName"] for r in self.ec2.describe_regions()["Regions"]]
        self.assertIn(REGION, names)
        self.assertNotIn(OTHER, names)
        control("POST", "regions", {"account": MEMBER, "region": OTHER, "enabled": True})
        there.describe_volumes()

    def test_are_apart(self) -> None:
        self.volume()
        self.assertEqual(client("ec2", MEMBER, OTHER).describe_volumes()["Volumes"], [])
        self.assertEqual(self.vault.describe_volumes()["Volumes"], [])


class Keys(Case):
    def test_by_every_name(self) -> None:
        kms, arn = client("kms"), self.key()
        kms.create_alias(AliasName="alias/mine", TargetKeyId=arn)
        for name in (arn, arn.split("/")[1], "alias/mine", f"arn:aws:kms:{REGION}:{MEMBER}:alias/mine"):
            shown = kms.describe_key(KeyId=name)["KeyMetadata"]
            self.assertEqual(
                (shown["Arn"], shown["KeyState"], shown["KeyUsage"], shown["KeyManager"]),
                (arn, "Enabled", "ENCRYPT_DECRYPT", "CUSTOMER"),
            )
        kms.disable_key(KeyId=arn)
        self.assertEqual(client("kms", VAULT).describe_key(KeyId=arn)["KeyMetadata"]["KeyState"], "Disabled")
        kms.enable_key(KeyId=arn)
        kms.schedule_key_deletion(KeyId=arn, PendingWindowInDays=7)
        self.assertEqual(kms.describe_key(KeyId="alias/mine")["KeyMetadata"]["KeyState"], "PendingDeletion")
        kms.cancel_key_deletion(KeyId=arn)
        self.assertEqual(kms.describe_key(KeyId=arn)["KeyMetadata"]["KeyState"], "Disabled")

    def test_others(self) -> None:
        kms = client("kms")
        self.assertEqual(kms.describe_key(KeyId="alias/aws/ebs")["KeyMetadata"]["KeyManager"], "AWS")
        signing = self.key(KeyUsage="SIGN_VERIFY", KeySpec="RSA_2048")
        self.assertEqual(kms.describe_key(KeyId=signing)["KeyMetadata"]["KeyUsage"], "SIGN_VERIFY")
        ghost = "11111111-2222-3333-4444-555555555555"
        for name in (
            ghost,
            f"arn:aws:kms:{REGION}:{MEMBER}:key/{ghost}",
            f"arn:aws:kms:{REGION}:{VAULT}:key/{ghost}",
            "alias/ghost",
        ):
            self.refused("NotFoundException", kms.describe_key, KeyId=name)
        self.refused("NotFoundException", client("kms", MEMBER, OTHER).describe_key, KeyId=signing)

    def test_default_encryption(self) -> None:
        self.assertFalse(self.ec2.get_ebs_encryption_by_default()["EbsEncryptionByDefault"])
        self.ec2.enable_ebs_encryption_by_default()
        self.assertTrue(self.ec2.get_ebs_encryption_by_default()["EbsEncryptionByDefault"])
        made = self.ec2.create_volume(Size=1, AvailabilityZone=f"{REGION}a")["VolumeId"]
        shown = self.ec2.describe_volumes(VolumeIds=[made])["Volumes"][0]
        self.assertEqual(
            (shown["Encrypted"], shown["KmsKeyId"]), (True, self.ec2.get_ebs_default_kms_key_id()["KmsKeyId"])
        )
        mine = self.key()
        self.ec2.modify_ebs_default_kms_key_id(KmsKeyId=mine)
        self.assertEqual(self.ec2.get_ebs_default_kms_key_id()["KmsKeyId"], mine)
        self.assertNotEqual(self.ec2.reset_ebs_default_kms_key_id()["KmsKeyId"], mine)


class Services(Case):
    def test_parameters_page(self) -> None:
        ssm = client("ssm")
        for i in range(23):
            ssm.put_parameter(
                Name=f"/snapferry/p{i:02}", Value=f"v{i}", Type="SecureString" if i % 2 else "String"
            )
        ssm.put_parameter(Name="/other/p", Value="v", Type="String")
        found, token, pages = [], {}, 0
        while True:
            answer = ssm.get_parameters_by_path(
                Path="/snapferry/", Recursive=True, WithDecryption=True, MaxResults=10, **token
            )
            found += [(p["Name"], p["Value"]) for p in answer["Parameters"]]
            pages += 1
            if not answer.get("NextToken"):
                break
            token = {"NextToken": answer["NextToken"]}
        self.assertEqual((pages, len(found)), (3, 23))
        self.assertIn(("/snapferry/p01", "v1"), found)
        hidden = ssm.get_parameter(Name="/snapferry/p01")["Parameter"]["Value"]
        self.assertNotEqual(hidden, "v1")

    def test_the_others_answer(self) -> None:
        client("cloudwatch").put_metric_data(
            Namespace="Snapferry", MetricData=[{"MetricName": "m", "Value": 1}]
        )
        self.assertEqual(
            client("cloudwatch").list_metrics(Namespace="Snapferry")["Metrics"][0]["MetricName"], "m"
        )
        client("organizations").create_organization(FeatureSet="ALL")
        self.assertEqual(len(client("organizations").list_accounts()["Accounts"]), 1)
        client("scheduler").create_schedule(
            Name="s",
            ScheduleExpression="rate(1 hour)",
            FlexibleTimeWindow={"Mode": "OFF"},
            Target={
                "Arn": f"arn:aws:lambda:{REGION}:{MEMBER}:function:f",
                "RoleArn": f"arn:aws:iam::{MEMBER}:role/r",
            },
        )
        self.assertEqual(client("scheduler").get_schedule(Name="s")["Name"], "s")
        self.assertEqual(client("lambda").list_functions()["Functions"], [])
        self.refused("InvalidAction", client("ec2").list_snapshots_in_recycle_bin)


class Organization(Case):
    def test_units(self) -> None:
        ids = [f"{number:012}" for number in range(1, 26)]
        units = {
            "r-ab12": {"accounts": ["999999999999"], "units": ["ou-ab12-cd34ef56"]},
            "ou-ab12-cd34ef56": {"accounts": ids, "suspended": ["555555555555"]},
        }
        control("POST", "organization", {"account": VAULT, "units": units})
        organizations = client("organizations", VAULT)
        below = organizations.list_organizational_units_for_parent(ParentId="r-ab12")
        self.assertEqual([unit["Id"] for unit in below["OrganizationalUnits"]], ["ou-ab12-cd34ef56"])
        pages = organizations.get_paginator("list_accounts_for_parent")
        pages = list(pages.paginate(ParentId="ou-ab12-cd34ef56"))
        self.assertEqual([len(page["Accounts"]) for page in pages], [20, 6])
        states = {account["Id"]: account["State"] for page in pages for account in page["Accounts"]}
        self.assertEqual(states, {**dict.fromkeys(ids, "ACTIVE"), "555555555555": "SUSPENDED"})
        for account, unit, code in (
            (MEMBER, "r-ab12", "AccessDeniedException"),
            (VAULT, "r-cd34", "ParentNotFoundException"),
        ):
            with self.assertRaisesRegex(ClientError, code):
                client("organizations", account).list_accounts_for_parent(ParentId=unit)
        with self.assertRaisesRegex(ClientError, "InvalidInputException"):
            organizations.list_accounts_for_parent(ParentId="r-ab12", NextToken="x")
