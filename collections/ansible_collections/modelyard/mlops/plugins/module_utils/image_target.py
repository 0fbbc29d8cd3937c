# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""An engine as a place where images arrive: what it is, what it has, and images by their key."""

from __future__ import annotations

import base64
import http.client
import json
import typing as t

from .engine import Engine, EngineError, read
from .image_key import chain_ids, familiar
from .image_records import Record, Records

CLASSIC = "classic"
CONTAINERD = "containerd"
PODMAN = "podman"

# Loading is silent while the engine unpacks.
_LOAD_TIMEOUT = 1800.0

Inspected = dict[str, t.Any]


class Wanted(t.NamedTuple):
    """What an image has to be.

    :ivar id: the ID that the engine has to give it: its key, or in a containerd store the digest of its manifest.
    """

    id: str
    layers: tuple[str, ...]
    os: str
    architecture: str


class Target:
    """The engine behind a socket.

    :param records: what is remembered of the images that were brought here. The containerd store calls an image by
        the digest of its manifest, and has no question that is answered with the key.
    """

    def __init__(self, engine: Engine, records: Records) -> None:
        self._engine = engine
        self.records = records
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
        known = (self.inspect(record.id) for record in self.records.all() if record.key == key)
        return next(filter(None, known), None)

    def key_at(self, name: str) -> str | None:
        """The key of the image that `name` points to, or None."""
        image = self.inspect(name)
        if image is None:
            return None
        if self.store == CONTAINERD:
            record = self.records.get(image["Id"])
            return record.key if record else None
        return self.key_of(image)

    @staticmethod
    def key_of(image: Inspected) -> str:
        """The key of an image of a classic store, which calls it by that."""
        return _with_algorithm(image["Id"])

    def chains(self) -> set[str]:
        """The chain IDs of all layers of all images."""
        found: set[str] = set()
        for entry in self._engine.get("/images/json"):
            image = self.inspect(entry["Id"])
            found.update(chain_ids((image or {}).get("RootFS", {}).get("Layers") or []))
        return found

    def blobs(self) -> dict[str, int]:
        """The layers, with their bytes, whose blobs a containerd store has; those of images that were brought here."""
        found: dict[str, int] = {}
        if self.store == CONTAINERD:
            for record in self.records.all():
                if self.inspect(record.id):
                    found.update(record.layers)
        return found

    def names(self, repository: str) -> list[str]:
        """All names in a repository, as the engine writes them."""
        entries = self._engine.get("/images/json", filters={"reference": [repository]})
        found = [name for entry in entries for name in entry.get("RepoTags") or []]
        return [name for name in found if familiar(name).rpartition(":")[0] == repository]

    def forget_gone(self) -> None:
        """Drop the records of images which the engine does not have any more."""
        gone = [record.id for record in self.records.all() if not self.inspect(record.id)]
        if gone:
            self.records.forget(gone)

    def used(self) -> set[str]:
        """The IDs of all images that have a container, running or not."""
        return {_with_algorithm(entry["ImageID"]) for entry in self._engine.get("/containers/json", all=True)}

    def load(self, archive: t.Iterable[bytes]) -> None:
        """Load an archive.

        :raises EngineError: the engine refused it, at once or while it read.
        :raises EngineUnreachable: the engine went away meanwhile.
        """
        headers = {"Content-Type": "application/x-tar"}
        with self._engine.raw(
            "POST", "/images/load", archive, headers=headers, timeout=_LOAD_TIMEOUT, quiet=True
        ) as response:
            _read(response)

    def pull(self, reference: str, registry: str, credentials: tuple[str, str] | None) -> None:
        """Have the engine pull `repository@digest`, which proves the digest.

        :param credentials: user and password; they travel with the request and are kept nowhere.
        :raises EngineError: it does not get the image.
        :raises EngineUnreachable: the engine went away meanwhile.
        """
        headers = {}
        if credentials:
            fields = {"username": credentials[0], "password": credentials[1], "serveraddress": registry}
            headers["X-Registry-Auth"] = base64.urlsafe_b64encode(json.dumps(fields).encode()).decode()
        repository, _unused, name = reference.partition("@")
        with self._engine.raw(
            "POST", "/images/create", b"", headers=headers, timeout=_LOAD_TIMEOUT, fromImage=repository, tag=name
        ) as response:
            _read(response)

    def problem(self, image: Inspected, wanted: Wanted) -> str:
        """Why `image` is not the wanted one; empty when it is."""
        expected = {
            "id": wanted.id,
            "layers": list(wanted.layers),
            "os": wanted.os,
            "architecture": wanted.architecture,
        }
        found = {
            "id": _with_algorithm(image["Id"]),
            "layers": image["RootFS"].get("Layers"),
            "os": image["Os"],
            "architecture": image["Architecture"],
        }
        wrong = [field for field, value in expected.items() if found[field] != value]
        if wrong:
            return "; ".join(f"{field} is {found[field]} and not {expected[field]}" for field in wrong)
        # Its unpacking may fail while the load itself reports success.
        if self.store == CONTAINERD and _api(self.api) >= (1, 48):
            manifests = self._engine.get(f"/images/{image['Id']}/json", manifests=True).get("Manifests") or []
            if not any(_is_usable(manifest, wanted) for manifest in manifests):
                return f"no manifest of it for {wanted.os}/{wanted.architecture} is available"
        return ""

    def tag(self, image: Inspected, repository: str, tag: str) -> None:
        """Point `repository:tag` to `image`."""
        self._engine.post(f"/images/{image['Id']}/tag", repo=repository, tag=tag)

    def remove(self, record: Record) -> None:
        """Take all names that we gave away from an image, and with the last of them the image.

        :raises EngineError: the engine does not let it go; a container uses it.
        """
        names = [name for name in record.names if (self.inspect(name) or {}).get("Id") == record.id]
        for name in names:
            self._engine.delete(f"/images/{name}")
        image = self.inspect(record.id)
        if image and not image.get("RepoTags"):
            # It had no name any more, or a registry's digest still holds it.
            self._engine.delete(f"/images/{record.id}")
        self.forget_gone()

    def untag(self, name: str) -> None:
        """Take a name away from its image; the image goes too when that was its last name. No name, no work."""
        try:
            self._engine.delete(f"/images/{name}")
        except EngineError as error:
            if error.status != http.client.NOT_FOUND:
                raise


def store(version: dict[str, t.Any], info: dict[str, t.Any]) -> str:
    """Which of the stores an engine with these answers to `/version` and `/info` has."""
    if any("podman" in component["Name"].lower() for component in version.get("Components") or []):
        return PODMAN
    if ["driver-type", "io.containerd.snapshotter.v1"] in (info.get("DriverStatus") or []):
        return CONTAINERD
    return CLASSIC


def _read(response: http.client.HTTPResponse) -> None:
    """Read the answer to a load or a pull to its end; it says 200 before it knows.

    :raises EngineError: there is an error in it.
    :raises EngineUnreachable: it has no end.
    """
    for message in filter(None, map(_error, read(response).splitlines())):
        raise EngineError(response.status, message)


def _is_usable(manifest: dict[str, t.Any], wanted: Wanted) -> bool:
    platform = (manifest.get("ImageData") or {}).get("Platform") or {}
    found = (platform.get("os", wanted.os), platform.get("architecture", wanted.architecture))
    return bool(manifest["Available"]) and found == (wanted.os, wanted.architecture)


def _with_algorithm(image_id: str) -> str:
    return image_id if ":" in image_id else "sha256:" + image_id


def _api(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _error(line: bytes) -> str:
    """The error in a line of the engine's answer."""
    try:
        return str(json.loads(line).get("error") or "")
    except (ValueError, AttributeError):
        return ""
