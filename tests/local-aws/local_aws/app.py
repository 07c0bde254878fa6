"""From a request to an answer: control plane, recording, faults, disabled Regions, then the service."""

from __future__ import annotations

import sys
import time
import traceback
from typing import Any

from moto.core.exceptions import ServiceException
from werkzeug.exceptions import HTTPException

from . import (
    backup,
    control,
    copies,
    describe,
    errors,
    events,
    identity,
    images,
    instances,
    keys,
    lambdas,
    locks,
    motos,
    organizations,
    restores,
    sharing,
    snapshots,
    sts,
    systems_manager,
    tiers,
    vss,
    wire,
)
from .calls import FAULTS, LOG, Call, Request, Response, read, wait
from .errors import AwsError
from .proof import FUNCTION, RECORD
from .query import Params
from .world import LOCK, WORLD, Caller, caller_of, set_current_caller

EC2 = {
    **copies.ACTIONS,
    **describe.ACTIONS,
    **images.ACTIONS,
    **instances.ACTIONS,
    **locks.ACTIONS,
    **restores.ACTIONS,
    **sharing.ACTIONS,
    **snapshots.ACTIONS,
    **tiers.ACTIONS,
}
WITHOUT_REGION = {"iam", "organizations", "sts"}
# These wait: for a message, for a function, for themselves. They must not hold the lock meanwhile.
UNLOCKED = {"lambda", "sqs", "states"}
DISABLED = {
    "AuthFailure": "AWS was not able to validate the provided access credentials",
    "OptInRequired": "You are not subscribed to this service. Go to http://aws.amazon.com to subscribe.",
    "UnauthorizedOperation": "You are not authorized to perform this operation.",
}


def install() -> None:
    """Patches moto. Once, before the first request."""
    motos.install()
    for module in (backup, events, images, instances, keys, lambdas, organizations, snapshots):
        module.install()
    vss.handle = handle


def handle(request: Request) -> Response:
    if request.path.startswith(control.PREFIX):
        return control.handle(request)
    began, call = time.time(), read(request)
    fault: dict[str, Any] | None = None
    error: str | None = None
    try:
        caller = identify(call, request)
        fault = FAULTS.pick(call, request, wire.is_hit)
        response = with_fault(call, request, caller, fault) if fault else serve(call, request, caller)
    except AwsError as failure:
        error = failure.code
        response = Response(*errors.render(call.service, call.protocol, failure))
    except Exception as failure:
        traceback.print_exc(file=sys.stderr)
        error = "InternalError"
        response = Response(*errors.render(call.service, call.protocol, AwsError(error, repr(failure))))
    LOG.add(
        call,
        status=None if response.drop else response.status,
        ms=round((time.time() - began) * 1000, 1),
        time=began,
        error=error or (str(response.status) if response.status >= 400 else None),
        fault=fault and fault["id"],
    )
    return response


def identify(call: Call, request: Request) -> Caller:
    try:
        caller = caller_of(call.key)
    except AwsError as error:
        if call.service == "ec2":
            raise AwsError("AuthFailure", DISABLED["AuthFailure"]) from None
        if call.protocol != "query":
            raise AwsError("UnrecognizedClientException", error.message) from None
        raise
    account = request.headers.get("x-moto-account-id")
    if account:  # a state machine's own calls
        caller = Caller(account, f"arn:aws:iam::{account}:root", user_id=account)
    caller.actor = actor(call, request, caller)
    call.account, call.role = caller.account, caller.role_arn
    set_current_caller(caller)
    return caller


def actor(call: Call, request: Request, caller: Caller) -> str:
    """Which function calls, and in which role that it has assumed; nothing: whoever else."""
    agent = " ".join(request.headers.get(name, "") for name in ("user-agent", "x-amz-user-agent"))
    function, session = FUNCTION.search(agent), WORLD.sessions.get(call.key)
    if function is None:
        return ""
    assumed = caller.role_arn if session and session.made_by else None
    return f"{function[1]} as {assumed.rsplit('/', 1)[-1]}" if assumed else function[1]


def with_fault(call: Call, request: Request, caller: Caller, fault: dict[str, Any]) -> Response:
    wait(fault.get("delay"))
    if fault.get("hold") == "before":
        FAULTS.hold(fault["id"], call)
    if fault.get("drop") == "before":
        return Response(0, drop=True)
    refusal = (
        AwsError(fault["code"], fault.get("message", "injected"), fault.get("status"))
        if fault.get("code")
        else None
    )
    if refusal and not fault.get("after"):
        raise refusal
    if fault.get("answer") is not None and not fault.get("after"):
        response = Response(200)
    else:
        response = serve_as_asked(call, request, caller, fault)
    wait(fault.get("delay_after"))
    if fault.get("hold") == "after":
        FAULTS.hold(fault["id"], call)
    if refusal:  # it took effect, and the answer denies it
        raise refusal
    response.drop = fault.get("drop") == "after"
    response.truncate = bool(fault.get("truncate"))
    response.fault = fault["id"]
    return wire.answered(fault, response)


def serve_as_asked(call: Call, request: Request, caller: Caller, fault: dict[str, Any]) -> Response:
    """What the service says, its errors too: those go over the same wire."""
    request = wire.asked(fault, request)
    if fault.get("ask"):
        call.params = read(request).params
    try:
        return serve(call, request, caller)
    except AwsError as error:
        return Response(*errors.render(call.service, call.protocol, error))


def serve(call: Call, request: Request, caller: Caller) -> Response:
    refuse_disabled(call, caller)
    RECORD.begin(f"{call.service}:{call.action} in {call.account}/{call.region}")
    identity.authorize(call, caller)
    response = answer_of(call, request, caller)
    if response.status < 400:
        RECORD.keep(caller)
    return response


def answer_of(call: Call, request: Request, caller: Caller) -> Response:
    try:
        if call.service == "ec2" and call.action in EC2:
            return Response(*EC2[call.action](caller, call.region, Params(call.params)))
        if call.service == "sts" and call.action in sts.ACTIONS:
            return Response(*sts.ACTIONS[call.action](caller, Params(call.params)))
        if call.service == "ssm" and call.action in systems_manager.ACTIONS:
            return Response(*systems_manager.answer(caller, call.region, call.action, call.params))
        if call.service == "lambda" and call.action == "Invoke":
            return lambdas.invoke(request)
        return serve_with_moto(call, request)
    except ServiceException as error:
        raise AwsError(error.code, error.message) from None
    except HTTPException as error:
        raise AwsError(getattr(error, "error_type", error.name), str(error.description), error.code) from None
    except NotImplementedError:
        raise AwsError("InvalidAction", f"The action {call.action} is not in this local AWS") from None


def refuse_disabled(call: Call, caller: Caller) -> None:
    code = WORLD.disabled.get((caller.account, call.region))
    if code is None or call.service in WITHOUT_REGION:
        return
    if call.service == "ec2":
        raise AwsError(code, DISABLED.get(code, "This Region is not enabled for the account"))
    raise AwsError("UnrecognizedClientException", "The security token included in the request is invalid.")


def serve_with_moto(call: Call, request: Request) -> Response:
    if not call.service:
        raise AwsError("MissingAuthenticationToken", "Request is missing Authentication Token", 403)
    if call.service == "states":
        install_states()
    if call.service in UNLOCKED:
        return motos.call(request, call.service)
    with LOCK:
        return motos.call(request, call.service)


def install_states() -> None:
    from . import states

    with LOCK:
        if not getattr(states, "installed", False):
            states.install()
            states.installed = True  # type: ignore[attr-defined]
