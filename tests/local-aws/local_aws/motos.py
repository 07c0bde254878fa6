"""moto: the services that need nothing special, and what every one of them needs patched."""

from __future__ import annotations

import functools
import importlib
import io
import re
import sys
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from moto import backend_index
from moto.core import responses as core_r
from moto.core.config import default_user_config
from moto.core.request import Request as MotoRequest

from .calls import Request, Response
from .errors import AwsError
from .world import current_caller

Handler = Callable[[Any, str, Any], Any]
ALIASES = {"eventbridge": "events", "execute-api": "iot"}


class BackendRequest(MotoRequest):
    from_wsgi_server = True


def environ(request: Request) -> dict[str, Any]:
    host, _, port = request.headers.get("host", "127.0.0.1:80").partition(":")
    result = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "QUERY_STRING": request.query,
        "PATH_INFO": unquote(request.path, "latin-1"),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": host,
        "RAW_URI": f"{request.path}?{request.query}" if request.query else request.path,
        "SERVER_PORT": port or "80",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.errors": sys.stderr,
        "wsgi.input": io.BytesIO(request.body),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "CONTENT_LENGTH": str(len(request.body)),
        "CONTENT_TYPE": request.headers.get("content-type", ""),
    }
    for name, value in request.headers.items():
        if name not in ("content-type", "content-length", "transfer-encoding"):
            result["HTTP_" + name.upper().replace("-", "_")] = value
    return result


@functools.cache
def handlers(service: str) -> list[tuple[re.Pattern[str], Handler]]:
    """Path patterns of a service, by the name requests are signed for."""
    host = f"https://{ALIASES.get(service, service)}.us-east-1.amazonaws.com"
    module = next((name for name, pattern in backend_index.backend_url_patterns if pattern.match(host)), None)
    if module is None:
        raise AwsError("UnknownService", f"There is no service '{service}' in this local AWS")
    urls = importlib.import_module(f"moto.{module}.urls")
    return [(re.compile(path.format("")), handler) for path, handler in urls.url_paths.items()]


def call(request: Request, service: str) -> Response:
    handler = next((h for pattern, h in handlers(service) if pattern.match(request.path)), None)
    if handler is None:
        raise AwsError(
            "UnknownOperationException", f"{service} has nothing at {request.method} {request.path}", 404
        )
    moto_request = BackendRequest(environ(request))
    result = handler(moto_request, moto_request.raw_url, dict(moto_request.headers))
    status, headers, body = result if isinstance(result, tuple) and len(result) == 3 else (200, {}, result)
    status = int(headers.get("status", status))
    kept = {
        str(k).lower(): str(v)
        for k, v in headers.items()
        if str(k).lower() not in ("status", "content-length")
    }
    return Response(status, kept, body.encode() if isinstance(body, str) else bytes(body or b""))


def install() -> None:
    """Patches for all services. To be called before the first request."""
    default_user_config["lambda"]["use_docker"] = False
    default_user_config.setdefault("stepfunctions", {})["execute_state_machine"] = True
    core_r.BaseResponse.get_current_account = lambda self: current_caller().account
    # moto looks through all methods of a service class for every call
    core_r.method_names_from_class = functools.cache(core_r.method_names_from_class)
