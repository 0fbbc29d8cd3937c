# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""An engine whose containers exist in memory only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.modelyard.mlops.plugins.module_utils.container import (
    SPEC_LABEL,
    ContainerError,
    Containers,
    Spec,
)
from ansible_collections.modelyard.mlops.plugins.module_utils.engine import Engine, EngineError


class FakeEngine(Engine):
    """An engine that has some images, by reference: (ID, user)."""

    def __init__(self, images: dict[str, tuple[str, str]]) -> None:
        super().__init__("/nowhere")
        self.images = images

    def get(self, path: str, **query: Any) -> Any:
        if path in ("/version", "/info"):
            return {"Version": "20.10.24", "ApiVersion": "1.41", "Os": "linux", "Arch": "amd64", "DockerRootDir": "/"}
        reference = path.removeprefix("/images/").removesuffix("/json")
        by_id = {image: (image, user) for image, user in self.images.values()}
        if reference not in {**self.images, **by_id}:
            raise EngineError(404, f"no such image: {reference}")
        image, user = {**self.images, **by_id}[reference]
        return {"Id": image, "Config": {"User": user}}


class FakeContainers(Containers):
    """Containers by name; each is what the engine would say of it.

    :ivar life: called with the spec of a container when it starts; returns changes of its state.
    :ivar log: what every container writes.
    """

    def __init__(self) -> None:
        super().__init__(FakeEngine({}))
        self.containers: dict[str, dict[str, Any]] = {}
        self.life: Callable[[Spec], dict[str, Any]] = lambda spec: {}
        self.log = "first line\nlast line\n"
        self.refuse = ""

    def inspect(self, name: str) -> dict[str, Any] | None:
        return self.containers.get(name)

    def run(self, name: str, spec: Spec) -> str:
        if self.refuse:
            raise ContainerError(f"container {name} does not start: {self.refuse}")
        state = {"Running": True, "ExitCode": 0, "OOMKilled": False, "FinishedAt": "2030-01-01T00:00:00Z"}
        identity = f"id-{spec.image}-{spec.command}"
        self.containers[name] = {
            "Id": identity,
            "Config": {"Labels": {SPEC_LABEL: spec.text()}},
            "State": {**state, **self.life(spec)},
            "RestartCount": 0,
        }
        return identity

    def stop(self, name: str, grace: int = 30) -> None:
        self.containers[name]["State"]["Running"] = False

    def start(self, name: str) -> None:
        self.containers[name]["State"]["Running"] = True

    def kill(self, name: str) -> None:
        self.containers[name]["State"].update(Running=False, ExitCode=137)

    def rename(self, name: str, new: str) -> None:
        self.containers[new] = self.containers.pop(name)

    def remove(self, name: str) -> None:
        self.containers.pop(name, None)

    def logs(self, name: str, lines: int | None = None) -> str:
        return "".join(self.log.splitlines(keepends=True)[-(lines or 0) :])
