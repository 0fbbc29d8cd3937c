# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""The engine's client and what is built on it, against a server on a unix socket that plays the engine."""

from __future__ import annotations

import http.server
import io
import json
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.modelyard.mlops.plugins.module_utils import image_agent
from ansible_collections.modelyard.mlops.plugins.module_utils.container import ContainerError, Containers, Spec
from ansible_collections.modelyard.mlops.plugins.module_utils.engine import Engine, EngineError, EngineUnreachable

Answer = tuple[int, str, bytes]


class Played(socketserver.ThreadingUnixStreamServer):
    """Answers by method and path; what has none is not there. Keeps what was asked."""

    daemon_threads = True

    def __init__(self, path: str) -> None:
        super().__init__(path, Handler)
        self.answers: dict[str, Answer] = {"GET /version": (200, "application/json", b'{"ApiVersion": "1.41"}')}
        self.asked: list[tuple[str, bytes]] = []

    def json(self, request: str, content: Any, status: int = 200) -> None:
        self.answers[request] = (status, "application/json", json.dumps(content).encode())


class Handler(http.server.BaseHTTPRequestHandler):
    server: Played

    def handle_one_request(self) -> None:
        self.client_address = ("", 0)
        super().handle_one_request()

    def answer(self) -> None:
        body = self.chunks() if self.headers.get("Transfer-Encoding") else self.plain()
        self.server.asked.append((f"{self.command} {self.path}", body))
        missing = (404, "application/json", b'{"message": "no such thing"}')
        status, kind, content = self.server.answers.get(f"{self.command} {self.path.partition('?')[0]}", missing)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_DELETE = answer

    def plain(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def chunks(self) -> bytes:
        parts = []
        while length := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(length))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def log_message(self, *_words: Any) -> None:
        """Say nothing."""


@pytest.fixture
def played(tmp_path: Path) -> Iterator[Played]:
    with Played(str(tmp_path / "docker.sock")) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def engine(played: Played) -> Engine:
    return Engine(str(played.server_address), timeout=5)


def test_calls_use_the_version_that_the_engine_offers_and_ask_for_it_once(played: Played, engine: Engine) -> None:
    played.json("GET /v1.41/info", {"Name": "a host"})
    assert [engine.get("/info")["Name"] for _call in range(2)] == ["a host"] * 2
    assert [request for request, _body in played.asked] == ["GET /version", "GET /v1.41/info", "GET /v1.41/info"]


def test_queries_are_what_the_engine_expects(played: Played, engine: Engine) -> None:
    played.json("GET /v1.41/images/json", [])
    engine.get("/images/json", all=True, digests=False, filters={"label": ["a=b c"]}, left_out=None, limit=3)
    request = played.asked[-1][0]
    assert request.endswith("?all=true&digests=false&filters=%7B%22label%22%3A+%5B%22a%3Db+c%22%5D%7D&limit=3")


def test_answers_are_decoded_by_what_they_are(played: Played, engine: Engine) -> None:
    played.json("POST /v1.41/containers/create", {"Id": "abc"}, 201)
    played.answers["DELETE /v1.41/containers/abc"] = (204, "text/plain", b"")
    played.answers["GET /v1.41/_ping"] = (200, "text/plain", b"OK")
    assert engine.post("/containers/create", {"Image": "x"}) == {"Id": "abc"}
    assert json.loads(played.asked[-1][1]) == {"Image": "x"}
    assert engine.delete("/containers/abc") is None
    assert engine.get("/_ping") == "OK"


@pytest.mark.parametrize(
    "body", [b"one two", io.BytesIO(b"one two"), [b"one ", b"two"]], ids=["bytes", "file", "parts"]
)
def test_bodies_are_sent_whole_however_they_come(body: Any, played: Played, engine: Engine) -> None:
    played.answers["POST /v1.41/images/load"] = (200, "application/json", b"{}")
    with engine.raw("POST", "/images/load", body) as response:
        assert response.read() == b"{}"
    assert played.asked[-1][1] == b"one two"


@pytest.mark.parametrize(
    ("content", "message"),
    [(b'{"message": "in use"}', "in use"), (b"proxy error\n", "proxy error"), (b"[]", "[]")],
)
def test_a_refusal_has_the_engines_words(content: bytes, message: str, played: Played, engine: Engine) -> None:
    played.answers["DELETE /v1.41/images/x"] = (409, "application/json", content)
    with pytest.raises(EngineError, match="answered 409") as refusal:
        engine.delete("/images/x")
    assert (refusal.value.status, refusal.value.message) == (409, message)


def test_no_engine_is_said_with_its_socket(tmp_path: Path) -> None:
    with pytest.raises(EngineUnreachable, match=r"no Docker engine answers at .*/none\.sock"):
        Engine(str(tmp_path / "none.sock")).get("/info")


def test_an_answer_that_breaks_off_is_an_engine_that_went_away(
    played: Played, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    played.json("GET /v1.41/info", {"Name": "a host"})
    engine.get("/info")
    real = Handler.send_header
    longer = {"Content-Length": "1000"}
    monkeypatch.setattr(Handler, "send_header", lambda self, name, value: real(self, name, longer.get(name) or value))
    with pytest.raises(EngineUnreachable, match="went away meanwhile"):
        engine.get("/info")


def test_a_container_that_does_not_start_is_not_left(played: Played, engine: Engine) -> None:
    played.json("POST /v1.41/containers/create", {"Id": "abc"}, 201)
    played.json("POST /v1.41/containers/abc/start", {"message": "port is already allocated"}, 500)
    played.json("DELETE /v1.41/containers/abc", {})
    with pytest.raises(ContainerError, match="container shop does not start: port is already allocated"):
        Containers(engine).run("shop", Spec(image="sha256:1"))
    assert played.asked[-1][0].startswith("DELETE /v1.41/containers/abc?force=true")


def test_what_is_not_there_is_stopped_and_removed_already(played: Played, engine: Engine) -> None:
    containers = Containers(engine)
    assert containers.inspect("shop") is None
    containers.stop("shop", grace=1)
    containers.remove("shop")
    played.json("POST /v1.41/containers/shop/kill", {"message": "not running"}, 409)
    containers.kill("shop")
    played.json("DELETE /v1.41/containers/shop", {"message": "driver failed"}, 500)
    with pytest.raises(EngineError, match="driver failed"):
        containers.remove("shop")
    played.json("GET /v1.41/containers/shop/json", {"message": "corrupt"}, 500)
    with pytest.raises(EngineError, match="corrupt"):
        containers.inspect("shop")


def test_a_container_runs_is_renamed_and_read(played: Played, engine: Engine) -> None:
    containers = Containers(engine)
    for request in ("containers/create", "containers/abc/start", "containers/abc/rename"):
        played.json(f"POST /v1.41/{request}", {"Id": "abc"})
    played.answers["GET /v1.41/containers/abc/logs"] = (200, "application/octet-stream", b"\1\0\0\0\0\0\0\3hi\n")
    assert containers.run("shop", Spec(image="sha256:1")) == "abc"
    containers.start("abc")
    containers.rename("abc", "till")
    assert played.asked[-1][0] == "POST /v1.41/containers/abc/rename?name=till"
    assert containers.logs("abc") == containers.logs("abc", lines=5) == "hi\n"
    assert played.asked[-1][0].endswith("tail=5")


def test_what_the_engine_does_not_pull_is_said_in_its_words(played: Played, tmp_path: Path) -> None:
    played.json("GET /v1.41/info", {"OSType": "linux", "Architecture": "x86_64", "DockerRootDir": "/"})
    reference = f"registry.example.org/shop@sha256:{'1' * 64}"
    question = {
        "engine_socket": str(played.server_address),
        "staging": str(tmp_path / "staging"),
        "check": False,
        "steps": [("pull", {"name": "shop:1", "reference": reference})],
    }
    said = image_agent.answer(question, io.BytesIO())
    assert said["failed"] == f"shop:1: the engine does not pull {reference}: no such thing"
