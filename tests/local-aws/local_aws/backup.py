"""Jobs of AWS Backup, which moto lacks: they take their time, make snapshots, and end as a test wants."""

from __future__ import annotations

import json
import re
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from moto.backup import responses as backup_r
from moto.backup import urls as backup_urls
from moto.backup.models import backup_backends

from .errors import AwsError
from .roles import find_role
from .snapshots import snapshot_of
from .world import KNOBS, LOCK, TIMERS, backend, partition, random_id

OVER = {"ABORTED", "COMPLETED", "EXPIRED", "FAILED", "PARTIAL"}
RESOURCE = re.compile(r"arn:aws[\w-]*:ec2:([\w-]+):(\d{12}):(volume|instance)/([\w-]+)")
RUNNING_ALREADY = "Backup job failed because there is a running job for the same resource"
VSS_FAILED = "Windows VSS Backup Job Error encountered, trying for regular backup"


@dataclass
class Job:
    account: str
    region: str
    asked: dict[str, Any]  # StartBackupJob's members
    end: dict[str, Any]  # how it is to end: `state`, `message`, `vss`
    id: str = field(default_factory=lambda: str(uuid.uuid4()).upper())
    state: str = "CREATED"
    created: float = field(default_factory=time.time)
    completed: float | None = None
    message: str | None = None
    point: str | None = None
    snapshots: list[str] = field(default_factory=list)

    @property
    def resource(self) -> str:
        return self.asked["ResourceArn"]

    def view(self) -> dict[str, Any]:
        """The members of DescribeBackupJob's answer."""
        vss = self.vss and self.state == "COMPLETED" and self.end.get("vss", True)
        members = {
            "AccountId": self.account,
            "BackupJobId": self.id,
            "BackupVaultName": self.asked["BackupVaultName"],
            "ResourceArn": self.resource,
            "RecoveryPointArn": self.point,
            "IamRoleArn": self.asked["IamRoleArn"],
            "State": self.state,
            "StatusMessage": self.message,
            "PercentDone": "100.0" if self.state == "COMPLETED" else "0.0",
            "CreationDate": self.created,
            "CompletionDate": self.completed,
            "ResourceType": "EBS" if ":volume/" in self.resource else "EC2",
            "BackupOptions": self.asked.get("BackupOptions"),
            "BackupType": "WindowsVSS" if vss else None,
        }
        return {name: value for name, value in members.items() if value is not None}

    @property
    def vss(self) -> bool:
        return (self.asked.get("BackupOptions") or {}).get("WindowsVSS") == "enabled"

    def run(self) -> None:
        """The snapshots are begun when the job is running."""
        with LOCK:
            if self.state != "CREATED":
                return
            if any(other.state == "RUNNING" and other.resource == self.resource for other in JOBS.values()):
                self.finish("FAILED", RUNNING_ALREADY)
                return
            self.state = "RUNNING"
            self.snapshots = [self.snapshot(volume) for volume in self.volumes()]
            if not self.snapshots:
                self.finish("FAILED", f"{self.resource} was not found")

    def volumes(self) -> list[Any]:
        state = backend(self.account, self.region)
        _, _, kind, name = RESOURCE.fullmatch(self.resource).groups()
        if kind == "volume":
            return [state.volumes[name]] if name in state.volumes else []
        found = [i for i in state.all_instances() if i.id == name]
        return [state.volumes[m.volume_id] for i in found for _, m in i.get_block_device_mapping]

    def snapshot(self, volume: Any) -> str:
        state = backend(self.account, self.region)
        copied = {k: v for k, v in (state.tags.get(volume.id) or {}).items() if not k.startswith("aws:")}
        tags = {
            **copied,
            **(self.asked.get("RecoveryPointTags") or {}),
            "aws:backup:source-resource": self.resource.rsplit("/", 1)[-1],
        }
        return snapshot_of(state, volume, "This snapshot is created by the AWS Backup service.", tags).id

    def finish(self, state: str, message: str | None = None) -> None:
        with LOCK:
            if self.state in OVER:
                return
            self.state, self.completed, self.message = state, time.time(), message
            if state == "COMPLETED":
                # Of an instance it is an image, of which there is the name only.
                name = self.snapshots[0] if ":volume/" in self.resource else random_id("ami")
                kind = name.replace("snap-", "snapshot/snap-").replace("ami-", "image/ami-")
                self.point = f"arn:{partition(self.region)}:ec2:{self.region}::{kind}"
            else:
                for each in self.snapshots:
                    backend(self.account, self.region).snapshots.pop(each, None)

    def end_as_planned(self) -> None:
        message = VSS_FAILED if self.vss and not self.end.get("vss", True) else None
        self.finish(self.end.get("state", "COMPLETED"), self.end.get("message", message))


JOBS: dict[str, Job] = {}
# How the jobs of a resource are to end, by its ARN.
ENDS: dict[str, dict[str, Any]] = {}


def forget() -> None:
    JOBS.clear()
    ENDS.clear()


def start(account: str, region: str, asked: dict[str, Any]) -> Job:
    check(account, region, asked)
    token = asked.get("IdempotencyToken")
    for job in JOBS.values():
        if token and (job.account, job.region, job.asked.get("IdempotencyToken")) == (account, region, token):
            return job
    job = Job(account, region, asked, ENDS.get(asked["ResourceArn"], {}))
    JOBS[job.id] = job
    seconds = KNOBS["backup_seconds"]
    TIMERS.at(job.created + max(seconds, 0) / 2, job.run)
    if seconds >= 0:
        TIMERS.at(job.created + seconds, job.end_as_planned)
    return job


def check(account: str, region: str, asked: dict[str, Any]) -> None:
    for name in ("BackupVaultName", "ResourceArn", "IamRoleArn"):
        if not asked.get(name):
            raise AwsError("MissingParameterValueException", f"{name} is missing")
    if asked["BackupVaultName"] not in backup_backends[account][region].vaults:
        message = f"Backup vault {asked['BackupVaultName']} not found"
        raise AwsError("ResourceNotFoundException", message)
    lifecycle, resource = asked.get("Lifecycle") or {}, RESOURCE.fullmatch(asked["ResourceArn"])
    cold, deleted = lifecycle.get("MoveToColdStorageAfterDays"), lifecycle.get("DeleteAfterDays")
    wrong = {
        f"Invalid ARN: {asked['ResourceArn']}": not resource or resource.groups()[:2] != (region, account),
        f"IAM Role {asked['IamRoleArn']} cannot be assumed by AWS Backup": not find_role(asked["IamRoleArn"]),
        "StartWindowMinutes must be at least 60 minutes": asked.get("StartWindowMinutes", 60) < 60,
        "DeleteAfterDays must be 90 days greater than MoveToColdStorageAfterDays": bool(
            cold and deleted and deleted < cold + 90
        ),
        "WindowsVSS is for EC2 instances": bool(asked.get("BackupOptions"))
        and ":volume/" in asked["ResourceArn"],
    }
    for message, is_so in wrong.items():
        if is_so:
            raise AwsError("InvalidParameterValueException", message)


def known(account: str, job_id: str) -> Job:
    job = JOBS.get(job_id)
    if job is None or job.account != account:
        raise AwsError("ResourceNotFoundException", f"Backup job {job_id} not found")
    return job


def start_backup_job(self: Any) -> Any:
    job = start(self.current_account, self.region, json.loads(self.body))
    return json.dumps({"BackupJobId": job.id, "CreationDate": job.created, "IsParent": False})


def describe_backup_job(self: Any) -> Any:
    return json.dumps(known(self.current_account, self.path.rsplit("/", 1)[1]).view())


def stop_backup_job(self: Any) -> Any:
    job = known(self.current_account, self.path.rsplit("/", 1)[1])
    job.finish("ABORTED", "Backup job was stopped by user")
    return ""


def install() -> None:
    for call in (start_backup_job, describe_backup_job, stop_backup_job):
        setattr(backup_r.BackupResponse, call.__name__, call)
    backup_urls.url_paths["{0}/backup-jobs$"] = backup_r.BackupResponse.dispatch
    backup_urls.url_paths["{0}/backup-jobs/(?P<job>[^/]+)$"] = backup_r.BackupResponse.dispatch
