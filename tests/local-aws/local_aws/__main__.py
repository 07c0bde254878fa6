"""`python -m local_aws --port 5000`: serves until it is killed."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading


def import_quickly() -> None:
    """moto makes several boto3 sessions while it is imported; one is enough, and half a second less."""
    import boto3

    session, plain = boto3.Session(), boto3.Session
    boto3.Session = lambda *args, **kwargs: session  # type: ignore[assignment,misc]
    try:
        import moto.core.base_backend
        import moto.ec2.models  # noqa: F401
    finally:
        boto3.Session = plain  # type: ignore[misc]
    moto.core.base_backend.Session = plain


def exit_with_stdin() -> None:
    try:
        while os.read(0, 4096):
            pass
    except OSError:
        pass
    os._exit(0)


def main() -> None:
    parser = argparse.ArgumentParser(prog="local_aws", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default %(default)s)")
    parser.add_argument("--port", type=int, default=5000, help="0: any free one (default %(default)s)")
    parser.add_argument("--until-stdin-closes", action="store_true", help="exit when standard input ends")
    options = parser.parse_args()
    if options.until_stdin_closes:
        threading.Thread(target=exit_with_stdin, daemon=True).start()
    os.environ.setdefault("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE"):
        os.environ.pop(name, None)  # nothing of the user's configuration matters here
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    import_quickly()

    from . import app
    from .server import Server
    from .world import DELAYS, TIMERS

    app.install()
    server = Server(options.host, options.port, app.handle)
    os.environ["MOTO_PORT"] = str(server.server_address[1])  # moto's state machines call back
    TIMERS.start()
    DELAYS.start()
    print(f"ready {server.url}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        sys.exit(0)


if __name__ == "__main__":
    main()
