# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""A small MLflow server: its REST API as MLflow 3 answers it, under a prefix, on a real socket."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

PREFIX = "/mlflow"
ROOT = "1/run/artifacts/model"


class FakeMlflow:
    """A server with one model; tests change its attributes.

    :ivar files: content by path, relative to the model's folder.
    :ivar truncated: files of which only half is sent.
    :ivar login: `user:password` if a login is wanted.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.tags: dict[str, str] = {}
        self.aliases = {"champion": "2"}
        self.versions = ["1", "2", "10"]
        self.run_id = "run"
        self.location = f"mlflow-artifacts:/{ROOT}"
        self.truncated: set[str] = set()
        self.login = ""
        self.redirect = ""
        self.requests: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        self.uri = f"http://127.0.0.1:{self._server.server_port}{PREFIX}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def seal(self, *paths: str) -> None:
        """Give the model a checksums.json of these files, and the version its tag."""
        checksums = {path: hashlib.sha256(self.files[path]).hexdigest() for path in paths}
        self.files["checksums.json"] = json.dumps(checksums).encode()
        self.tags["modelyard.checksums"] = hashlib.sha256(self.files["checksums.json"]).hexdigest()

    def downloads(self) -> list[str]:
        """The files that were fetched."""
        return [path.partition(ROOT + "/")[2] for path in self.requests if f"/artifacts/{ROOT}/" in path]

    def answer(self, path: str, query: dict[str, str]) -> tuple[int, Any]:
        api = path.removeprefix(f"{PREFIX}/api/2.0/mlflow")
        if api == path:
            return 404, b"<html>not found</html>"
        if api.startswith("-artifacts/artifacts/"):
            return self._file(unquote(api.removeprefix(f"-artifacts/artifacts/{ROOT}/")))
        if api == "-artifacts/artifacts":
            return 200, {"files": self._listing(query["path"])}
        if query.get("name", "iris") != "iris":
            return 404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "Registered Model not found"}
        return self._registry(api, query)

    def _registry(self, api: str, query: dict[str, str]) -> tuple[int, Any]:
        if api == "/registered-models/alias":
            if query["alias"] not in self.aliases:
                return 400, {"error_code": "INVALID_PARAMETER_VALUE", "message": "alias not found"}
            return 200, {"model_version": self._version(self.aliases[query["alias"]])}
        if api == "/model-versions/get":
            if query["version"] not in self.versions:
                return 404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "Model Version not found"}
            return 200, {"model_version": self._version(query["version"])}
        aliases = [{"alias": alias, "version": version} for alias, version in self.aliases.items()]
        answers: dict[str, Any] = {
            "/model-versions/get-download-uri": {"artifact_uri": self.location},
            "/model-versions/search": {"model_versions": [self._version(version) for version in self.versions]},
            "/registered-models/get": {"registered_model": {"name": "iris", "aliases": aliases}},
        }
        return 200, answers[api]

    def _version(self, version: str) -> dict[str, Any]:
        tags = [{"key": key, "value": value} for key, value in self.tags.items()]
        return {"name": "iris", "version": version, "run_id": self.run_id, "tags": tags}

    def _listing(self, folder: str) -> list[dict[str, Any]]:
        inner = folder.removeprefix(ROOT).strip("/")
        entries: dict[str, dict[str, Any]] = {}
        for path, content in self.files.items():
            if inner and not path.startswith(inner + "/"):
                continue
            name, _unused, rest = path[len(inner) :].lstrip("/").partition("/")
            # A name that climbs is listed as it is, as a hostile server would.
            if name == ".." or not rest:
                entries[path] = {"path": path if name == ".." else name, "is_dir": False, "file_size": len(content)}
            else:
                entries[name] = {"path": name, "is_dir": True}
        return list(entries.values())

    def _file(self, path: str) -> tuple[int, Any]:
        content = self.files.get(path)
        return (404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": path}) if content is None else (200, content)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                fake.requests.append(unquote(parts.path))
                expected = "Basic " + base64.b64encode(fake.login.encode()).decode()
                if fake.redirect:
                    return self.reply(302, b"", fake.redirect)
                if fake.login and self.headers.get("Authorization") != expected:
                    return self.reply(401, b"login, please")
                query = {key: values[0] for key, values in parse_qs(parts.query).items()}
                status, body = fake.answer(parts.path, query)
                return self.reply(status, body if isinstance(body, bytes) else json.dumps(body).encode())

            def reply(self, status: int, body: bytes, location: str = "") -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                if location:
                    self.send_header("Location", location)
                self.end_headers()
                half = any(self.path.endswith(path) for path in fake.truncated)
                self.wfile.write(body[: len(body) // 2] if half else body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler
