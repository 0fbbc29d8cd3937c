# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""Model versions as folders of a host: fetched whole and checked, or not there at all.

`<root>/<name>/<version>/` holds the files, `checksums.json` among them; `<root>/<name>/<version>.json` says where they
came from. The latter is written last: a folder without it was never finished.
"""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import json
import os
import re
import shutil
import typing as t
from contextlib import contextmanager

from .mlflow_client import MlflowClient, MlflowError, MlflowUnreachable, ModelVersion, RemoteFile

CHECKSUMS = "checksums.json"
CHECKSUMS_TAG = "modelyard.checksums"
_CHUNK = 1 << 20
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class ModelError(Exception):
    """A model's files are not what they have to be; none of them is left in place."""


class Record(t.NamedTuple):
    """Where a folder came from. A registry that was built anew counts its versions from 1 again, so the number
    alone does not say that the files are the same."""

    run_id: str
    artifact_path: str
    digest: str


class ModelStore:
    """The model versions below `root`."""

    def __init__(self, root: str, name: str) -> None:
        if not _NAME.fullmatch(name):
            raise ModelError(
                f"name: '{name}' cannot be a folder's name: use letters, digits, dots, dashes and underscores"
            )
        self._folder = os.path.join(root, name)

    def path(self, version: ModelVersion) -> str:
        """The folder of a version, whether it is there or not."""
        if not version.version.isdecimal():
            raise ModelError(f"the registry calls a version '{version.version}', which is no number")
        return os.path.join(self._folder, version.version)

    def digest(self, version: ModelVersion) -> str | None:
        """The digest of a version whose files are here, complete and unaltered; else None."""
        path = self.path(version)
        try:
            with open(path + ".json", encoding="utf-8") as file:
                record = Record(**json.load(file))
            wanted = version.tags.get(CHECKSUMS_TAG, record.digest)
            if record != Record(version.run_id, version.artifact_path, wanted):
                return None
            verify(path, wanted)
        except (OSError, ValueError, TypeError, ModelError):
            return None
        return record.digest

    def fetch(self, client: MlflowClient, version: ModelVersion) -> tuple[str, int]:
        """Fetch the files of a version; returns their digest and how many bytes they have."""
        path = self.path(version)
        os.makedirs(self._folder, exist_ok=True)
        with self._locked():
            partial = path + ".part"
            shutil.rmtree(partial, ignore_errors=True)
            try:
                size = _download(client, version, partial)
                for folder, _unused, _unused in os.walk(partial):  # whatever the umask: a container's user reads them
                    os.chmod(folder, 0o755)
                digest = _seal(partial, version.tags.get(CHECKSUMS_TAG, ""))
                verify(partial, digest)
                self._move_in(partial, path, Record(version.run_id, version.artifact_path, digest))
            finally:
                shutil.rmtree(partial, ignore_errors=True)
        return digest, size

    @contextmanager
    def _locked(self) -> t.Iterator[None]:
        """Two runs on one host take turns."""
        with open(os.path.join(self._folder, ".lock"), "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @staticmethod
    def _move_in(partial: str, path: str, record: Record) -> None:
        if os.path.exists(path + ".json"):
            os.unlink(path + ".json")
        shutil.rmtree(path, ignore_errors=True)
        os.rename(partial, path)
        with open(path + ".json.new", "w", encoding="utf-8") as file:
            json.dump(record._asdict(), file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        os.replace(path + ".json.new", path + ".json")


def safe_path(path: str) -> str:
    """Refuse a path that would leave the folder it is put into."""
    parts = path.split("/")
    if not path or "\\" in path or "\0" in path or any(part in ("", ".", "..") for part in parts):
        raise ModelError(f"the registry names a file '{path}', which is no plain relative path: refused")
    return path


def verify(folder: str, digest: str) -> None:
    """Check a folder against its checksums.json, and that against `digest`.

    :raises ModelError: names the first file that is not as it must be.
    """
    checksums = _read_checksums(folder)
    found = _sha256(os.path.join(folder, CHECKSUMS))
    if found != digest:
        raise ModelError(f"{CHECKSUMS} has the SHA-256 {found}, and {digest} was registered for it")
    for path, expected in checksums.items():
        found = _sha256(os.path.join(folder, path))
        if found != expected:
            raise ModelError(f"{path} has the SHA-256 {found}, and {expected} was registered for it: it is corrupt")


def _download(client: MlflowClient, version: ModelVersion, folder: str) -> int:
    """Fetch what the version consists of into `folder`; returns the number of bytes."""
    files = {safe_path(file.path): file for file in client.files(version)}
    label = f"{version.name} version {version.version}"
    if not files:
        raise ModelError(f"{label} has no files at {client.uri}, in {version.artifact_path or 'the root'}")
    os.makedirs(folder)
    if CHECKSUMS not in files:
        if CHECKSUMS_TAG in version.tags:
            raise ModelError(f"{label} has the tag {CHECKSUMS_TAG}, and no file {CHECKSUMS}")
        wanted = list(files.values())
    else:
        # What is registered as the model is what its checksums name; a training run may keep more beside it.
        _fetch_file(client, version, files[CHECKSUMS], folder)
        checksums = _read_checksums(folder)
        missing = sorted(set(checksums) - set(files))
        if missing:
            raise ModelError(f"{label} lacks files that its {CHECKSUMS} names: {', '.join(missing)}")
        wanted = [files[path] for path in checksums]
    size = sum(file.size for file in wanted)
    free = shutil.disk_usage(folder).free
    if size > free:
        raise ModelError(f"{label} needs {size} bytes, and {os.path.dirname(folder)} has {free} left")
    for file in wanted:
        _fetch_file(client, version, file, folder)
    return size


def _fetch_file(client: MlflowClient, version: ModelVersion, file: RemoteFile, folder: str) -> None:
    target = os.path.join(folder, file.path)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    received = 0
    with client.open(version, file.path) as response, open(target, "wb") as out:
        while True:
            try:
                chunk = response.read(_CHUNK)
            except (OSError, http.client.HTTPException) as error:
                raise MlflowUnreachable(f"{client.uri} broke off in the middle of {file.path}: {error}") from error
            if not chunk:
                break
            out.write(chunk)
            received += len(chunk)
    os.chmod(target, 0o644)
    if received != file.size:
        raise MlflowError(f"{client.uri} sent {received} bytes of {file.path}, which has {file.size}")


def _seal(folder: str, registered: str) -> str:
    """The digest of a downloaded folder: the registered one, or that of its checksums.json, made here if need be."""
    target = os.path.join(folder, CHECKSUMS)
    if not os.path.exists(target):
        paths = (
            os.path.relpath(os.path.join(parent, name), folder)
            for parent, _unused, names in os.walk(folder)
            for name in names
        )
        checksums = {path: _sha256(os.path.join(folder, path)) for path in sorted(paths)}
        with open(target, "w", encoding="utf-8") as file:
            json.dump(checksums, file, indent=1)
        os.chmod(target, 0o644)
    return registered or _sha256(target)


def _read_checksums(folder: str) -> dict[str, str]:
    try:
        with open(os.path.join(folder, CHECKSUMS), encoding="utf-8") as file:
            checksums = json.load(file)
        if not all(_SHA256.fullmatch(value) for value in checksums.values()):
            raise ValueError("a value is no SHA-256")
    except (ValueError, AttributeError, TypeError) as error:
        raise ModelError(f"{CHECKSUMS} is not a list of paths with their SHA-256: {error}") from error
    return {safe_path(path): value for path, value in checksums.items()}


def _sha256(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while True:
            chunk = file.read(_CHUNK)
            if not chunk:
                return digest.hexdigest()
            digest.update(chunk)
