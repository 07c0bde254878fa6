"""Where ministack differs from AWS in what snapferry needs. Functions are replaced before it starts."""

from __future__ import annotations

import contextvars
import copy
import functools
import json
import time
from collections.abc import Callable
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from ministack.core import lambda_runtime
from ministack.services import eventbridge, iam, lambda_svc, scheduler, stepfunctions
from ministack.services.cloudformation import changesets, engine, handlers, stacks

from .control import CONFIG, client

Json = dict[str, Any]
# Services that are the local AWS's, by the names that Step Functions gives them.
SERVICES = {"backup": "Backup", "ssm": "Ssm"}
# The execution that this thread is at work for.
EXECUTION: contextvars.ContextVar[Json] = contextvars.ContextVar("execution")


def install(aws: str) -> None:
    stepfunctions._run_distributed_map = distributed_map(stepfunctions._run_distributed_map)
    stepfunctions._execute_task = of_its_execution(stepfunctions._execute_task)
    stepfunctions._invoke_aws_sdk_integration = sdk_task(stepfunctions._invoke_aws_sdk_integration, aws)
    stepfunctions._run_parallel_branches = parallel(stepfunctions._run_parallel_branches)
    stepfunctions._call_lambda = throttled(stepfunctions._call_lambda)
    stepfunctions._apply_output_path = succeeded(stepfunctions._apply_output_path)
    eventbridge._invoke_target = filled_in(eventbridge._invoke_target)
    # EBS's events are put by the tests, with EBS's own source.
    eventbridge._put_events = functools.partial(eventbridge._put_events, allow_aws_source=True)
    scheduler._SCHEDULE_TICK_INTERVAL = 0.2
    conditions = joined(engine._evaluate_conditions)
    for module in (changesets, engine, handlers, stacks):
        module._evaluate_conditions = conditions
    credentials = in_its_role(lambda_svc.execution_credentials, aws)
    lambda_svc.execution_credentials = lambda_runtime.execution_credentials = credentials


def distributed_map(plain: Callable[..., Any]) -> Callable[..., Any]:
    """JSONata in a Distributed Map. ministack has JSONPath only there, and no batches."""

    def run(
        state: Json, raw_input: Any, effective: Any, iterator: Json, execution: Json, ctx: Json
    ) -> tuple[Any, str | None]:
        if stepfunctions._state_query_language(state, ctx) != "JSONata":
            return plain(state, raw_input, effective, iterator, execution, ctx)

        def value(name: str) -> Any:
            return stepfunctions._apply_jsonata_template(state[name], raw_input, ctx)

        if "ItemReader" in state:
            reader = value("ItemReader")
            items = stepfunctions._read_map_items({**reader, "Parameters": reader["Arguments"]}, {}, ctx)
        else:
            items = value("Items") if "Items" in state else raw_input
        if not isinstance(items, list):
            raise stepfunctions._ExecutionError("States.QueryEvaluationError", f"Items is no array: {items}")
        if "ItemSelector" in state:
            items = [select(state["ItemSelector"], raw_input, ctx, at, item) for at, item in enumerate(items)]
        if "ItemBatcher" in state:
            items = batches(value("ItemBatcher"), items)
        numbers = ("MaxConcurrency", "ToleratedFailurePercentage", "ToleratedFailureCount")
        inner = {"Type": "Map", "End": True, **{name: value(name) for name in numbers if name in state}}
        # Its children do not see the variables outside of it.
        results, _ = plain(inner, items, items, iterator, execution, {**ctx, "variables": {}})
        output = stepfunctions._apply_jsonata_output(state, raw_input, ctx, result=results, default=results)
        stepfunctions._apply_state_assign(state, raw_input, ctx, result=results)
        return output, stepfunctions._next_or_end(state)

    return run


def select(template: Any, raw_input: Any, ctx: Json, index: int, item: Any) -> Any:
    of_item = {**ctx, "Map": {"Item": {"Index": index, "Value": item}}}
    return stepfunctions._apply_jsonata_template(template, raw_input, of_item)


def batches(batcher: Json, items: list[Any]) -> list[Json]:
    size = int(batcher["MaxItemsPerBatch"])
    constant = {"BatchInput": batcher["BatchInput"]} if "BatchInput" in batcher else {}
    return [{**constant, "Items": items[at : at + size]} for at in range(0, len(items), size)]


def parallel(plain: Callable[..., Any]) -> Callable[..., Any]:
    """JSONata in a Parallel; and what its branches assign stays in them."""

    def run(state: Json, raw_input: Any, execution: Json, ctx: Json) -> tuple[Any, str | None]:
        if stepfunctions._state_query_language(state, ctx) != "JSONata":
            return plain(state, raw_input, execution, ctx)
        given = stepfunctions._apply_jsonata_arguments(state, raw_input, ctx)
        results = [
            plain({"Branches": [branch], "End": True}, given, execution, copy.deepcopy(ctx))[0][0]
            for branch in state["Branches"]
        ]
        output = stepfunctions._apply_jsonata_output(state, raw_input, ctx, result=results, default=results)
        stepfunctions._apply_state_assign(state, raw_input, ctx, result=results)
        return output, stepfunctions._next_or_end(state)

    return run


def of_its_execution(plain: Callable[..., Any]) -> Callable[..., Any]:
    """A task's calls are made in the role of its state machine."""

    def run(state: Json, raw_input: Any, execution: Json, ctx: Json) -> Any:
        EXECUTION.set(execution)
        return plain(state, raw_input, execution, ctx)

    return run


def sdk_task(plain: Callable[..., Any], aws: str) -> Callable[..., Any]:
    """`aws-sdk:backup:…` and `aws-sdk:ssm:…` call the local AWS, which tells them by a user agent, as functions."""

    def run(resource: str, arguments: Json) -> Any:
        service, action = resource.split(":")[-2:]
        if service not in SERVICES:
            return plain(resource, arguments)
        arn = EXECUTION.get()["stateMachineArn"]
        machine, region, account = arn.split("/")[0], arn.split(":")[3], arn.split(":")[4]
        role = stepfunctions._state_machines[machine]["roleArn"]
        name = EXECUTION.get()["name"]
        session = client(aws, "sts", account).assume_role(RoleArn=role, RoleSessionName=name[:64])
        made = boto3.client(
            service,
            region_name=region,
            endpoint_url=aws,
            aws_access_key_id=session["Credentials"]["AccessKeyId"],
            aws_secret_access_key=session["Credentials"]["SecretAccessKey"],
            aws_session_token=session["Credentials"]["SessionToken"],
            config=CONFIG.merge(Config(user_agent_extra="exec-env/state-machine")),
        )
        return answered(made, SERVICES[service], action[:1].upper() + action[1:], arguments)

    return run


def answered(made: Any, name: str, operation: str, arguments: Json) -> Json:
    """Errors have the names that Step Functions gives them: those of the Java SDK, which has one for all that the
    service's model does not name."""
    method = next(it for it, its in made.meta.method_to_api_mapping.items() if its == operation)
    try:
        answer = getattr(made, method)(**arguments)
    except ClientError as error:
        code, message = error.response["Error"]["Code"], error.response["Error"]["Message"]
        named = {shape.name for shape in made.meta.service_model.operation_model(operation).error_shapes}
        code = code.removesuffix("Exception") if code in named else name
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        cause = f"{message} (Service: {name}, Status Code: {status})"
        raise stepfunctions._ExecutionError(f"{name}.{code}Exception", cause) from None
    except BotoCoreError as error:
        raise stepfunctions._ExecutionError(f"{name}.SdkClientException", str(error)) from None
    answer.pop("ResponseMetadata", None)
    return json.loads(json.dumps(answer, default=str))


def throttled(plain: Callable[..., Any]) -> Callable[..., Any]:
    """A function at its limit is `Lambda.TooManyRequestsException`, not `Lambda.Unknown`."""

    def run(function: str, event: Any) -> Any:
        try:
            return plain(function, event)
        except stepfunctions._ExecutionError as error:
            if error.error == "Lambda.Unknown" and "TooManyRequestsException" in error.cause:
                message = json.loads(error.cause)["message"]
                raise stepfunctions._ExecutionError("Lambda.TooManyRequestsException", message) from None
            raise

    return run


def succeeded(plain: Callable[..., Any]) -> Callable[..., Any]:
    """`Output` of a Succeed state."""

    def run(state: Json, data: Any, ctx: Json | None = None) -> Any:
        if state.get("Type") == "Succeed" and stepfunctions._state_query_language(state, ctx) == "JSONata":
            return stepfunctions._apply_jsonata_output(state, data, ctx, default=data)
        return plain(state, data, ctx)

    return run


def filled_in(plain: Callable[..., Any]) -> Callable[..., Any]:
    """Scheduler's `<aws.scheduler.…>` in `Input`."""

    def run(target: Json, event: Json, rule: Json, view: Any = None) -> Any:
        if event.get("Source") == "aws.scheduler" and target.get("Input"):
            at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(event["Time"]))
            words = {"scheduled-time": at, "schedule-arn": rule["Arn"], "attempt-number": "1"}
            text = target["Input"]
            for name, word in words.items():
                text = text.replace(f"<aws.scheduler.{name}>", word)
            target = {**target, "Input": text}
        return plain(target, event, rule, view)

    return run


def joined(plain: Callable[..., Any]) -> Callable[..., Any]:
    """`Fn::Join` of a list parameter in a condition."""

    def run(template: Json, params: Json) -> Json:
        def value(node: Any) -> Any:
            if isinstance(node, list):
                return [value(item) for item in node]
            if not isinstance(node, dict):
                return node
            if "Fn::Join" in node:
                delimiter, items = node["Fn::Join"]
                return delimiter.join(params[items["Ref"]]["Value"].split(","))
            return {name: value(item) for name, item in node.items()}

        return plain({**template, "Conditions": value(template.get("Conditions", {}))}, params)

    return run


def in_its_role(plain: Callable[..., Any], aws: str) -> Callable[..., Any]:
    """A function of a stack calls the local AWS in its role, which was made there, too."""

    def credentials(config: Json) -> dict[str, str]:
        account, _ = lambda_runtime._account_region_from_function_config(config)
        if config["Role"].rsplit("/", 1)[-1] not in iam._roles:
            return plain(config)  # made by a test, which gave the name only: the account's root
        session = client(aws, "sts", account).assume_role(
            RoleArn=config["Role"], RoleSessionName=config["FunctionName"][:64]
        )["Credentials"]
        return {
            "AWS_ACCESS_KEY_ID": session["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": session["SecretAccessKey"],
            "AWS_SESSION_TOKEN": session["SessionToken"],
        }

    return credentials
