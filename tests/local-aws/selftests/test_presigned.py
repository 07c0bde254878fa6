"""`PresignedUrl` of CopySnapshot: looked at when it is there, wanted where a knob says so."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any
from unittest.mock import patch

import botocore.auth
from botocore.handlers import inject_presigned_url_ec2

from .support import CENTRAL, MEMBER, OTHER, REGION, VAULT, Case, client, control, until

HOOK = "before-call.ec2.CopySnapshot"


class Presigned(Case):
    def setUp(self) -> None:
        super().setUp()
        self.plain = self.snapshot()
        self.encrypted = self.snapshot(self.volume(kms_key=self.key()))
        self.there = client("ec2", MEMBER, OTHER)  # boto3 makes the URL

    def bare(self, ec2: Any) -> Any:
        ec2.meta.events.unregister(HOOK, inject_presigned_url_ec2)
        return ec2

    def url(self, source: str, ec2: Any = None, **more: Any) -> str:
        """What boto3 makes."""
        (ec2 or self.there).copy_snapshot(SourceRegion=REGION, SourceSnapshotId=source, **more)
        return control("GET", "calls?action=CopySnapshot")["calls"][-1]["params"]["PresignedUrl"]

    def ended(self, source: str, ec2: Any = None, **more: Any) -> tuple[str, str]:
        ec2 = ec2 or self.there
        made = ec2.copy_snapshot(SourceRegion=REGION, SourceSnapshotId=source, **more)["SnapshotId"]
        shown = self.described(made, ec2)
        return shown["State"], shown.get("StateMessage", "")

    def invalid(self, why: str, url: str, source: str | None = None, ec2: Any = None, **more: Any) -> None:
        state, message = self.ended(source or self.encrypted, ec2, PresignedUrl=url, **more)
        self.assertEqual(state, "error", url)
        self.assertIn(f"PresignedUrl is invalid: {why}", message)

    def test_is_optional_unless_it_is_required(self) -> None:
        bare = self.bare(client("ec2", MEMBER, OTHER))
        for source in (self.plain, self.encrypted):
            self.assertEqual(self.ended(source, bare)[0], "completed")
        control("POST", "config", {"presigned_url": "required", "copy_seconds": 0.2})
        made = bare.copy_snapshot(SourceRegion=REGION, SourceSnapshotId=self.encrypted)["SnapshotId"]
        self.assertEqual(self.described(made, bare)["State"], "pending", "it fails later")
        until(lambda: self.described(made, bare)["State"] == "error")
        self.assertEqual(self.described(made, bare)["StateMessage"], "PresignedUrl is missing")
        told = [e["event"] for e in control("GET", "events")["events"] if e["region"] == OTHER][-1]
        self.assertEqual((told["detail"]["event"], told["detail"]["result"]), ("copySnapshot", "failed"))
        control("POST", "config", {"copy_seconds": 0})
        self.assertEqual(self.ended(self.plain, bare)[0], "completed")
        self.assertEqual(self.ended(self.encrypted)[0], "completed")

    def test_agrees_with_the_call(self) -> None:
        tags = [{"ResourceType": "snapshot", "Tags": [{"Key": "a b", "Value": "c+d&e=é"}]}]
        asked = {"Description": "100% *~", "TagSpecifications": tags, "CompletionDurationMinutes": 30}
        self.assertEqual(self.ended(self.encrypted, **asked)[0], "completed")
        right, of_plain = self.url(self.encrypted), self.url(self.plain)
        self.assertEqual(self.ended(self.encrypted, PresignedUrl=right)[0], "completed")
        self.invalid("SourceSnapshotId is ", of_plain)
        self.invalid("SourceSnapshotId is ", right, self.plain)  # one that is not needed has to be right, too
        self.invalid("DestinationRegion is ", self.url(self.encrypted, client("ec2", MEMBER, "eu-west-1")))
        self.invalid("DestinationRegion of the request", right, DestinationRegion="eu-west-1")
        self.invalid("Description is ", self.url(self.encrypted, Description="other"))
        for old, new, why in (
            ("Action=CopySnapshot", "Action=DeleteSnapshot", "Action is "),
            (f"SourceRegion={REGION}", f"SourceRegion={OTHER}", "SourceRegion is "),
            (f"SourceRegion={REGION}&", "", "SourceRegion is None"),
            (f"&DestinationRegion={OTHER}", "", "DestinationRegion is None"),
            (f"%2F{REGION}%2Fec2", f"%2F{OTHER}%2Fec2", "Region of the signature"),
            ("%2Fec2%2F", "%2Fs3%2F", "service of the signature"),
            (f"Credential={MEMBER}", f"Credential={VAULT}", "account is "),
            ("SignedHeaders=host", "SignedHeaders=host%3Bx", "signed headers"),
            ("X-Amz-Credential", "X-Amz-Other", "'X-Amz-Credential'"),
        ):
            with self.subTest(new=new):
                self.assertIn(old, right)
                self.invalid(why, right.replace(old, new))
        self.invalid("", "nonsense")

    def test_expires(self) -> None:
        now = botocore.auth.get_current_datetime()
        for minutes, state in ((-61, "error"), (-59, "completed"), (0, "completed"), (20, "error")):
            at = now + dt.timedelta(minutes=minutes)
            with patch("botocore.auth.get_current_datetime", lambda *_, at=at: at):
                self.assertEqual(self.ended(self.encrypted)[0], state, minutes)

    def test_is_signed_by_the_session(self) -> None:
        trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": CENTRAL}}
        document = json.dumps({"Statement": [trust]})
        role = client("iam").create_role(RoleName="r", AssumeRolePolicyDocument=document)["Role"]["Arn"]

        def session(secret: str = "", token: str = "") -> Any:
            made = client("sts", CENTRAL).assume_role(RoleArn=role, RoleSessionName="s1")["Credentials"]
            return client(
                "ec2",
                made["AccessKeyId"],
                OTHER,
                secret=secret or made["SecretAccessKey"],
                aws_session_token=token or made["SessionToken"],
            )

        self.assertEqual(self.ended(self.encrypted, session())[0], "completed")
        for ec2, why in ((session(secret="guessed"), "signature"), (session(token="guessed"), "session token")):
            state, message = self.ended(self.encrypted, ec2)
            self.assertEqual(state, "error")
            self.assertIn(f"PresignedUrl is invalid: {why} is ", message)
        forged = self.url(self.encrypted).replace(f"Credential={MEMBER}", "Credential=ASIAUNKNOWN")
        self.invalid("", forged)
