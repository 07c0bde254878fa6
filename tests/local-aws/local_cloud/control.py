"""The control plane: any call of boto3 to ministack, and deployments, as JSON over HTTP."""

from __future__ import annotations

import functools
import io
import json
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.response import StreamingBody
from ministack.services import stepfunctions
from samtranslator.yaml_helper import yaml_parse

from .transform import transform

Json = dict[str, Any]
LOCK = threading.Lock()
CONFIG = Config(retries={"max_attempts": 0}, read_timeout=900)


@functools.cache
def cached(url: str, service: str, account: str, region: str) -> Any:
    return boto3.client(
        service,
        region_name=region,
        endpoint_url=url,
        aws_access_key_id=account,
        aws_secret_access_key="local",
        config=CONFIG,
    )


def client(url: str, service: str, account: str, region: str = "eu-central-1") -> Any:
    """Acts as the root of the account, in ministack as in the local AWS."""
    with LOCK:
        return cached(url, service, account, region)


def bootstrap(binary: str) -> bytes:
    """A function's code: built ones are big, so it only starts the one that was built."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        info = zipfile.ZipInfo("bootstrap")
        info.external_attr = 0o755 << 16
        archive.writestr(info, f"#!/bin/sh\nexec '{binary}'\n")
    return made.getvalue()


def with_code(value: Any) -> Any:
    """`{"$bootstrap": path}` is the code that starts this program."""
    if isinstance(value, list):
        return [with_code(item) for item in value]
    if isinstance(value, dict):
        if "$bootstrap" in value:
            return bootstrap(value["$bootstrap"])
        return {key: with_code(item) for key, item in value.items()}
    return value


def plain(value: Any) -> Any:
    """What JSON has no word for."""
    return value.read().decode() if isinstance(value, StreamingBody) else str(value)


def call(url: str, body: Json) -> Json:
    made = client(url, body["service"], body["account"], body["region"])
    answer = getattr(made, body["operation"])(**with_code(body["params"]))
    answer.pop("ResponseMetadata", None)
    return answer


def deploy(url: str, body: Json) -> Json:
    """Creates a stack, or updates it, as `sam deploy` does; answers how it ended and what there is then."""
    account, region, name = body["account"], body["region"], body["stack"]
    bucket = f"code-{account}-{region}"
    template, files = transform(body["template"], bucket, body["parameters"])
    kept = {id: it for id, it in template["Resources"].items() if it["Type"] not in body["without"]}
    template["Resources"] = kept
    s3, formation = (client(url, service, account, region) for service in ("s3", "cloudformation"))
    if not any(it["Name"] == bucket for it in s3.list_buckets()["Buckets"]):
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": region})
    for key, path in files.items():
        s3.put_object(Bucket=bucket, Key=key, Body=content(path, body["binaries"]))
    # A template in the call itself may have 51,200 bytes only.
    s3.put_object(Bucket=bucket, Key="template", Body=json.dumps(template).encode())
    parameters = [{"ParameterKey": k, "ParameterValue": v} for k, v in body["parameters"].items()]
    change = formation.update_stack if body["update"] else formation.create_stack
    change(
        StackName=name,
        TemplateURL=f"{url}/{bucket}/template",
        Parameters=parameters,
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"],
    )
    stack = settled(formation, name)
    resources = formation.describe_stack_resources(StackName=name)["StackResources"]
    for role in (it["PhysicalResourceId"] for it in resources if it["ResourceType"] == "AWS::IAM::Role"):
        mirror(client(url, "iam", account), client(Handler.aws, "iam", account), account, role)
    for vault in (it for it in resources if it["ResourceType"] == "AWS::Backup::BackupVault"):
        mirror_vault(client(Handler.aws, "backup", account, region), vault["PhysicalResourceId"])
    events = formation.describe_stack_events(StackName=name)["StackEvents"]
    return {
        "status": stack["StackStatus"],
        "outputs": {it["OutputKey"]: it["OutputValue"] for it in stack.get("Outputs", [])},
        "resources": {it["LogicalResourceId"]: it["PhysicalResourceId"] for it in resources},
        "failed": [it for it in events if it["ResourceStatus"].endswith("FAILED")],
        "template": template,
    }


def content(path: Path, binaries: str) -> bytes:
    """Of a function, or of a state machine's definition, which ministack takes as JSON only."""
    if len(path.parts) == 1:
        return bootstrap(f"{binaries}/{path}")
    return json.dumps(yaml_parse(path.read_text())).encode()


def settled(formation: Any, name: str) -> Json:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        stack = formation.describe_stacks(StackName=name)["Stacks"][0]
        if not stack["StackStatus"].endswith("IN_PROGRESS"):
            return stack
        time.sleep(0.02)
    raise TimeoutError(f"{name} does not come to rest")


def mirror(here: Any, there: Any, account: str, name: str) -> None:
    """Makes a role in the local AWS, or makes it anew, as the stack has it."""
    trust = here.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]
    for statement in trust["Statement"]:
        if "Service" in statement["Principal"]:
            statement["Principal"] = {"AWS": account}  # its root stands for the service
            statement.pop("Condition", None)  # of what the service says of itself
    try:
        there.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))
    except there.exceptions.EntityAlreadyExistsException:
        there.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(trust))
    wanted = here.list_role_policies(RoleName=name)["PolicyNames"]
    for policy in set(there.list_role_policies(RoleName=name)["PolicyNames"]) - set(wanted):
        there.delete_role_policy(RoleName=name, PolicyName=policy)
    for policy in wanted:
        document = here.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
        there.put_role_policy(RoleName=name, PolicyName=policy, PolicyDocument=json.dumps(document))


def mirror_vault(there: Any, name: str) -> None:
    """Makes a backup vault in the local AWS, where the jobs are."""
    if all(vault["BackupVaultName"] != name for vault in there.list_backup_vaults()["BackupVaultList"]):
        there.create_backup_vault(BackupVaultName=name)


def wait_scale(url: str, body: Json) -> Json:
    """Waits and retries of state machines take so much of their time from now on."""
    stepfunctions._SFN_WAIT_SCALE = float(body["scale"])
    return {}


class Handler(BaseHTTPRequestHandler):
    url: str
    aws: str
    protocol_version = "HTTP/1.1"
    calls = {"/call": call, "/deploy": deploy, "/wait-scale": wait_scale}

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        try:
            status, answer = 200, Handler.calls[self.path](self.url, body)
        except (BotoCoreError, ClientError) as error:
            status, answer = 400, {"error": str(error)}
        except Exception as error:  # the caller is told, whatever it is
            status, answer = 500, {"error": repr(error)}
        data = json.dumps(answer, default=plain).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def serve(url: str, aws: str) -> str:
    """Answers its own URL. `aws`: the local AWS."""
    Handler.url, Handler.aws = url, aws
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}"
