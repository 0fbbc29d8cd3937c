# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""The two slots of an app as containers of the Docker engine."""

from __future__ import annotations

import os
import socket
import tarfile
import typing as t
from dataclasses import dataclass

from ansible_collections.modelyard.mlops.plugins.module_utils.engine import Engine, EngineError
from ansible_collections.modelyard.mlops.plugins.module_utils.release import Release, ReleaseError

APP_LABEL = "modelyard.app"
RELEASE_LABEL = "modelyard.release"
SECRETS_FOLDER = "/run/secrets"
MODEL_FOLDER = "/model"

# What must stay free for the host itself, beyond what the second copy may take.
DISK_RESERVE = 256 * 1024**2


@dataclass(frozen=True)
class State:
    """A slot's container as it is now. Without a container, `release` is 0."""

    release: int = 0
    running: bool = False
    exit_code: int = 0
    out_of_memory: bool = False
    error: str = ""

    def __str__(self) -> str:
        if not self.release:
            return "there is no container"
        if self.running:
            return "the container is running"
        reason = "was killed because it ran out of memory" if self.out_of_memory else "has stopped"
        return f"the container {reason}, exit code {self.exit_code}" + (f" ({self.error})" if self.error else "")


class Slots:
    """The containers `modelyard-APP-blue` and `modelyard-APP-green`."""

    def __init__(self, engine: Engine, app: str) -> None:
        self._engine = engine
        self._app = app

    def state(self, slot: str) -> State:
        """Look at a slot."""
        try:
            container = self._engine.get(self._path(slot, "json"))
        except EngineError as error:
            if error.status == 404:
                return State()
            raise
        labels, state = container["Config"]["Labels"] or {}, container["State"]
        if labels.get(APP_LABEL) != self._app:
            raise ReleaseError(f"a container named {self._name(slot)} exists that is not ours: rename or remove it")
        return State(
            release=int(labels[RELEASE_LABEL]),
            running=state["Running"] and not state.get("Restarting", False),
            exit_code=state["ExitCode"],
            out_of_memory=state["OOMKilled"],
            error=state["Error"],
        )

    def start(self, release: Release, slot: str, secrets: str) -> None:
        """Put a release into a slot, in place of what is there.

        :param secrets: the folder with the release's secrets on the host.
        """
        self.remove(slot)
        _check_port(release.port(slot))
        image = find_image(self._engine, release.image_key, release.image)
        user = release.config["user"] or image["Config"].get("User", "")
        if user.partition(":")[0] in ("", "0", "root"):
            raise ReleaseError(
                f"{release.image or release.image_key} runs as root: set USER in its Dockerfile, or `user` for the app"
            )
        specification = container_specification(self._app, release, slot, image["Id"], secrets)
        self._engine.post("/containers/create", specification, name=self._name(slot))
        if release.secrets:
            self._hand_over(slot, secrets, user)
        self._engine.post(self._path(slot, "start"))

    def keep(self, slot: str, running: bool) -> None:
        """Whether the engine itself brings the slot's container back, after a crash of it or a reboot."""
        policy = {"Name": "unless-stopped" if running else "no"}
        try:
            self._engine.post(self._path(slot, "update"), {"RestartPolicy": policy})
        except EngineError as error:
            if error.status != 404:
                raise

    def stop(self, slot: str, grace: float) -> None:
        """Let the slot's container finish and stop; after `grace` seconds the engine kills it. It stays for its logs."""
        self.keep(slot, running=False)
        try:
            with self._engine.raw("POST", self._path(slot, "stop"), timeout=grace + 30, t=int(grace)):
                pass
        except EngineError as error:
            if error.status != 404:
                raise

    def remove(self, slot: str) -> None:
        """Remove the slot's container, if there is one, at once."""
        if self.state(slot).release:
            self._engine.delete(self._path(slot, ""), force=True, v=True)

    def logs(self, slot: str, lines: int = 20) -> str:
        """The last lines that the container wrote."""
        try:
            with self._engine.raw("GET", self._path(slot, "logs"), stdout=True, stderr=True, tail=lines) as answer:
                return demultiplex(answer.read())
        except EngineError:
            return ""

    def _name(self, slot: str) -> str:
        return f"modelyard-{self._app}-{slot}"

    def _path(self, slot: str, action: str) -> str:
        return f"/containers/{self._name(slot)}/{action}".rstrip("/")

    def _hand_over(self, slot: str, folder: str, user: str) -> None:
        """Give the secrets to the user that the container runs as, and to nobody else."""
        uid = self._user_id(slot, user.partition(":")[0])
        for path in [folder, *(entry.path for entry in os.scandir(folder))]:
            os.chown(path, uid, -1)

    def _user_id(self, slot: str, user: str) -> int:
        if user.isdigit():
            return int(user)
        # Only the image knows the number behind a name.
        with self._engine.raw("GET", self._path(slot, "archive"), path="/etc/passwd") as answer:
            with tarfile.open(fileobj=answer, mode="r|") as archive:
                for member in archive:
                    content = archive.extractfile(member)
                    for line in content.read().decode().splitlines() if content else []:
                        name, _password, uid = line.split(":")[:3]
                        if name == user:
                            return int(uid)
        raise ReleaseError(f"the image's user {user} is not in its /etc/passwd: write USER as a number")


def container_specification(
    app: str, release: Release, slot: str, image_id: str, secrets: str
) -> t.Dict[str, t.Any]:
    """The body of the engine's "create container" call."""
    config = release.config
    port = f"{config['port']}/tcp"
    environment = {**config["env"], "PORT": str(config["port"]), "RELEASE": str(release.number)}
    mounts = []
    if release.model:
        environment.update(
            MODEL_DIR=MODEL_FOLDER, MODEL_NAME=release.model["name"], MODEL_VERSION=release.model["version"]
        )
        mounts.append(_read_only(release.model["path"], MODEL_FOLDER))
    if release.secrets:
        mounts.append(_read_only(secrets, SECRETS_FOLDER))
    return {
        "Image": image_id,
        "User": config["user"],
        "Env": [f"{name}={value}" for name, value in sorted(environment.items())],
        "Labels": {APP_LABEL: app, RELEASE_LABEL: str(release.number)},
        "ExposedPorts": {port: {}},
        "HostConfig": {
            "PortBindings": {port: [{"HostIp": "127.0.0.1", "HostPort": str(release.port(slot))}]},
            "Mounts": mounts,
            "ReadonlyRootfs": True,
            "Tmpfs": {"/tmp": "rw,nosuid,nodev,noexec,size=64m"},
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges:true"],
            "Memory": config["memory"],
            # As much as Memory, which means no swap: a model server that swaps is down, only slower.
            "MemorySwap": config["memory"],
            "PidsLimit": config["pids"],
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}},
            # Until it serves, an exit must stay visible: only the serving slot is restarted.
            "RestartPolicy": {"Name": "no"},
        },
    }


def _read_only(source: str, target: str) -> t.Dict[str, t.Any]:
    return {"Type": "bind", "Source": source, "Target": target, "ReadOnly": True}


def find_image(engine: Engine, key: str, reference: str) -> t.Dict[str, t.Any]:
    """The engine's description of an image, by key or, without one, by reference.

    :raises ReleaseError: the image is not on this host.
    """
    try:
        return t.cast(t.Dict[str, t.Any], engine.get(f"/images/{key or reference}/json"))
    except EngineError as error:
        if error.status != 404:
            raise
        raise ReleaseError(
            f"the image {reference} {key} is not on this host: let the role image_transfer bring it first".replace("  ", " ")
        ) from error


def check_room(engine: Engine, memory: int, meminfo: str = "/proc/meminfo") -> None:
    """Refuse to start a second copy where it would push the first one out.

    :raises ReleaseError: there is too little memory or disk.
    """
    with open(meminfo, encoding="ascii") as stream:
        available = next(int(line.split()[1]) * 1024 for line in stream if line.startswith("MemAvailable:"))
    if available < memory:
        raise ReleaseError(
            f"two releases do not fit beside each other: a second one may take {memory >> 20} MiB (`memory`), "
            f"and {available >> 20} MiB are available. Free memory, lower `memory`, or take a larger host"
        )
    folder = engine.get("/info")["DockerRootDir"]
    disk = os.statvfs(folder)
    free = disk.f_bavail * disk.f_frsize
    if free < DISK_RESERVE:
        raise ReleaseError(f"{folder} has {free >> 20} MiB free, and {DISK_RESERVE >> 20} MiB are needed: make room")


def _check_port(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise ReleaseError(
                f"127.0.0.1:{port} is taken by something else (`ss -ltnp` names it): free it, or choose other `slots`"
            ) from error


def demultiplex(stream: bytes) -> str:
    """The text in a log stream of the engine: frames of eight bytes of header, the length in the last four."""
    text, position = [], 0
    while position + 8 <= len(stream):
        end = position + 8 + int.from_bytes(stream[position + 4 : position + 8], "big")
        text.append(stream[position + 8 : end])
        position = end
    return b"".join(text).decode(errors="replace").strip()
