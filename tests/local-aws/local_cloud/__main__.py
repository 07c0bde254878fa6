"""`python -m local_cloud --port 5001 --aws URL --scratch DIR`: serves until it is killed."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import threading
import time


def settings(options: argparse.Namespace) -> dict[str, str]:
    """ministack reads these while it is imported; its functions get the endpoint, whatever they are told."""
    return {
        "AWS_ENDPOINT_URL": options.aws,
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(options.port),
        "MINISTACK_HOST": "127.0.0.1",
        "MINISTACK_REGION": "eu-central-1",
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "SFN_WAIT_SCALE": str(options.wait_scale),
        "TMPDIR": options.scratch,
        "STATE_DIR": options.scratch,
        "S3_DATA_DIR": options.scratch,
        "LOG_LEVEL": "WARNING",
    }


def end() -> None:
    """The functions end with us."""
    from ministack.core import lambda_runtime

    lambda_runtime.reset()
    os._exit(0)


def end_with_stdin() -> None:
    while os.read(0, 4096):
        pass
    end()


def tell_when_ready(port: int, control: str) -> None:
    while socket.socket().connect_ex(("127.0.0.1", port)) != 0:
        time.sleep(0.02)
    print(f"ready http://127.0.0.1:{port} {control}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="local_cloud", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="of ministack")
    parser.add_argument("--aws", required=True, help="the local AWS that functions call")
    parser.add_argument("--scratch", required=True, help="an existing folder for function code")
    parser.add_argument("--wait-scale", type=float, default=1, help="of waits and retries in state machines")
    parser.add_argument("--until-stdin-closes", action="store_true", help="exit when standard input ends")
    options = parser.parse_args()
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]  # nothing of the user's configuration matters here
    os.environ.update(settings(options))
    sys.argv = sys.argv[:1]  # ministack has options of its own

    from ministack import app

    from . import control, patches

    patches.install(options.aws)
    server = control.serve(f"http://127.0.0.1:{options.port}", options.aws)
    threading.Thread(target=tell_when_ready, args=(options.port, server), daemon=True).start()
    if options.until_stdin_closes:
        threading.Thread(target=end_with_stdin, daemon=True).start()
    # ministack sets a handler of its own for SIGTERM, which ends it with SystemExit.
    signal.signal(signal.SIGINT, lambda *_: end())
    try:
        app.main()
    finally:
        end()


if __name__ == "__main__":
    main()
