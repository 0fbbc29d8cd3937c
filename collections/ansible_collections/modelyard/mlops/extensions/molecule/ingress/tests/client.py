# SPDX-License-Identifier: Apache-2.0
"""Talks to the host from outside."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import socket
import ssl
from typing import Any, NamedTuple


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class Client:
    """One request on one connection each time."""

    def __init__(self, address: str) -> None:
        self.address = address

    def get(self, path: str, tls: bool = False, **headers: str) -> Answer:
        return self.ask("GET", path, tls=tls, **headers)

    def ask(self, method: str, path: str, body: Any = None, tls: bool = False, **headers: str) -> Answer:
        connection = self.connection(tls)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, named)
        answer = connection.getresponse()
        return Answer(
            answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read().decode(errors="replace")
        )

    def connection(self, tls: bool = False) -> http.client.HTTPConnection:
        if tls:
            return http.client.HTTPSConnection(self.address, timeout=10, context=trusting())
        return http.client.HTTPConnection(self.address, timeout=10)

    def certificate(self, name: str) -> str:
        """The SHA-1 of the certificate that whoever asks for this name gets."""
        plain = socket.create_connection((self.address, 443), 10)
        with trusting().wrap_socket(plain, server_hostname=name) as connection:
            certificate = connection.getpeercert(binary_form=True)
        assert certificate
        return hashlib.sha1(certificate).hexdigest()

    def tunnel(self, path: str, timeout: float = 10) -> socket.socket:
        """An open websocket, as far as a proxy can tell."""
        connection = socket.create_connection((self.address, 80), timeout)
        connection.sendall(
            f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n".encode()
        )
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += connection.recv(1)
        assert head.startswith(b"HTTP/1.1 101"), head
        return connection


def trusting() -> ssl.SSLContext:
    """Trust any certificate: most of them are made in these tests."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def basic(user: str, password: str) -> str:
    """The value of the header Authorization."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
