"""AwsVssComponents on a stand-in instance: it makes snapshots of itself, in the role of its profile."""

from __future__ import annotations

import datetime as dt
import re
import secrets
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from .agents import VSS_VERSION, Agent, How, Result
from .calls import Request, Response
from .documents import CREATE_VSS
from .instances import profile_of
from .world import LOCK, WORLD, Session, backend, new_access_key, now, partition

RESERVED = ("Device", "AppConsistent", "AwsVssConfig")
TAG_TEXT = re.compile(r"[A-Za-z0-9() ./\\\-\"'@_+:={}]*")
PACKAGE = "AwsVssComponents"
SET = re.compile(r"<item>.*?</item>", re.DOTALL)
handle: Callable[[Request], Response]  # what answers calls, see `app`


class Refused(Exception):
    """Ends a command."""


def run(agent: Agent, document: str, values: dict[str, list[str]], how: How, command: str) -> Result:
    asked = {name: value[0] for name, value in values.items()}
    try:
        if agent.vss_version is None:
            if document == CREATE_VSS:
                raise Refused(f"{PACKAGE} is not installed on this instance")
            agent.vss_version = asked["VssVersion"] or VSS_VERSION
        tags = tags_of(asked["tags"])
        if asked["NoWriters"] == asked["SaveVssMetadata"] == "True":
            raise Refused("NoWriters and SaveVssMetadata cannot both be True")
        if asked["CreateAmi"] == "True":
            raise Refused("CreateAmi is not in this local AWS")
        if how.get("fails"):
            raise Refused("VSS was not able to freeze the writers")
        made = Snapshots(agent, how).make(tags, asked, command)
    except Refused as error:
        return Result(how.get("exit") or 1, "", f"{error}\n")
    return Result(how.get("exit", 0), f"Snapshots: {', '.join(made)}\n")


def configure(agent: Agent, values: dict[str, list[str]]) -> Result:
    """AWS-ConfigureAWSPackage: of packages only this one counts."""
    if values["name"][0] == PACKAGE:
        version = values["version"][0] or VSS_VERSION
        agent.vss_version = version if values["action"][0] == "Install" else None
    return Result(0)


def tags_of(text: str) -> dict[str, str]:
    """`Key=a,Value=b;Key=c,Value=d`."""
    tags = {"Name": ""}
    for part in filter(None, text.split(";")):
        match = re.fullmatch(r"Key=([^,]+),Value=(.*)", part)
        if match is None:
            raise Refused(f"tags: {part!r} is not Key=…,Value=…")
        key, value = match.groups()
        if key in RESERVED:
            raise Refused(f"tags: {key} is reserved")
        for each in (key, value):
            if not TAG_TEXT.fullmatch(each):
                raise Refused(f"tags: {each!r} has characters that are not allowed")
        tags[key] = value
    return tags


class Snapshots:
    """All that an instance makes for one command."""

    def __init__(self, agent: Agent, how: How):
        self.agent, self.how = agent, how
        self.state = backend(agent.account, agent.region)
        self.machine = self.state.get_instance(agent.instance)
        self.key = self.session()

    def make(self, tags: dict[str, str], asked: dict[str, str], command: str) -> list[str]:
        config = f"AwsVssVersion={self.agent.vss_version};SnapshotSetId={uuid.uuid4()}"
        fields = {
            "InstanceSpecification.InstanceId": self.agent.instance,
            "Description": asked["description"],
            "TagSpecification.1.ResourceType": "snapshot",
            **numbered("TagSpecification.1.Tag", {**tags, "AwsVssConfig": config}),
        }
        failing = set(self.how.get("volumes_fail", []))
        left_out = set() if self.how.get("error") else failing
        devices = {m.volume_id: device for device, m in self.machine.get_block_device_mapping}
        root = next((v for v, d in devices.items() if d == self.machine.root_device_name), None)
        if asked["ExcludeBootVolume"] == "True" or root in left_out:
            fields["InstanceSpecification.ExcludeBootVolume"] = "true"
        for n, volume in enumerate(sorted((left_out & set(devices)) - {root}), 1):
            fields[f"InstanceSpecification.ExcludeDataVolumeId.{n}"] = volume
        with LOCK:
            self.agent.freeze(command, "vss")
        try:
            answer = self.call("CreateSnapshots", fields)
        finally:
            with LOCK:
                self.agent.thaw(command)
        made = {element(item, "snapshotId"): element(item, "volumeId") for item in SET.findall(answer)}
        made = {snapshot: volume for snapshot, volume in made.items() if snapshot}
        consistent = str(self.how.get("app_consistent", True))
        for snapshot, volume in made.items():
            own = {"Device": devices[volume], **({"AppConsistent": consistent} if consistent else {})}
            self.call("CreateTags", {"ResourceId.1": snapshot, **numbered("Tag", own)})
        self.spoil({s for s, v in made.items() if v in failing}, set(made))
        return sorted(made)

    def spoil(self, failing: set[str], made: set[str]) -> None:
        """What goes wrong with them later."""
        with LOCK:
            for name in made & set(self.state.snapshots):
                snapshot = self.state.snapshots[name]
                if name in failing:
                    snapshot.forced, snapshot.message = "error", "An internal error occurred"
                    snapshot.announce()
                if self.how.get("untagged"):
                    self.state.tags.pop(name, None)

    def session(self) -> str:
        """The key of a session in the role of its profile, as an instance has it of its metadata."""
        account, region = self.agent.account, self.agent.region
        profile = profile_of(self.machine)
        if profile is None or not profile.roles:
            raise Refused("Unable to find credentials: the instance has no profile with a role")
        key = new_access_key()
        WORLD.sessions[key] = Session(
            account,
            profile.roles[0].arn,
            self.agent.instance,
            now() + dt.timedelta(hours=6),
            secrets.token_urlsafe(30),
            secrets.token_urlsafe(120),
            instance=f"arn:{partition(region)}:ec2:{region}:{account}:instance/{self.agent.instance}",
        )
        return key

    def call(self, action: str, fields: dict[str, Any]) -> str:
        scope = f"{self.key}/20260101/{self.agent.region}/ec2/aws4_request"
        headers = {
            "authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0",
            "content-type": "application/x-www-form-urlencoded",
            "user-agent": f"{PACKAGE}/{self.agent.vss_version}",
        }
        body = urlencode({"Action": action, "Version": "2016-11-15", **fields}).encode()
        response = handle(Request("POST", "/", "", headers, body))
        text = response.body.decode()
        if response.status != 200 or response.drop:
            raise Refused(f"{action}: {element(text, 'Code')}: {element(text, 'Message')}")
        return text


def numbered(name: str, tags: dict[str, str]) -> dict[str, str]:
    rows: dict[str, str] = {}
    for n, (key, value) in enumerate(tags.items(), 1):
        rows |= {f"{name}.{n}.Key": key, f"{name}.{n}.Value": value}
    return rows


def element(xml: str, name: str) -> str:
    found = re.search(f"<{name}>(.*?)</{name}>", xml, re.DOTALL)
    return found[1] if found else ""
