"""What the policies of a role let its sessions do, where that is asked."""

from __future__ import annotations

import json

from .support import CENTRAL, MEMBER, OTHER, REGION, VAULT, Case, client, control, tags

MINE = {"managed": "yes"}


class Identity(Case):
    def session(
        self, *statements: dict, region: str = REGION, managed: bool = False, service: str = "ec2"
    ) -> object:
        """A client with a role that has just these statements."""
        iam, name = client("iam"), f"r{len(client('iam').list_roles()['Roles'])}"
        trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": CENTRAL}}
        arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps({"Statement": [trust]}))
        allowed = [{"Effect": "Allow", **s} for s in statements]
        document = json.dumps({"Version": "2012-10-17", "Statement": allowed})
        if managed:
            policy = iam.create_policy(PolicyName=name, PolicyDocument=document)["Policy"]["Arn"]
            iam.attach_role_policy(RoleName=name, PolicyArn=policy)
        elif statements:
            iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=document)
        assumed = {"RoleArn": arn["Role"]["Arn"], "RoleSessionName": "s1"}
        c = client("sts", CENTRAL).assume_role(**assumed)["Credentials"]
        control("POST", "config", {"identity_policies": True})
        token = c["SessionToken"]
        return client(service, c["AccessKeyId"], region, secret=c["SecretAccessKey"], aws_session_token=token)

    def denied(self, wanted: str, call: object, **arguments: object) -> None:
        message = self.refused("UnauthorizedOperation", call, **arguments)
        action, _, resource = wanted.partition(" ")
        self.assertIn(f"perform: ec2:{action} on resource: {resource}", message)

    def test_only_where_asked_and_for_roles(self) -> None:
        role = self.session()
        self.denied("DescribeSnapshots *", role.describe_snapshots)
        self.ec2.describe_snapshots()
        control("POST", "config", {"identity_policies": False})
        role.describe_snapshots()
        role = self.session({"Action": "ec2:Describe*", "Resource": "*"}, managed=True)
        role.describe_snapshots()
        role.describe_instances()
        role.describe_fast_snapshot_restores()
        self.denied("DeleteSnapshot arn:aws:ec2:", role.delete_snapshot, SnapshotId=self.snapshot())

    def test_create_snapshots(self) -> None:
        made = {"StringEquals": {"aws:RequestTag/managed": "yes"}}
        instance = {"Action": "ec2:CreateSnapshots", "Resource": f"arn:aws:ec2:*:{MEMBER}:instance/*"}
        volume = {
            "Action": "ec2:CreateSnapshots",
            "Resource": f"arn:aws:ec2:*:{MEMBER}:volume/*",
            "Condition": {"StringEquals": {"aws:ResourceTag/backup": "daily"}},
        }
        new = {"Action": "ec2:CreateSnapshots", "Resource": "arn:aws:ec2:*::snapshot/*", "Condition": made}
        tag = {
            "Action": "ec2:CreateTags",
            "Resource": "arn:aws:ec2:*::snapshot/*",
            "Condition": {
                "StringEquals": {"ec2:CreateAction": "CreateSnapshots"},
                "ForAllValues:StringEquals": {"aws:TagKeys": ["managed", "x"]},
            },
        }
        one = self.instance([{"tags": {"backup": "daily"}}, {}], root=None)
        wanted = {
            "InstanceSpecification": {
                "InstanceId": one["id"],
                "ExcludeDataVolumeIds": [one["volumes"]["/dev/sdg"]],
            },
            "TagSpecifications": tags(**MINE),
        }
        whole = self.session(instance, volume, new, tag).create_snapshots
        whole(**wanted)
        snapshots = f"arn:aws:ec2:{REGION}::snapshot/*"
        self.denied(f"CreateSnapshots {snapshots}", whole, **{**wanted, "TagSpecifications": tags(x="1")})
        self.denied(
            f"CreateTags {snapshots}", whole, **{**wanted, "TagSpecifications": tags(**MINE, other="1")}
        )
        own = {**wanted, "InstanceSpecification": {"InstanceId": one["id"]}}
        bare = one["volumes"]["/dev/sdg"]
        self.denied(f"CreateSnapshots arn:aws:ec2:{REGION}:{MEMBER}:volume/{bare}", whole, **own)
        for left, denied in (
            ((volume, new, tag), f"CreateSnapshots arn:aws:ec2:{REGION}:{MEMBER}:instance/{one['id']}"),
            ((instance, new, tag), f"CreateSnapshots arn:aws:ec2:{REGION}:{MEMBER}:volume/"),
            ((instance, volume, tag), f"CreateSnapshots {snapshots}"),
            ((instance, volume, new), f"CreateTags {snapshots}"),
        ):
            self.denied(denied, self.session(*left).create_snapshots, **wanted)
        self.assertEqual(len(control("GET", "snapshots")), 1)

    def test_copy_snapshot(self) -> None:
        source = self.snapshot(TagSpecifications=tags(**MINE))
        read = {
            "Action": "ec2:CopySnapshot",
            "Resource": "arn:aws:ec2:*::snapshot/snap-*",
            "Condition": {"StringEquals": {"ec2:Owner": "${aws:PrincipalAccount}"}},
        }
        make = {
            "Action": "ec2:CopySnapshot",
            "Resource": "arn:aws:ec2:*::snapshot/${*}",
            "Condition": {"StringEquals": {"aws:RequestTag/managed": "yes"}},
        }
        tag = {
            "Action": "ec2:CreateTags",
            "Resource": "arn:aws:ec2:*::snapshot/*",
            "Condition": {"StringEquals": {"ec2:CreateAction": "CopySnapshot"}},
        }
        wanted = {"SourceRegion": REGION, "SourceSnapshotId": source, "TagSpecifications": tags(**MINE)}
        self.session(read, make, tag, region=OTHER).copy_snapshot(**wanted)
        theirs = {**read, "Condition": {"StringEquals": {"ec2:Owner": VAULT}}}
        tagged = {**read, "Condition": {"StringEquals": {"aws:ResourceTag/managed": "yes"}}}
        single = {**make, "Resource": "arn:aws:ec2:*::snapshot/*"}  # not for the source: it has no such tag
        old, new = f"arn:aws:ec2:{REGION}::snapshot/{source}", f"arn:aws:ec2:{OTHER}::snapshot/*"
        for statements, denied in (
            ((make, tag), f"CopySnapshot {old}"),
            ((theirs, make, tag), f"CopySnapshot {old}"),
            ((tagged, make, tag), f"CopySnapshot {old}"),
            ((single, tag), f"CopySnapshot {old}"),
            ((read, tag), f"CopySnapshot {new}"),
            ((read, make), f"CreateTags {new}"),
        ):
            with self.subTest(denied=denied):
                self.denied(denied, self.session(*statements, region=OTHER).copy_snapshot, **wanted)

    def test_one_snapshot(self) -> None:
        mine, other = self.snapshot(TagSpecifications=tags(**MINE)), self.snapshot()
        zones = {"AvailabilityZones": [f"{REGION}a"]}
        calls = {
            "LockSnapshot": ("lock_snapshot", {"LockMode": "governance", "LockDuration": 3}),
            "UnlockSnapshot": ("unlock_snapshot", {}),
            "EnableFastSnapshotRestores": ("enable_fast_snapshot_restores", zones),
            "DisableFastSnapshotRestores": ("disable_fast_snapshot_restores", zones),
            "ModifySnapshotTier": ("modify_snapshot_tier", {}),
            "CreateTags": ("create_tags", {"Tags": [{"Key": "a", "Value": "b"}]}),
            "DeleteTags": ("delete_tags", {"Tags": [{"Key": "a"}]}),
            "DeleteSnapshot": ("delete_snapshot", {}),
        }
        names = {"FastSnapshotRestores": "SourceSnapshotIds", "Tags": "Resources"}
        condition = {"StringEquals": {"aws:ResourceTag/managed": "yes"}}
        on = {"Resource": "arn:aws:ec2:*::snapshot/*", "Condition": condition}
        role = self.session({"Action": [f"ec2:{a}" for a in calls], **on})
        for action, (method, more) in calls.items():
            key = next((n for end, n in names.items() if action.endswith(end)), "SnapshotId")
            for snapshot, allowed in ((other, False), (mine, True)):
                with self.subTest(action=action, allowed=allowed):
                    arguments = {key: snapshot if key == "SnapshotId" else [snapshot], **more}
                    if allowed:
                        getattr(role, method)(**arguments)
                    else:
                        arn = f"arn:aws:ec2:{REGION}::snapshot/{snapshot}"
                        self.denied(f"{action} {arn}", getattr(role, method), **arguments)

    def test_values(self) -> None:
        snapshot, on = self.snapshot(), {"Resource": "arn:aws:ec2:*::snapshot/*"}
        short = {"NumericLessThanEquals": {"ec2:SnapshotLockDuration": "7"}}
        to = {"StringEquals": {"ec2:Add/userId": [VAULT]}}
        back = {"StringEquals": {"ec2:Remove/userId": [VAULT]}}
        long = {"NumericGreaterThan": {"ec2:SnapshotLockDuration": "7"}}
        others = {
            "StringNotEquals": {"ec2:Add/userId": VAULT},
            "Null": {"ec2:Add/userId": "false"},
        }
        role = self.session(
            {"Action": "ec2:LockSnapshot", **on, "Condition": short},
            {"Action": "ec2:ModifySnapshotAttribute", **on, "Condition": to},
            {"Action": "ec2:ModifySnapshotAttribute", **on, "Condition": back},
            {"Action": "ec2:*", "Resource": "*"},
            {"Effect": "Deny", "Action": "ec2:LockSnapshot", "Resource": "*", "Condition": long},
            {"Effect": "Deny", "Action": "ec2:ModifySnapshotAttribute", "Resource": "*", "Condition": others},
        )
        lock = {"SnapshotId": snapshot, "LockMode": "governance"}
        role.lock_snapshot(**lock, LockDuration=7)
        self.denied("LockSnapshot", role.lock_snapshot, **lock, LockDuration=8)
        attribute = {"SnapshotId": snapshot, "Attribute": "createVolumePermission"}
        add = {**attribute, "OperationType": "add"}
        role.modify_snapshot_attribute(**add, UserIds=[VAULT])
        call = role.modify_snapshot_attribute
        self.denied("ModifySnapshotAttribute", call, **add, UserIds=[VAULT, CENTRAL])
        permission = {"Add": [{"UserId": CENTRAL}]}
        self.denied("ModifySnapshotAttribute", call, **attribute, CreateVolumePermission=permission)
        call(**attribute, OperationType="remove", UserIds=[VAULT, CENTRAL])

    def test_keys_for_ec2(self) -> None:
        """A role needs permission for its own account's keys, too; EC2 says so only later."""
        source_key, key = self.key(), self.key(region=OTHER)
        source = self.snapshot(self.volume(kms_key=source_key))
        copy = {"Action": ["ec2:CopySnapshot"], "Resource": "*"}
        via = {"StringLike": {"kms:ViaService": "ec2.*"}}
        for_aws = {"Bool": {"kms:GrantIsForAWSResource": "true"}}
        grant = {"Action": "kms:CreateGrant", "Resource": [source_key, key], "Condition": {**via, **for_aws}}
        read = {"Action": ["kms:Decrypt", "kms:ReEncryptFrom"], "Resource": source_key, "Condition": via}
        makes = ["kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncryptTo"]
        write = {"Action": makes, "Resource": key, "Condition": via}

        def state_of_copy(*statements: dict, **more: object) -> str:
            role = self.session(copy, *statements, region=OTHER)
            made = role.copy_snapshot(SourceRegion=REGION, SourceSnapshotId=source, Encrypted=True, **more)
            return self.described(made["SnapshotId"], client("ec2", MEMBER, OTHER))["State"]

        self.assertEqual(state_of_copy(grant, read, write, KmsKeyId=key), "completed")
        self.assertEqual(state_of_copy(grant, read, KmsKeyId=key), "error")
        self.assertEqual(state_of_copy(grant, write, KmsKeyId=key), "error")
        self.assertEqual(state_of_copy(read, write, KmsKeyId=key), "error")
        own = {**grant, "Resource": source_key}
        self.assertEqual(state_of_copy(own, read, write, KmsKeyId=key), "error")
        self.assertEqual(state_of_copy(own, read), "completed", "aws/ebs leaves it to EC2")
        kms = self.session({"Action": "kms:DescribeKey", "Resource": key}, region=OTHER, service="kms")
        kms.describe_key(KeyId=key)
        kms = self.session(service="kms")
        message = self.refused("AccessDeniedException", kms.describe_key, KeyId=source_key)
        self.assertIn(f"on resource: {source_key} because no identity-based policy allows", message)

    def test_assume_role(self) -> None:
        iam = client("iam")
        trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": f"{MEMBER}"}}
        document = json.dumps({"Statement": [trust]})
        arns = [
            iam.create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]["Arn"]
            for name in ("reader", "other")
        ]
        here = {"StringEquals": {"aws:ResourceAccount": [MEMBER, VAULT]}}
        allowed = {"Action": "sts:AssumeRole", "Resource": "arn:aws:iam::*:role/reader", "Condition": here}
        sts = self.session(allowed, service="sts")
        sts.assume_role(RoleArn=arns[0], RoleSessionName="s2")
        message = self.refused("AccessDenied", sts.assume_role, RoleArn=arns[1], RoleSessionName="s2")
        self.assertIn(f"sts:AssumeRole on resource: {arns[1]} because no identity-based policy", message)
        there = {"StringEquals": {"aws:ResourceAccount": VAULT}}
        sts = self.session({**allowed, "Condition": there}, service="sts")
        self.refused("AccessDenied", sts.assume_role, RoleArn=arns[0], RoleSessionName="s2")
