# SPDX-License-Identifier: Apache-2.0
"""Asking a WSGI application from an RSGI one: the request as PEP 3333 has it, and the whole answer."""

from __future__ import annotations

import io
import sys
from typing import Any

from flask import Flask
from granian.rsgi import HTTPProtocol, Scope
from werkzeug import Response

Answered = tuple[int, list[tuple[str, str]], bytes]


async def body(scope: Scope, protocol: HTTPProtocol, limit: int) -> bytes:
    """Return a request's body up to a limit, in bytes; nothing of one that is announced to be larger."""
    length = scope.headers.get("content-length", "")
    if length.isdecimal():
        return await protocol() if int(length) <= limit else b""
    parts, size = [], 0
    async for part in protocol:
        parts.append(part)
        size += len(part)
        if size >= limit:
            break
    return b"".join(parts)[:limit]


def call(application: Flask, scope: Scope, content: bytes) -> Answered:
    """Return an application's answer to a request: status, headers and body."""
    answer = Response.from_app(application, environ(scope, content), buffered=True)
    return answer.status_code, list(answer.headers.items()), answer.get_data()


def environ(scope: Scope, content: bytes) -> dict[str, Any]:
    """Return the environment of a request with this body."""
    server, _, port = scope.server.rpartition(":")
    found = {
        "REQUEST_METHOD": scope.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": scope.path.encode().decode("latin-1"),
        "QUERY_STRING": scope.query_string,
        "SERVER_NAME": server,
        "SERVER_PORT": port,
        "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
        "REMOTE_ADDR": scope.client.rpartition(":")[0],
        "CONTENT_LENGTH": str(len(content)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.scheme,
        "wsgi.input": io.BytesIO(content),
        "wsgi.input_terminated": True,  # so that a body which came in chunks is read too
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, text in scope.headers.items():
        key = name.upper().replace("-", "_")
        found[key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"] = text
    return found
