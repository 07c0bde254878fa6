"""AWS Backup jobs, which moto lacks: they complete at once."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

from moto.backup import responses as backup_r
from moto.backup import urls as backup_urls

from .world import random_id

JOBS: dict[str, dict[str, Any]] = {}


def not_found(message: str) -> tuple[int, dict[str, Any], str]:
    headers = {"status": 400, "x-amzn-errortype": "ResourceNotFoundException"}
    return 400, headers, json.dumps({"Code": "ResourceNotFoundException", "Message": message})


def start_backup_job(self: Any) -> Any:
    body = json.loads(self.body)
    vault = body["BackupVaultName"]
    if vault not in self.backup_backend.vaults:
        return not_found(f"Backup vault {vault} not found")
    job, at = str(uuid.uuid4()).upper(), time.time()
    point = f"arn:aws:ec2:{self.region}::snapshot/{random_id('snap')}"
    JOBS[job] = {
        "BackupJobId": job,
        "AccountId": self.current_account,
        "BackupVaultName": vault,
        "ResourceArn": body["ResourceArn"],
        "RecoveryPointArn": point,
        "IamRoleArn": body["IamRoleArn"],
        "State": "COMPLETED",
        "PercentDone": "100.0",
        "CreationDate": at,
        "CompletionDate": at,
        "ResourceType": "EBS" if ":volume/" in body["ResourceArn"] else "EC2",
    }
    return json.dumps({"BackupJobId": job, "RecoveryPointArn": point, "CreationDate": at})


def describe_backup_job(self: Any) -> Any:
    job = JOBS.get(self.path.rsplit("/", 1)[1])
    if job is None or job["AccountId"] != self.current_account:
        return not_found("Backup job not found")
    return json.dumps(job)


def install() -> None:
    backup_r.BackupResponse.start_backup_job = start_backup_job
    backup_r.BackupResponse.describe_backup_job = describe_backup_job
    backup_urls.url_paths["{0}/backup-jobs$"] = backup_r.BackupResponse.dispatch
    backup_urls.url_paths["{0}/backup-jobs/(?P<job>[^/]+)$"] = backup_r.BackupResponse.dispatch
