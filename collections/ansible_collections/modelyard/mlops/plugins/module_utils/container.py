# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""Containers as this collection runs them: hardened, described by one comparable value."""

from __future__ import annotations

import http.client
import json
import re
import typing as t
from dataclasses import dataclass, field

from .engine import Engine, EngineError, EngineUnreachable, read
from .image_pack import Staging
from .image_target import Target

SPEC_LABEL = "modelyard.spec"
IMAGES_FOLDER = "/var/lib/modelyard/images/staging"

_SIZE = re.compile(r"(\d+)([kmg]?)b?", re.IGNORECASE)
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_LEAST_MEMORY = 6 << 20  # the engine's own limit
_STDERR = 2


class ContainerError(Exception):
    """A container cannot be described or run as asked; the message says why."""


@dataclass(frozen=True)
class Spec:
    """What a container is made of.

    It has no capabilities, no new privileges, no writable root file system and no log that grows without end. None of
    this is an option.

    :ivar image: what the engine calls the image; give its ID, so that a moved tag makes another spec.
    :ivar entrypoint: the program; empty is the image's own.
    :ivar mounts: folders of the host, by their place in the container.
    :ivar writable: the places of those mounts that the container may write to.
    :ivar scratch: places in the container for a file system in memory.
    :ivar ports: port in the container by port on the host's loopback.
    :ivar user: user and group, as numbers; empty is the image's own.
    :ivar memory: bytes, swap included; 0 is no limit.
    :ivar cpus: how many processors it may use; 0 is no limit.
    :ivar grace: seconds to finish in, when the engine itself stops it.
    """

    image: str
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    mounts: dict[str, str] = field(default_factory=dict)
    writable: tuple[str, ...] = ()
    scratch: tuple[str, ...] = ("/tmp",)  # in the container
    ports: dict[int, int] = field(default_factory=dict)
    network: str = "bridge"
    user: str = ""
    memory: int = 0
    cpus: float = 0.0
    pids: int = 512
    grace: int = 30
    restart: str = "no"
    labels: dict[str, str] = field(default_factory=dict)

    def body(self) -> dict[str, t.Any]:
        """The Engine API's description of it."""
        return {
            "Image": self.image,
            **({"Entrypoint": list(self.entrypoint)} if self.entrypoint else {}),
            "Cmd": list(self.command) or None,
            "Env": [f"{name}={value}" for name, value in sorted(self.env.items())],
            "User": self.user,
            "Labels": self.labels,
            "StopTimeout": self.grace,
            "ExposedPorts": {f"{inner}/tcp": {} for inner in self.ports.values()},
            "HostConfig": {
                "CapDrop": ["ALL"],
                "SecurityOpt": ["no-new-privileges"],
                "ReadonlyRootfs": True,
                "Init": True,
                "Mounts": [
                    {"Type": "bind", "Source": source, "Target": target, "ReadOnly": target not in self.writable}
                    for target, source in sorted(self.mounts.items())
                ],
                "Tmpfs": dict.fromkeys(self.scratch, "rw,nosuid,nodev,mode=1777"),
                "NetworkMode": self.network,
                "PortBindings": {
                    f"{inner}/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(outer)}]
                    for outer, inner in self.ports.items()
                },
                "Memory": self.memory,
                "MemorySwap": self.memory,
                "NanoCpus": round(self.cpus * 1e9),
                "PidsLimit": self.pids,
                "RestartPolicy": {"Name": self.restart},
                "LogConfig": {"Type": "local", "Config": {"max-size": "10m", "max-file": "3"}},
            },
        }

    def text(self) -> str:
        """The body as text that is the same for the same spec."""
        return json.dumps(self.body(), sort_keys=True)


class Image(t.NamedTuple):
    """An image of an engine: its ID there, its key as far as the host knows it, and the user that it runs as."""

    id: str
    key: str
    user: str


def find_image(engine: Engine, reference: str, key: str = "") -> Image | None:
    """The image with a key or, without one, the image behind a reference; None when the engine does not have it."""
    target = Target(engine, Staging(IMAGES_FOLDER).records)
    found = target.find(key) if key else target.inspect(reference)
    if found is None:
        return None
    return Image(found["Id"], key or target.key_at(reference) or found["Id"], found["Config"].get("User") or "")


def need_image(engine: Engine, reference: str, key: str = "") -> Image:
    """Like find_image.

    :raises ContainerError: the engine does not have the image.
    """
    image = find_image(engine, reference, key)
    if image is None:
        named = f"'{reference}' ({key})" if key else f"'{reference}'"
        raise ContainerError(f"image: the host does not have {named}; the role image_transfer brings images")
    return image


class Containers:
    """The containers of an engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def inspect(self, name: str) -> dict[str, t.Any] | None:
        """What the engine says of a container, or None when there is none."""
        try:
            return t.cast(dict[str, t.Any], self._engine.get(f"/containers/{name}/json"))
        except EngineError as error:
            if error.status == http.client.NOT_FOUND:
                return None
            raise

    def run(self, name: str, spec: Spec) -> str:
        """Create and start a container; returns its ID. The spec's text becomes a label of it."""
        body = spec.body()
        body["Labels"] = {**body["Labels"], SPEC_LABEL: spec.text()}
        identity = str(self._engine.post("/containers/create", body, name=name)["Id"])
        try:
            self._engine.post(f"/containers/{identity}/start")
        except EngineError as error:
            self.remove(identity)
            raise ContainerError(f"container {name} does not start: {error.message}") from error
        return identity

    def stop(self, name: str, grace: int = 30) -> None:
        """Stop a container; one that has stopped, or is none, is fine."""
        try:
            self._ignoring(http.client.NOT_FOUND, "POST", f"/containers/{name}/stop", timeout=grace + 30.0, t=grace)
        except EngineUnreachable:
            # A busy engine was seen to stop the container and never to say so.
            container = self.inspect(name)
            if container and container["State"]["Running"]:
                raise

    def start(self, name: str) -> None:
        """Start a container that exists; one that runs is fine."""
        self._engine.post(f"/containers/{name}/start")

    def rename(self, name: str, new: str) -> None:
        """Give a container another name."""
        self._engine.post(f"/containers/{name}/rename", name=new)

    def remove(self, name: str) -> None:
        """Remove a container, running or not; none is fine."""
        self._ignoring(http.client.NOT_FOUND, "DELETE", f"/containers/{name}", force=True, v=True)

    def kill(self, name: str) -> None:
        """End a container's processes now; one that does not run is fine."""
        self._ignoring(http.client.CONFLICT, "POST", f"/containers/{name}/kill")

    def logs(self, name: str, lines: int | None = None) -> str:
        """What a container has written, both streams as they came; with `lines`, only the last ones."""
        tail = "all" if lines is None else lines
        with self._engine.raw("GET", f"/containers/{name}/logs", stdout=True, stderr=True, tail=tail) as response:
            return demultiplex(read(response))

    def _ignoring(self, status: int, method: str, path: str, **options: t.Any) -> None:
        try:
            with self._engine.raw(method, path, **options) as response:
                read(response)
        except EngineError as error:
            if error.status != status:
                raise


def demultiplex(stream: bytes) -> str:
    """The text in the engine's log stream: frames of a stream number, three zeros, a length and that many bytes."""
    parts, position = [], 0
    while position + 8 <= len(stream):
        header = stream[position : position + 8]
        if header[0] > _STDERR or header[1:4] != b"\0\0\0":
            break
        length = int.from_bytes(header[4:], "big")
        parts.append(stream[position + 8 : position + 8 + length])
        position += 8 + length
    return b"".join(parts).decode(errors="replace")


def parse_size(value: str) -> int:
    """Bytes in a size of memory such as `512m`; empty is 0.

    :raises ContainerError: it is no size, or less than a container can have.
    """
    if not value:
        return 0
    match = _SIZE.fullmatch(value)
    if match is None:
        raise ContainerError(f"'{value}' is no size: write a number and k, m or g, such as 512m")
    size = int(match[1]) * _UNITS[match[2].lower()]
    if 0 < size < _LEAST_MEMORY:
        raise ContainerError(f"'{value}' is less than the engine's least, 6m: write a number and a unit, such as 512m")
    return size
