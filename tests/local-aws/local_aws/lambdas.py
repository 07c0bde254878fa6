"""Lambda's Invoke, and its neighbours' ways to invoke."""

from __future__ import annotations

import json
import uuid
from typing import Any
from urllib.parse import unquote

from moto.awslambda_simple import models as simple_m

from .calls import INVOKE, Request, Response
from .errors import AwsError
from .functions import FUNCTIONS


def invoke(request: Request) -> Response:
    name = unquote(INVOKE.search(request.path).group(1)).split(":function:")[-1].split(":")[0]
    try:
        payload = json.loads(request.body) if request.body else {}
    except ValueError:
        raise AwsError("InvalidRequestContentException", "Could not parse request body into json") from None
    headers = {
        "x-amzn-requestid": str(uuid.uuid4()),
        "content-type": "application/json",
        "x-amz-executed-version": "$LATEST",
    }
    kind = request.headers.get("x-amz-invocation-type", "RequestResponse")
    if name not in FUNCTIONS.map():
        raise AwsError("ResourceNotFoundException", f"Function not found: {name}", 404)
    if kind == "DryRun":
        return Response(204, headers)
    if kind == "Event":
        FUNCTIONS.enqueue(name, payload, source="invoke")
        return Response(202, headers)
    job = FUNCTIONS.call(name, payload)
    if job.function_error:
        headers["x-amz-function-error"] = "Unhandled"
    answer = (
        job.answer if job.error is None else {"errorType": "Runtime.ExitError", "errorMessage": job.error}
    )
    if job.function_error and not isinstance(answer, dict):
        answer = {"errorType": "Sandbox.Timedout", "errorMessage": str(answer)}
    return Response(200, headers, json.dumps(answer).encode())


def install() -> None:
    """State machines invoke through moto's own Lambda backend."""
    plain = simple_m.LambdaSimpleBackend.invoke

    def moto_invoke(
        self: Any, function_name: str, qualifier: Any, body: Any, headers: Any, response_headers: Any
    ) -> Any:
        name = function_name.split(":function:")[-1].split(":")[0]
        if name not in FUNCTIONS.map():
            return plain(self, function_name, qualifier, body, headers, response_headers)
        job = FUNCTIONS.call(name, json.loads(body or "null"), source="states")
        if job.function_error:
            response_headers["x-amz-function-error"] = "Unhandled"
        return json.dumps(job.answer).encode()

    simple_m.LambdaSimpleBackend.invoke = moto_invoke
