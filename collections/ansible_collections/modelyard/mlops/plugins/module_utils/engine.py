# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""A small client of the Docker Engine API over its unix socket.

Roles talk to the engine through this instead of the Docker SDK, so that a
target needs Python and nothing else. The calls follow the Engine API reference
(https://docs.docker.com/reference/api/engine/), at the oldest version that the
supported engines (20.10 to 29) still answer together.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import typing as t
from urllib.parse import quote, urlencode

DEFAULT_SOCKET = "/var/run/docker.sock"

# 20.10 speaks up to 1.41 and Docker 29 refuses anything below 1.44, so no single
# version fits both: the client asks the engine once and uses what it offers.
_UNVERSIONED = "/version"


class EngineError(Exception):
    """The engine answered with an error; `status` is the HTTP status code."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"the Docker engine answered {status}: {message}")
        self.status = status
        self.message = message


class EngineUnreachable(Exception):
    """There is no engine behind the socket, or it does not answer."""


class UnixConnection(http.client.HTTPConnection):
    """HTTP to the unix socket at `path`; what is written and read waits for `timeout` seconds."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Connect, without a name to look up."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


Body = t.Union[bytes, t.IO[bytes], t.Iterable[bytes], None]


class Engine:
    """One engine. Every call opens its own connection, so an instance may be shared by threads.

    :param path: the engine's unix socket.
    :param timeout: seconds without a byte before a call gives up.
    """

    def __init__(self, path: str = DEFAULT_SOCKET, timeout: float = 60.0) -> None:
        self.path = path
        self.timeout = timeout
        self._prefix: str | None = None

    def get(self, path: str, **query: t.Any) -> t.Any:
        """GET `path` and return the decoded JSON answer."""
        return self._json("GET", path, None, query)

    def post(self, path: str, body: t.Any = None, **query: t.Any) -> t.Any:
        """POST `body` (JSON-encoded when given) and return the decoded answer, or None when there is none."""
        return self._json("POST", path, body, query)

    def delete(self, path: str, **query: t.Any) -> t.Any:
        """DELETE `path` and return the decoded answer, or None when there is none."""
        return self._json("DELETE", path, None, query)

    def raw(
        self,
        method: str,
        path: str,
        body: Body = None,
        headers: dict[str, str] | None = None,
        timeout: float | None = None,
        **query: t.Any,
    ) -> http.client.HTTPResponse:
        """Send a request and return the open response, for streams both ways.

        :param body: bytes, a binary file or an iterable of bytes (sent chunked).
        :param timeout: seconds for this call only.
        :raises EngineError: the engine refused; the response is read and closed.
        :raises EngineUnreachable: no engine answers.
        """
        return self._send(method, self._version_prefix() + _target(path, query), body, headers, timeout)

    def _json(self, method: str, path: str, body: t.Any, query: dict[str, t.Any]) -> t.Any:
        payload = None if body is None else json.dumps(body).encode()
        response = self.raw(method, path, payload, {"Content-Type": "application/json"}, **query)
        with response:
            text = read(response)
        if not text:
            return None
        if response.headers.get_content_type() != "application/json":
            return text.decode(errors="replace")
        return json.loads(text)

    def _version_prefix(self) -> str:
        if self._prefix is None:
            with self._send("GET", _UNVERSIONED, None, None, None) as response:
                self._prefix = "/v" + json.loads(read(response))["ApiVersion"]
        return self._prefix

    def _send(
        self,
        method: str,
        target: str,
        body: Body,
        headers: dict[str, str] | None,
        timeout: float | None,
    ) -> http.client.HTTPResponse:
        connection = UnixConnection(self.path, self.timeout if timeout is None else timeout)
        streamed = body is not None and not isinstance(body, bytes)
        try:
            with contextlib.suppress(BrokenPipeError):  # it answered before it had read everything, and says why
                connection.request(method, target, body=body, headers=headers or {}, encode_chunked=streamed)
            response = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise EngineUnreachable(f"no Docker engine answers at {self.path}: {error}") from error
        if response.status >= 400:
            with response:
                raise EngineError(response.status, _message(read(response)))
        return response


def read(response: http.client.HTTPResponse) -> bytes:
    """Read an answer to its end.

    :raises EngineUnreachable: the engine went away before that.
    """
    try:
        return response.read()
    except (OSError, http.client.HTTPException) as error:
        raise EngineUnreachable(f"the engine went away meanwhile: {error!r}") from error


def _target(path: str, query: dict[str, t.Any]) -> str:
    given = {key: _encode(value) for key, value in query.items() if value is not None}
    return quote(path, safe="/:@") + ("?" + urlencode(given) if given else "")


def _encode(value: t.Any) -> str:
    """Booleans and structures as the Engine API wants them in a query string."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (dict, list)):
        return json.dumps(value)
    return str(value)


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace").strip()
