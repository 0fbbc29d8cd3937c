# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""The two slots of an app as containers of the Docker engine."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .container import ContainerError, Containers, Spec, need_image
from .engine import Engine
from .release import SLOTS, Release, ReleaseError
from .release_room import check_port
from .release_secrets import MemorySecrets

APP_LABEL = "modelyard.app"
RELEASE_LABEL = "modelyard.release"
SECRETS_FOLDER = "/run/secrets"
MODEL_FOLDER = "/model"

LOG_LINES = 20
HEALTH_LINES = 3


@dataclass(frozen=True)
class State:
    """A slot's container as it is now. Without a container, `release` is 0.

    :ivar restarts: how often the engine has started it again, because it stopped by itself.
    """

    release: int = 0
    running: bool = False
    exit_code: int = 0
    out_of_memory: bool = False
    error: str = ""
    restarts: int = 0

    def __str__(self) -> str:
        if not self.release:
            return "there is no container"
        if self.restarts:
            return f"the container stopped by itself, {self.restarts} times until now, and was started again"
        if self.running:
            return "the container is running"
        reason = "was killed because it ran out of memory" if self.out_of_memory else "has stopped"
        return f"the container {reason}, exit code {self.exit_code}" + (f" ({self.error})" if self.error else "")


class Slots:
    """The containers `modelyard-APP-blue` and `modelyard-APP-green`."""

    def __init__(self, engine: Engine, app: str, secrets: MemorySecrets) -> None:
        self._engine = engine
        self._containers = Containers(engine)
        self._app = app
        self._secrets = secrets

    def state(self, slot: str) -> State:
        """Look at a slot."""
        container = self._inspect(slot)
        if container is None:
            return State()
        state = container["State"]
        return State(
            release=int(container["Config"]["Labels"][RELEASE_LABEL]),
            running=state["Running"] and not state.get("Restarting", False),
            exit_code=state["ExitCode"],
            out_of_memory=state["OOMKilled"],
            error=state["Error"],
            restarts=container.get("RestartCount", 0),
        )

    def start(self, release: Release, slot: str) -> None:
        """Put a release into a slot, in place of what is there."""
        self.remove(slot)
        check_port(release.port(slot))
        image = need_image(self._engine, release.image, release.image_key)
        user = (release.config["user"] or image.user).partition(":")[0]
        _check_user(user, release)
        secrets = self._secrets.provide(release.number, int(user)) if release.secrets else ""
        try:
            self._containers.run(self._name(slot), specification(self._app, release, slot, image.id, secrets))
        except ContainerError as error:
            raise ReleaseError(str(error)) from error

    def start_again(self, release: Release, slot: str) -> None:
        """Have a release that was stopped run again, in the slot where it was."""
        if self.state(slot).release == release.number:
            self._containers.start(self._name(slot))
        else:
            self.start(release, slot)

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

    def forget_secrets(self, serving: int) -> None:
        """Take secrets out of memory that neither the release that serves nor a running container needs."""
        states = [self.state(slot) for slot in SLOTS]
        self._secrets.retain({serving, *(state.release for state in states if state.running)})

    def logs(self, slot: str) -> str:
        """The last lines that the slot's container wrote, and what its own health check said last."""
        container = self._inspect(slot)
        if container is None:
            return ""
        checks = (container["State"].get("Health") or {}).get("Log") or []
        health = [f"health check, exit code {check['ExitCode']}: {check['Output'].strip()}" for check in checks]
        return "\n".join([self._containers.logs(self._name(slot), LOG_LINES).strip(), *health[-HEALTH_LINES:]]).strip()

    def _inspect(self, slot: str) -> dict[str, t.Any] | None:
        container = self._containers.inspect(self._name(slot))
        if container is not None and (container["Config"]["Labels"] or {}).get(APP_LABEL) != self._app:
            raise ReleaseError(f"a container named {self._name(slot)} exists that is not ours: rename or remove it")
        return container

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
        cpus=config["cpus"],
        pids=config["pids"],
        grace=config["grace"],
        labels={APP_LABEL: app, RELEASE_LABEL: str(release.number)},
    )


def _check_user(user: str, release: Release) -> None:
    if user in ("", "0", "root"):
        raise ReleaseError(f"{release.image} runs as root: set USER in its Dockerfile, or `user` for the app")
    if release.secrets and not user.isdigit():
        raise ReleaseError(
            f"{release.image} runs as '{user}', and only a number tells whom to give the secrets to: "
            "write USER as a number in its Dockerfile, or set `user` for the app"
        )
