"""A small HTTP/1.1 server: one thread per connection, kept alive, and able to break off on purpose."""

from __future__ import annotations

import os
import socket
import socketserver
import struct
from collections.abc import Callable
from http.client import responses as REASONS
from typing import BinaryIO

from . import wire
from .calls import FAULTS, Request, Response

Handler = Callable[[Request], Response]
MAX_LINE = 65536


class BadRequest(Exception):
    pass


def read_request(stream: BinaryIO) -> tuple[Request, bool] | None:
    """The next request of a connection and whether it stays open; None at its end."""
    line = stream.readline(MAX_LINE)
    if not line.strip():
        return None
    try:
        method, target, version = line.decode("latin-1").split()
    except ValueError:
        raise BadRequest from None
    headers: dict[str, str] = {}
    while (line := stream.readline(MAX_LINE)) not in (b"\r\n", b"\n", b""):
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon:
            raise BadRequest
        headers[name.strip().lower()] = value.strip()
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = read_chunks(stream)
    else:
        body = stream.read(int(headers.get("content-length") or 0))
    if "://" in target:  # a client that takes us for a proxy
        target = "/" + target.split("://", 1)[1].partition("/")[2]
    path, _, query = target.partition("?")
    wish = headers.get("connection", "").lower()
    keep = wish != "close" if version == "HTTP/1.1" else wish == "keep-alive"
    return Request(method, path, query, headers, body), keep


def read_chunks(stream: BinaryIO) -> bytes:
    body = b""
    while size := int(stream.readline(MAX_LINE).split(b";")[0], 16):
        body += stream.read(size)
        stream.readline(MAX_LINE)
    while stream.readline(MAX_LINE) not in (b"\r\n", b"\n", b""):
        pass
    return body


def begin(response: Response) -> bytes:
    """Status and headers, without a length."""
    reason = REASONS.get(response.status, "Unknown")
    lines = [f"HTTP/1.1 {response.status} {reason}"]
    lines += [f"{name}: {value}" for name, value in response.headers.items() if name != "connection"]
    return ("\r\n".join(lines) + "\r\n").encode("latin-1", "replace")


def render(response: Response, head_only: bool = False) -> bytes:
    head = begin(response) + f"content-length: {len(response.body)}\r\n\r\n".encode()
    return head if head_only else head + response.body


class Connection(socketserver.StreamRequestHandler):
    server: Server
    disable_nagle_algorithm = True
    rbufsize = 1 << 16

    def handle(self) -> None:
        try:
            while True:
                try:
                    found = read_request(self.rfile)
                except (BadRequest, ValueError):
                    self.connection.sendall(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
                    return
                if found is None:
                    return
                request, keep = found
                response = self.server.handler(request)
                if response.drop:
                    return self.reset()
                if response.wire:
                    if self.disturb(response) and keep:
                        continue
                    return
                data = render(response, request.method == "HEAD")
                if response.truncate:
                    return self.connection.sendall(data[: len(data) - len(response.body) // 2])
                self.connection.sendall(data)
                if not keep:
                    return
        except OSError:
            pass  # the client went away

    def disturb(self, response: Response) -> bool:
        """Sends it as the fault has it; whether the connection can be used again."""
        how = response.wire or {}
        for piece in wire.pieces(begin(response), response, lambda: FAULTS.is_armed(response.fault)):
            self.connection.sendall(piece)
        if how.get("reset"):
            self.reset()
            return False
        return not {"cut", "endless"} & set(how) and how.get("framing") != "close"

    def reset(self) -> None:
        """Ends the connection as a crash would: with RST, and nothing before it."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 512

    def __init__(self, host: str, port: int, handler: Handler):
        self.handler = handler
        super().__init__((host, port), Connection)

    @property
    def url(self) -> str:
        return f"http://{self.server_address[0]}:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        pass
