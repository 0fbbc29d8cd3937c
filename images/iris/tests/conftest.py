# SPDX-License-Identifier: Apache-2.0
"""What the tests share: a small forest, its folder, its real server, and MLflow as a file and as a real server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeAlias

import hypothesis
import pytest
from werkzeug.test import Client, TestResponse

from iris_model import artefact, data, model, training
from iris_model.serving import app as service
from iris_model.serving.express import Express

# A busy machine is no fault of an example, and a failure is to be the same one the next time.
hypothesis.settings.register_profile("iris", deadline=None, derandomize=True)
hypothesis.settings.load_profile("iris")

OPENAPI = json.loads(Path(service.__file__).with_name("openapi.json").read_text("utf-8"))

SOURCE = str(Path(__file__).resolve().parents[1] / "src")
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")


@pytest.fixture(scope="session")
def dataset() -> data.Dataset:
    return data.builtin()


@pytest.fixture(scope="session")
def parameters() -> training.Hyperparameters:
    return training.Hyperparameters(n_estimators=7, folds=3)


@pytest.fixture(scope="session")
def model_folder(
    dataset: data.Dataset, parameters: training.Hyperparameters, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return a sealed model folder without what MLflow adds to it."""
    folder = tmp_path_factory.mktemp("model")
    forest = training.fit(dataset, parameters)
    artefact.write(folder, artefact.to_onnx(forest), artefact.metadata(dataset, parameters, {}))
    model.seal(folder)
    return folder


def resolve(node: Any) -> Any:
    """Follow a reference within `openapi.json`."""
    while "$ref" in node:
        target = OPENAPI
        for key in node["$ref"].removeprefix("#/").split("/"):
            target = target[key]
        node = target
    return node


def check_described(answer: TestResponse) -> None:
    """Assert that status, headers, content type and body are as `openapi.json` says."""
    path, method = answer.request.path, answer.request.method.lower()
    if path not in OPENAPI["paths"]:
        expected = {"404": OPENAPI["components"]["responses"]["NotFound"]}
    elif method not in OPENAPI["paths"][path]:
        expected = {"405": OPENAPI["components"]["responses"]["MethodNotAllowed"]}
    else:
        expected = OPENAPI["paths"][path][method]["responses"]
    described = resolve(expected[str(answer.status_code)])
    assert set(described["headers"]) <= set(answer.headers.keys())
    mimetype = str(answer.mimetype)
    schema = described["content"][mimetype]["schema"]
    conforms(json.loads(answer.data) if mimetype.endswith("json") else answer.text, schema)


def conforms(value: Any, schema: Any) -> None:
    """Assert that a value is as a schema says; as much of JSON Schema as `openapi.json` uses, and no more."""
    schema = dict(resolve(schema))
    schema.pop("description", None)
    kinds = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": int | float}
    if kind := schema.pop("type", None):
        assert isinstance(value, kinds[kind])
        assert kind == "boolean" or not isinstance(value, bool)
    if "const" in schema:
        assert value == schema.pop("const")
    if "enum" in schema:
        assert value in schema.pop("enum")
    if "pattern" in schema:
        assert re.search(schema.pop("pattern"), value)
    if isinstance(value, dict):
        properties = schema.pop("properties", {})
        assert set(schema.pop("required", [])) <= set(value)
        assert schema.pop("additionalProperties", True) or set(value) <= set(properties)
        for name in properties.keys() & value.keys():
            conforms(value[name], properties[name])
    if isinstance(value, list):
        assert schema.pop("minItems") <= len(value) <= schema.pop("maxItems")
        items = schema.pop("items")
        for item in value:
            conforms(item, items)
    if isinstance(value, int | float):
        assert schema.pop("minimum", value) <= value <= schema.pop("maximum", value)
    schema.pop("default", None)
    assert not schema, f"this test does not know {sorted(schema)}"


@dataclass
class Exchange:
    """A request's body, which arrives in two parts, and the answer to it: what Granian gives an RSGI application."""

    body: bytes
    status: int = 0
    headers: list[tuple[str, str]] = field(default_factory=list)
    content: bytes = b""

    async def __call__(self) -> bytes:
        return self.body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        half = len(self.body) // 2
        yield self.body[:half]
        yield self.body[half:]

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.status, self.headers, self.content = status, headers, body


class DescribedClient(Client):
    """A client which insists that each answer is one that `/openapi.json` describes."""

    def __init__(self, express: Express) -> None:
        super().__init__(self._ask, TestResponse)
        self.express = express

    def _ask(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        """Ask without a server: from WSGI, as the client speaks it, to RSGI."""
        headers = {name[5:].replace("_", "-").lower(): value for name, value in environ.items() if name[:5] == "HTTP_"}
        for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            if environ.get(name):
                headers[name.replace("_", "-").lower()] = environ[name]
        scope = SimpleNamespace(
            method=environ["REQUEST_METHOD"],
            path=environ["PATH_INFO"],
            query_string=environ["QUERY_STRING"],
            http_version="1.1",
            scheme="http",
            server="127.0.0.1:80",
            client="127.0.0.1:40000",
            headers=headers,
        )
        exchange = Exchange(environ["wsgi.input"].read())
        asyncio.run(self.express(scope, exchange))
        start_response(f"{exchange.status} {HTTPStatus(exchange.status).phrase}", exchange.headers)
        return [exchange.content]

    def open(self, *args: Any, **kwargs: Any) -> TestResponse:
        """Ask, and compare the answer with the description."""
        answer = super().open(*args, **kwargs)
        if answer.request.method != "HEAD":
            check_described(answer)
        return answer


@pytest.fixture(scope="module")
def client(model_folder: Path) -> DescribedClient:
    """Return a client of the service with the model as version 7 in release 12."""
    return DescribedClient(service.create_app(model.Model.load(model_folder), service.Identity("iris", "7", "12")))


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a folder with an empty MLflow store which is the one that the package uses."""
    import mlflow

    folder = tmp_path_factory.mktemp("store")
    before, os.environ["MLFLOW_TRACKING_URI"] = Path.cwd(), f"sqlite:///{folder}/mlflow.db"
    os.chdir(folder)  # the artifacts' default place is under the current folder
    mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
    yield folder
    os.chdir(before)
    del os.environ["MLFLOW_TRACKING_URI"]


Start: TypeAlias = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Return what starts a Python program that finds the package; all it has started ends with the test."""
    processes: list[subprocess.Popen[bytes]] = []

    def begin(*arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        processes.append(
            subprocess.Popen(
                [sys.executable, *arguments],
                env={**os.environ, "PYTHONPATH": SOURCE, **environment},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,  # so that it can be ended with all that it starts itself
            )
        )
        return processes[-1]

    yield begin
    for process in processes:
        end(process)
        process.wait()


def end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_it_answers(url: str, process: subprocess.Popen[bytes], seconds: float = 180) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    end(process)
    raise AssertionError(f"nothing answers at {url}: {process.communicate()[1].decode()}")


@pytest.fixture
def server(model_folder: Path, start: Start) -> tuple[subprocess.Popen[bytes], int]:
    """Return the real server with two workers, ready, and its port."""
    port = free_port()
    process = start(
        "-m", "iris_model", "serve", PORT=str(port), MODEL_DIR=str(model_folder), MODEL_VERSION="7", WORKERS="2"
    )
    wait_until_it_answers(f"http://127.0.0.1:{port}/ready", process)
    return process, port


@pytest.fixture
def tracking_server(tmp_path: Path, start: Start) -> str:
    """Return the address of a real MLflow server with an empty store."""
    port = free_port()
    process = start(
        *("-m", "mlflow", "server", "--port", str(port), "--workers", "1", "--uvicorn-opts", "--log-level=critical"),
        *("--backend-store-uri", f"sqlite:///{tmp_path}/mlflow.db", "--artifacts-destination", str(tmp_path / "files")),
        MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false",
    )
    wait_until_it_answers(f"http://127.0.0.1:{port}/health", process)
    return f"http://127.0.0.1:{port}"
