"""What the record of functions' calls proves, and what services beside EC2 ask the policies of roles."""

from __future__ import annotations

import json

from .support import CENTRAL, MEMBER, REGION, VAULT, Case, client, control, tags

TRUST = {"Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "*"}}]}


def function(service: str, key: str = CENTRAL, region: str = REGION, **more: object) -> object:
    """A client whose calls are those of a function."""
    return client(service, key, region, agent="exec-env/rotate", **more)


def role(name: str, *statements: dict, account: str = MEMBER) -> str:
    """A role that everybody may assume, with just these statements; its ARN."""
    iam = client("iam", account)
    made = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"]
    if statements:
        document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **s} for s in statements]}
        iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=json.dumps(document))
    return made


def assumed(sts: object, arn: str, service: str, make: object = client) -> object:
    c = sts.assume_role(RoleArn=arn, RoleSessionName="s1")["Credentials"]
    secret = {"secret": c["SecretAccessKey"], "aws_session_token": c["SessionToken"]}
    return make(service, c["AccessKeyId"], **secret)


def prove(**statements: list[dict]) -> dict:
    """`rotate`: its own policy, `member`: that of the role it assumes. The Sid of a statement is its number."""
    policies = {
        name: {"Statement": [{"Effect": "Allow", "Sid": str(n), **s} for n, s in enumerate(given)]}
        for name, given in statements.items()
    }
    actors = {"rotate": ["rotate"], "rotate as member": ["member"]}
    return control("POST", "proof", {"policies": policies, "actors": actors})


class Proof(Case):
    def test_calls_of_functions_are_held_against_policies(self) -> None:
        volume, ec2 = self.volume(), assumed(function("sts"), role("member"), "ec2", function)
        mine = ec2.create_snapshot(VolumeId=volume, TagSpecifications=tags(ours="yes"))["SnapshotId"]
        ec2.delete_snapshot(SnapshotId=mine)  # its tags are known from before
        self.ec2.describe_volumes()  # nobody's but the test's
        assume = {"Action": "sts:AssumeRole", "Resource": "arn:aws:iam::*:role/member"}
        snapshots = "arn:aws:ec2:*::snapshot/*"
        create = {"Action": "ec2:CreateSnapshot", "Resource": ["arn:aws:ec2:*:*:volume/*", snapshots]}
        created = {"StringEquals": {"ec2:CreateAction": "CreateSnapshot"}}
        tag = {"Action": "ec2:CreateTags", "Resource": snapshots, "Condition": created}
        ours = {"StringEquals": {"aws:ResourceTag/ours": "yes"}}
        delete = {"Action": ["ec2:DeleteSnapshot", "ec2:LockSnapshot"], "Resource": "*", "Condition": ours}
        found = prove(rotate=[assume], member=[create, tag, delete])
        self.assertEqual(found["refused"], [])
        rows = {name: (r["calls"], r["needs"], r["allowed"]) for name, r in found["actors"].items()}
        self.assertEqual(rows, {"rotate": (1, 1, 1), "rotate as member": (2, 4, 4)})
        alone = {name: s["alone"] for name, s in found["statements"].items()}
        self.assertEqual(alone, {"rotate/0": 1, "member/0": 2, "member/1": 1, "member/2": 1})
        actions = found["statements"]["member/2"]["actions"]
        self.assertEqual(actions, {"ec2:DeleteSnapshot": 1, "ec2:LockSnapshot": 0})

        found = prove(rotate=[assume], member=[create, create, tag])
        self.assertEqual([r["action"] for r in found["refused"]], ["ec2:DeleteSnapshot"])
        self.assertEqual(found["statements"]["member/0"]["alone"], 0, "there are two of it")
        everything = {"Action": "*", "Resource": "*"}
        never = {"Effect": "Deny", "Action": "ec2:DeleteSnapshot", "Resource": "*", "Condition": ours}
        found = prove(rotate=[everything], member=[everything, never])
        self.assertEqual([r["action"] for r in found["refused"]], ["ec2:DeleteSnapshot"])
        found = prove(rotate=[], member=[everything])
        self.assertEqual([r["action"] for r in found["refused"]], ["sts:AssumeRole"])

    def test_what_failed_needs_nothing(self) -> None:
        ec2 = function("ec2")
        self.refused("InvalidSnapshot.NotFound", ec2.delete_snapshot, SnapshotId="snap-0123456789abcdef0")
        fault = {"action": "DescribeVolumes", "code": "RequestLimitExceeded"}
        control("POST", "faults", {**fault, "times": 1})
        self.refused("RequestLimitExceeded", ec2.describe_volumes)
        self.assertEqual(prove(rotate=[])["actors"], {})
        control("POST", "faults", {**fault, "after": True, "times": 1})
        self.refused("RequestLimitExceeded", ec2.describe_volumes)  # but it took effect
        self.assertEqual(prove(rotate=[])["actors"]["rotate"]["needs"], 1)
        control("POST", "reset")
        self.assertEqual(prove(rotate=[])["actors"], {})

    def test_a_role_given_to_a_function_is_its_own(self) -> None:
        assumed(client("sts", CENTRAL), role("lambda"), "ec2", function).describe_volumes()
        self.assertEqual(list(prove(rotate=[])["actors"]), ["rotate"])

    def test_get_caller_identity_needs_nothing(self) -> None:
        function("sts").get_caller_identity()
        row = prove(rotate=[])["actors"]["rotate"]
        self.assertEqual((row["calls"], row["needs"]), (1, 0))


class Services(Case):
    def session(self, service: str, *statements: dict, account: str = MEMBER) -> object:
        name = f"r{len(client('iam', account).list_roles()['Roles'])}"
        arn = role(name, *statements, account=account)
        control("POST", "config", {"identity_policies": True})
        return assumed(client("sts", account), arn, service)

    def test_parameters(self) -> None:
        keys = {name: self.key() for name in ("ours", "theirs")}
        ssm = client("ssm")
        for name, more in (("plain", {}), ("aws", {}), *((n, {"KeyId": k}) for n, k in keys.items())):
            kind = "String" if name == "plain" else "SecureString"
            ssm.put_parameter(Name=f"/p/{name}/x", Value="x", Type=kind, **more)
        below = f"arn:aws:ssm:{REGION}:{MEMBER}:parameter/p/*"
        path = {"Action": "ssm:GetParametersByPath", "Resource": below}
        through = {"kms:ViaService": "ssm.*", "kms:EncryptionContext:PARAMETER_ARN": below}
        decrypt = {"Action": "kms:Decrypt", "Resource": keys["ours"], "Condition": {"StringLike": through}}
        get = self.session("ssm", path, decrypt).get_parameters_by_path
        for name in ("plain", "aws", "ours"):
            self.assertEqual(len(get(Path=f"/p/{name}/", WithDecryption=True)["Parameters"]), 1)
        self.refused("AccessDeniedException", get, Path="/p/theirs/", WithDecryption=True)
        get(Path="/p/theirs/", WithDecryption=False)
        self.assertIn("parameter/q", self.refused("AccessDeniedException", get, Path="/q"))
        self.refused("AccessDeniedException", get, Path="/p")  # as it was asked for
        get = self.session("ssm", path).get_parameters_by_path
        self.refused("AccessDeniedException", get, Path="/p/ours/", WithDecryption=True)

    def test_keys(self) -> None:
        key = self.key()
        via = {"StringLike": {"kms:ViaService": "ec2.*"}}
        for_aws = {"Bool": {"kms:GrantIsForAWSResource": "true"}}
        grant = {"KeyId": key, "GranteePrincipal": VAULT, "Operations": ["Decrypt"]}
        for condition, is_for_all in ((via, False), (for_aws, False), ({}, True)):
            kms = self.session("kms", {"Action": "kms:*", "Resource": key, "Condition": condition})
            if is_for_all:
                kms.create_grant(**grant)
                kms.disable_key(KeyId=key)
            else:
                self.refused("AccessDeniedException", kms.create_grant, **grant)
                self.refused("AccessDeniedException", kms.disable_key, KeyId=key)

    def test_organizations(self) -> None:
        organizations = client("organizations", CENTRAL)
        organization = organizations.create_organization(FeatureSet="ALL")["Organization"]["Id"]
        member = organizations.create_account(AccountName="m", Email="m@example.com")
        member = member["CreateAccountStatus"]["AccountId"]
        root = organizations.list_roots()["Roots"][0]
        unit = organizations.create_organizational_unit(ParentId=root["Id"], Name="u")["OrganizationalUnit"]
        wanted = ["organizations:ListAccountsForParent", "organizations:ListOrganizationalUnitsForParent"]
        lists = self.session("organizations", {"Action": wanted, "Resource": unit["Arn"]}, account=CENTRAL)
        lists.list_accounts_for_parent(ParentId=unit["Id"])
        lists.list_organizational_units_for_parent(ParentId=unit["Id"])
        refused = self.refused("AccessDeniedException", lists.list_accounts_for_parent, ParentId=root["Id"])
        self.assertIn(f"on resource: {root['Arn']}", refused)
        self.refused("AccessDeniedException", lists.list_accounts)

        inside = {"StringEquals": {"aws:ResourceOrgID": organization}}
        sts = self.session(
            "sts", {"Action": "sts:AssumeRole", "Resource": "*", "Condition": inside}, account=CENTRAL
        )
        sts.assume_role(RoleArn=role("x", account=member), RoleSessionName="s2")
        outside = role("x", account=VAULT)
        self.refused("AccessDenied", sts.assume_role, RoleArn=outside, RoleSessionName="s2")
        ours = {**TRUST["Statement"][0], "Condition": {"StringEquals": {"aws:PrincipalOrgID": organization}}}
        trust = json.dumps({"Version": "2012-10-17", "Statement": [ours]})
        client("iam", VAULT).update_assume_role_policy(RoleName="x", PolicyDocument=trust)
        client("sts", member).assume_role(RoleArn=outside, RoleSessionName="s2")
        self.refused(
            "AccessDenied", client("sts", VAULT).assume_role, RoleArn=outside, RoleSessionName="s2"
        )

    def test_everything_else_by_its_name(self) -> None:
        iam = self.session("iam", {"Action": "iam:List*", "Resource": "*"})
        iam.list_roles()
        message = self.refused("AccessDenied", iam.get_role, RoleName="r0")
        self.assertIn("iam:GetRole on resource: *", message)
