# SPDX-License-Identifier: Apache-2.0
"""How long and how large a request may be. The app `small` has limits of its own: 2 s, and 20 KiB."""

from __future__ import annotations

import time

import pytest

from .client import Client

pytestmark = pytest.mark.usefixtures("serving")

LIMIT = 20 * 1024


def chunked(size: int) -> bytes:
    """A body in one chunk, and in one piece, so that it is sent before the answer comes."""
    return f"{size:x}\r\n".encode() + b"x" * size + b"\r\n0\r\n\r\n"


def test_body_up_to_the_limit_arrives(client: Client) -> None:
    assert client.ask("POST", "/small", b"x" * LIMIT).json["length"] == LIMIT
    assert client.ask("POST", "/predict", b"x" * 5 * LIMIT).json["length"] == 5 * LIMIT


def test_larger_body_is_refused(client: Client) -> None:
    answer = client.ask("POST", "/small", b"x" * (LIMIT + 1))
    assert (answer.status, answer.json["title"]) == (413, "the body is too large")
    assert answer.headers["content-type"] == "application/problem+json"


def test_body_of_unknown_length_must_be_small(client: Client) -> None:
    assert client.ask("POST", "/small", chunked(10_000), Transfer_Encoding="chunked").json["length"] == 10_000
    assert client.ask("POST", "/small", chunked(18_000), Transfer_Encoding="chunked").status == 411
    assert client.ask("POST", "/small", None).status == 200


def test_app_may_be_silent_as_long_as_it_says(client: Client) -> None:
    assert client.get("/small?sleep=0.5").status == 200
    answer = client.get("/small?sleep=3")
    assert (answer.status, answer.json["title"]) == (504, "the application took too long")
    assert client.get("/predict?sleep=3").status == 200


def test_stream_is_passed_on_as_it_comes(client: Client) -> None:
    connection = client.connection()
    connection.request("GET", "/predict?stream=3")
    answer = connection.getresponse()
    assert answer.readline() == b"first\n"
    first = time.monotonic()
    assert answer.readline() == b"last\n"
    assert time.monotonic() - first > 2


def test_websocket_may_be_silent_as_long_as_its_app_says(client: Client) -> None:
    long, short = client.tunnel("/predict"), client.tunnel("/small")
    time.sleep(3)
    long.sendall(b"still here")
    assert long.recv(99) == b"still here"
    assert short.recv(99) == b"", "closed by the ingress"
