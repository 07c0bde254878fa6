"""Step Functions: SDK tasks act in the account of the state machine, and their answers can be shown.

Imported with the first call to Step Functions: moto's interpreter takes a second to load.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any


def text(value: Any) -> str:
    """A timestamp in an SDK's answer makes moto's DescribeExecution fail."""
    return value.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z" if hasattr(value, "strftime") else str(value)


def install() -> None:
    from moto.stepfunctions.parser.asl.component.state.exec.state_task.service import (  # noqa: F401
        state_task_service_aws_sdk as sdk,
    )
    from moto.stepfunctions.parser.asl.utils import boto_client as clients

    plain = clients.boto_client_for

    def boto_client_for(region: str, service: str, state_credentials: Any = None) -> Any:
        client = plain(region, service, state_credentials)
        match = re.search(r":iam::(\d{12}):", getattr(state_credentials, "role_arn", None) or "")
        if match:
            account = match.group(1)
            client.meta.events.register(
                "before-send.*",
                lambda request, **_: request.headers.__setitem__("x-moto-account-id", account),
            )
        return client

    for module in list(sys.modules.values()):
        if getattr(module, "boto_client_for", None) is plain:
            module.boto_client_for = boto_client_for
    run = sdk.StateTaskServiceAwsSdk._eval_service_task

    def eval_service_task(self: Any, env: Any, *args: Any, **kwargs: Any) -> None:
        run(self, env, *args, **kwargs)
        env.stack.append(json.loads(json.dumps(env.stack.pop(), default=text)))

    sdk.StateTaskServiceAwsSdk._eval_service_task = eval_service_task
    sdk._SERVICE_ERROR_NAMES.update(
        {"ec2": "Ec2", "backup": "Backup", "kms": "Kms", "sts": "Sts", "ssm": "Ssm"}
    )
