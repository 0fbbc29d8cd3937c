# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""An engine as a place where images arrive: what it is, what it has, and images by their key."""

from __future__ import annotations

import http.client
import json
import os
import typing as t

from .engine import Engine, EngineError, EngineUnreachable
from .image_key import chain_ids

CLASSIC = "classic"
CONTAINERD = "containerd"
PODMAN = "podman"

# Loading is silent while the engine unpacks.
_LOAD_TIMEOUT = 1800.0

Inspected = dict[str, t.Any]


class Target:
    """The engine behind a socket.

    :param records: a file that keeps which image of the engine has which key. The containerd store calls an
        image by the digest of its manifest, and has no question that is answered with the key.
    """

    def __init__(self, engine: Engine, records: str) -> None:
        self._engine = engine
        self._records = records
        version = engine.get("/version")
        info = engine.get("/info")
        self.version: str = version["Version"]
        self.api: str = version["ApiVersion"]
        self.os: str = version["Os"]
        self.architecture: str = version["Arch"]
        self.root: str = info["DockerRootDir"]
        self.store = store(version, info)

    def describe(self) -> dict[str, str]:
        """The engine in a few words, for a plan."""
        return {
            "version": self.version,
            "api": self.api,
            "os": self.os,
            "architecture": self.architecture,
            "store": self.store,
            "root": self.root,
        }

    def inspect(self, reference: str) -> Inspected | None:
        """What the engine says of an image, or None when it does not have it."""
        try:
            return t.cast(Inspected, self._engine.get(f"/images/{reference}/json"))
        except EngineError as error:
            if error.status == http.client.NOT_FOUND:
                return None
            raise

    def find(self, key: str) -> Inspected | None:
        """The image with this key, or None."""
        if self.store != CONTAINERD:
            return self.inspect(key)
        known = (self.inspect(image) for image, recorded in self._read_records().items() if recorded == key)
        return next(filter(None, known), None)

    def key_at(self, name: str) -> str | None:
        """The key of the image that `name` points to, or None."""
        image = self.inspect(name)
        if image is None:
            return None
        if self.store == CONTAINERD:
            return self._read_records().get(image["Id"])
        return _with_algorithm(image["Id"])

    def chains(self) -> list[str]:
        """The chain IDs of all layers of all images, sorted."""
        found: set[str] = set()
        for entry in self._engine.get("/images/json"):
            image = self.inspect(entry["Id"])
            found.update(chain_ids((image or {}).get("RootFS", {}).get("Layers") or []))
        return sorted(found)

    def load(self, archive: t.Iterable[bytes]) -> None:
        """Load an archive.

        :raises EngineError: the engine refused it, at once or while it read.
        :raises EngineUnreachable: the engine went away meanwhile.
        """
        headers = {"Content-Type": "application/x-tar"}
        with self._engine.raw(
            "POST", "/images/load", archive, headers=headers, timeout=_LOAD_TIMEOUT, quiet=True
        ) as response:
            try:
                answer = response.read()
            except (OSError, http.client.HTTPException) as error:
                raise EngineUnreachable(f"the engine went away during the load: {error!r}") from error
            for message in filter(None, map(_error, answer.splitlines())):
                raise EngineError(response.status, message)

    def problem(self, image: Inspected, key: str, layers: list[str], os_: str, architecture: str) -> str:
        """Why `image` is not the one with `key`; empty when it is."""
        expected = {"layers": layers, "os": os_, "architecture": architecture}
        found = {
            "layers": image["RootFS"].get("Layers"),
            "os": image["Os"],
            "architecture": image["Architecture"],
        }
        if self.store != CONTAINERD:
            expected["key"] = key
            found["key"] = _with_algorithm(image["Id"])
        wrong = [field for field, value in expected.items() if found[field] != value]
        if wrong:
            return "; ".join(f"{field} is {found[field]} and not {expected[field]}" for field in wrong)
        # Its unpacking may fail while the load itself reports success.
        if self.store == CONTAINERD and _api(self.api) >= (1, 48):
            manifests = self._engine.get(f"/images/{image['Id']}/json", manifests=True).get("Manifests") or []
            if not any(manifest["Available"] for manifest in manifests):
                return "no manifest of it is available"
        return ""

    def tag(self, image: Inspected, repository: str, tag: str) -> None:
        """Point `repository:tag` to `image`."""
        self._engine.post(f"/images/{image['Id']}/tag", repo=repository, tag=tag)

    def untag(self, name: str) -> None:
        """Take a name away from its image; the image goes too when that was its last name. No name, no work."""
        try:
            self._engine.delete(f"/images/{name}", noprune=True)
        except EngineError as error:
            if error.status != http.client.NOT_FOUND:
                raise

    def record(self, image: Inspected, key: str) -> None:
        """Remember the key of `image`, where the engine itself cannot tell it."""
        if self.store != CONTAINERD:
            return
        records = {**self._read_records(), image["Id"]: key}
        kept = {image_id: known for image_id, known in records.items() if self.inspect(image_id)}
        with open(self._records + ".new", "w", encoding="utf-8") as file:
            json.dump(kept, file, indent=1, sort_keys=True)
        os.replace(self._records + ".new", self._records)

    def _read_records(self) -> dict[str, str]:
        try:
            with open(self._records, encoding="utf-8") as file:
                return t.cast(dict[str, str], json.load(file))
        except FileNotFoundError:
            return {}


def store(version: dict[str, t.Any], info: dict[str, t.Any]) -> str:
    """Which of the stores an engine with these answers to `/version` and `/info` has."""
    if any("podman" in component["Name"].lower() for component in version.get("Components") or []):
        return PODMAN
    if ["driver-type", "io.containerd.snapshotter.v1"] in (info.get("DriverStatus") or []):
        return CONTAINERD
    return CLASSIC


def _with_algorithm(image_id: str) -> str:
    return image_id if ":" in image_id else "sha256:" + image_id


def _api(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _error(line: bytes) -> str:
    """The error in a line of the engine's answer to a load, which says 200 before it knows."""
    try:
        return str(json.loads(line).get("error") or "")
    except (ValueError, AttributeError):
        return ""
