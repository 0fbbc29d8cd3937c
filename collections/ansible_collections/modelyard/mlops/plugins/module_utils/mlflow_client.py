# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""What is needed of MLflow's REST API: model versions, and the files that the server serves for them."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import typing as t
from dataclasses import dataclass, field
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, HTTPSHandler, Request, build_opener

_MISSING = "RESOURCE_DOES_NOT_EXIST"
# What MLflow answers for an alias that nobody has set.
_INVALID = "INVALID_PARAMETER_VALUE"


class MlflowError(Exception):
    """The server's answer is of no use; the message says what was asked, what came back and what to do."""


class MlflowUnreachable(MlflowError):
    """No server answers."""


class MlflowMissing(MlflowError):
    """The server answers, and has no such model, version or alias."""


@dataclass(frozen=True)
class ModelVersion:
    """A version in the registry.

    :ivar artifact_path: its folder, below the root of the server's artifact store.
    """

    name: str
    version: str
    run_id: str
    artifact_path: str
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RemoteFile:
    """A file of a model version; `path` is relative to the version's folder, `size` in bytes."""

    path: str
    size: int


class _NoRedirect(HTTPRedirectHandler):
    """Following would hand the login to whom the server names."""

    def redirect_request(self, *args: t.Any, **kwargs: t.Any) -> None:
        return None


class MlflowClient:
    """A server.

    :param tracking_uri: as MLflow's own clients want it, the server's prefix included.
    :param ca_path: certificates to trust instead of the system's.
    :param timeout: seconds without a byte before a request is given up.
    """

    def __init__(
        self, tracking_uri: str, username: str = "", password: str = "", ca_path: str = "", timeout: float = 30.0
    ) -> None:
        if urlsplit(tracking_uri).scheme not in ("http", "https"):
            raise MlflowError(f"tracking_uri: '{tracking_uri}' must begin with http:// or https://")
        self.uri = tracking_uri.rstrip("/")
        self._timeout = timeout
        self._headers = {}
        if username:
            login = base64.b64encode(f"{username}:{password}".encode()).decode()
            self._headers["Authorization"] = f"Basic {login}"
        try:
            context = ssl.create_default_context(cafile=ca_path or None)
        except (OSError, ssl.SSLError) as error:
            raise MlflowError(f"ca_path: '{ca_path}' holds no certificates that can be read: {error}") from error
        self._opener = build_opener(_NoRedirect, HTTPSHandler(context=context))

    def version(self, name: str, version: str) -> ModelVersion:
        """The version with this number.

        :raises MlflowMissing: there is none; the message names those that exist.
        """
        try:
            found = self._api("model-versions/get", name=name, version=version)
        except MlflowMissing:
            raise MlflowMissing(f"{self.uri} has no version {version} of '{name}'. {self._hint(name)}") from None
        return self._resolve(found["model_version"])

    def aliased(self, name: str, alias: str) -> ModelVersion:
        """The version that an alias points to.

        :raises MlflowMissing: it points nowhere; the message names the versions and aliases that exist.
        """
        try:
            found = self._api("registered-models/alias", name=name, alias=alias)
        except MlflowMissing:
            raise MlflowMissing(f"the alias '{alias}' points nowhere at {self.uri}. {self._hint(name)}") from None
        return self._resolve(found["model_version"])

    def files(self, version: ModelVersion) -> list[RemoteFile]:
        """All files of a version, sorted by path. The paths are what the server says, so do not trust them."""
        found: list[RemoteFile] = []
        folders = [""]
        while folders:
            folder = folders.pop()
            path = "/".join(filter(None, [version.artifact_path, folder]))
            for entry in self._json("/api/2.0/mlflow-artifacts/artifacts?" + urlencode({"path": path})).get(
                "files", []
            ):
                inner = "/".join(filter(None, [folder, entry["path"]]))
                if entry.get("is_dir"):
                    folders.append(inner)
                else:
                    found.append(RemoteFile(inner, int(entry.get("file_size") or 0)))
        return sorted(found, key=lambda file: file.path)

    def open(self, version: ModelVersion, path: str) -> http.client.HTTPResponse:
        """A file of a version, to be read and closed by the caller."""
        return self._get(f"/api/2.0/mlflow-artifacts/artifacts/{quote(f'{version.artifact_path}/{path}')}")

    def _resolve(self, found: dict[str, t.Any]) -> ModelVersion:
        name, version = found["name"], str(found["version"])
        location = self._api("model-versions/get-download-uri", name=name, version=version)["artifact_uri"]
        parts = urlsplit(location)
        if parts.scheme != "mlflow-artifacts":
            raise MlflowError(
                f"the files of {name} version {version} are at {location}, where only MLflow's server can reach them: "
                "it must run with --serve-artifacts and a default artifact root of mlflow-artifacts:/"
            )
        tags = {tag["key"]: tag["value"] for tag in found.get("tags", [])}
        return ModelVersion(name, version, found.get("run_id") or "", parts.path.strip("/"), tags)

    def _hint(self, name: str) -> str:
        """What there is of a model."""
        try:
            model = self._api("registered-models/get", name=name)["registered_model"]
        except MlflowMissing:
            return f"It has no model '{name}' at all: has the training run registered one?"
        found = self._api("model-versions/search", filter=f"name='{name}'", max_results="100").get("model_versions", [])
        versions = ", ".join(sorted((str(item["version"]) for item in found), key=int)) or "none"
        aliases = ", ".join(f"{item['alias']} -> {item['version']}" for item in model.get("aliases", [])) or "none"
        return f"Versions: {versions}; aliases: {aliases}."

    def _api(self, call: str, **query: str) -> dict[str, t.Any]:
        return self._json(f"/api/2.0/mlflow/{call}?{urlencode(query)}")

    def _json(self, path: str) -> dict[str, t.Any]:
        with self._get(path) as response:
            body = response.read()
        try:
            answer = json.loads(body)
            if isinstance(answer, dict):
                return answer
        except ValueError:
            pass
        raise MlflowError(f"{self.uri} is no MLflow server: {path} is answered with {body[:80]!r}")

    def _get(self, path: str) -> http.client.HTTPResponse:
        request = Request(self.uri + path, headers=self._headers)
        try:
            return t.cast(http.client.HTTPResponse, self._opener.open(request, timeout=self._timeout))
        except HTTPError as error:
            with error:
                raise self._refused(path, error.code, error.headers.get("Location"), error.read(100_000)) from None
        except (URLError, OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise MlflowUnreachable(f"no MLflow server answers at {self.uri}: {reason}") from error

    def _refused(self, path: str, status: int, location: str | None, body: bytes) -> MlflowError:
        try:
            answer = json.loads(body)
            code, message = str(answer["error_code"]), str(answer.get("message", ""))
        except (ValueError, KeyError, TypeError):
            code, message = "", body[:200].decode(errors="replace").strip()
        if code == _MISSING or (code == _INVALID and "/alias?" in path):
            return MlflowMissing(message)
        if status in (http.client.UNAUTHORIZED, http.client.FORBIDDEN) and not code:
            return MlflowError(f"{self.uri} wants a login (HTTP {status}): {message}. Check username and password.")
        if location:
            return MlflowError(
                f"{self.uri} redirects to {location}: give that as tracking_uri, without what follows its prefix"
            )
        if status == http.client.NOT_FOUND and not code:
            return MlflowError(
                f"{self.uri} is no MLflow server, or its prefix is missing in the address: {path} is not found"
            )
        return MlflowError(f"{self.uri} answers {path} with HTTP {status}: {message}")
