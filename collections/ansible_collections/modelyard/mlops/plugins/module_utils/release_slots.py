# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""The two slots of an app as containers of the Docker engine."""

from __future__ import annotations

import os
import socket
import typing as t
from dataclasses import dataclass

from .container import ContainerError, Containers, Spec
from .engine import Engine
from .image_pack import Staging
from .image_target import Target
from .release import Release, ReleaseError

APP_LABEL = "modelyard.app"
RELEASE_LABEL = "modelyard.release"
SECRETS_FOLDER = "/run/secrets"
MODEL_FOLDER = "/model"
IMAGES_FOLDER = "/var/lib/modelyard/images/staging"

LOG_LINES = 20

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
        self._containers = Containers(engine)
        self._app = app

    def state(self, slot: str) -> State:
        """Look at a slot."""
        container = self._containers.inspect(self._name(slot))
        if container is None:
            return State()
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
        user = (release.config["user"] or image["Config"].get("User", "")).partition(":")[0]
        _check_user(user, release)
        if release.secrets:
            _hand_over(secrets, int(user))
        try:
            self._containers.run(self._name(slot), specification(self._app, release, slot, image["Id"], secrets))
        except ContainerError as error:
            raise ReleaseError(str(error)) from error

    def keep(self, slot: str, running: bool) -> None:
        """Whether the engine itself brings the slot's container back, after a crash of it or a reboot."""
        if self.state(slot).release:
            policy = {"Name": "unless-stopped" if running else "no"}
            self._engine.post(f"/containers/{self._name(slot)}/update", {"RestartPolicy": policy})

    def stop(self, slot: str, grace: int) -> None:
        """Let the slot's container finish, and kill it after `grace` seconds. It stays, stopped, for its logs."""
        self.keep(slot, running=False)
        self._containers.stop(self._name(slot), grace)

    def remove(self, slot: str) -> None:
        """Remove the slot's container, if there is one, at once."""
        if self.state(slot).release:
            self._containers.remove(self._name(slot))

    def logs(self, slot: str) -> str:
        """The last lines that the slot's container wrote."""
        return self._containers.logs(self._name(slot), LOG_LINES).strip() if self.state(slot).release else ""

    def _name(self, slot: str) -> str:
        return f"modelyard-{self._app}-{slot}"


def specification(app: str, release: Release, slot: str, image: str, secrets: str) -> Spec:
    """The container of a release.

    Until it serves, an exit must stay visible, so the engine does not restart it.
    """
    config = release.config
    env = {**config["env"], "PORT": str(config["port"]), "RELEASE": str(release.number)}
    mounts = {}
    if release.model:
        env.update(MODEL_DIR=MODEL_FOLDER, MODEL_NAME=release.model["name"], MODEL_VERSION=release.model["version"])
        mounts[MODEL_FOLDER] = release.model["path"]
    if release.secrets:
        mounts[SECRETS_FOLDER] = secrets
    return Spec(
        image=image,
        env=env,
        mounts=mounts,
        ports={release.port(slot): config["port"]},
        user=config["user"],
        memory=config["memory"],
        pids=config["pids"],
        labels={APP_LABEL: app, RELEASE_LABEL: str(release.number)},
    )


def find_image(engine: Engine, key: str, reference: str) -> dict[str, t.Any]:
    """The engine's description of an image, by its key.

    :raises ReleaseError: the image is not on this host.
    """
    image = Target(engine, Staging(IMAGES_FOLDER).records).find(key)
    if image is None:
        raise ReleaseError(
            f"the image {reference} ({key}) is not on this host: let the role image_transfer bring it first"
        )
    return image


def image_key(engine: Engine, reference: str) -> str:
    """The key of the image that a reference points to on this host.

    :raises ReleaseError: the image is not on this host, or its key is not known here.
    """
    key = Target(engine, Staging(IMAGES_FOLDER).records).key_at(reference)
    if key is None:
        raise ReleaseError(
            f"image: {reference} is not on this host, or nobody knows its key: "
            "let the role image_transfer bring it first, or give image_key"
        )
    return key


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
        raise ReleaseError(
            f"{folder} has {free >> 20} MiB free, and {DISK_RESERVE >> 20} MiB are needed: make room there"
        )


def _check_port(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise ReleaseError(
                f"127.0.0.1:{port} is taken by something else (`ss -ltnp` names it): free it, or choose other `slots`"
            ) from error


def _check_user(user: str, release: Release) -> None:
    if user in ("", "0", "root"):
        raise ReleaseError(f"{release.image} runs as root: set USER in its Dockerfile, or `user` for the app")
    if release.secrets and not user.isdigit():
        raise ReleaseError(
            f"{release.image} runs as '{user}', and only a number tells whom to give the secrets to: "
            "write USER as a number in its Dockerfile, or set `user` for the app"
        )


def _hand_over(folder: str, uid: int) -> None:
    """Give the secrets to the user that the container runs as. The folder above stays closed to it on the host."""
    for path in [folder, *(entry.path for entry in os.scandir(folder))]:
        os.chown(path, uid, -1)
