# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""The controller's side of image_transfer; what it does is documented in the module of the same name."""

from __future__ import annotations

import contextlib
import os
import time
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.modelyard.mlops.plugins.module_utils.image_key import Image, ImageError, split_reference
from ansible_collections.modelyard.mlops.plugins.module_utils.image_pack import CorruptChunk
from ansible_collections.modelyard.mlops.plugins.plugin_utils import image_plan
from ansible_collections.modelyard.mlops.plugins.plugin_utils.image_cache import Cache, CachedBlob
from ansible_collections.modelyard.mlops.plugins.plugin_utils.image_plan import Look, Plan
from ansible_collections.modelyard.mlops.plugins.plugin_utils.image_send import Sender
from ansible_collections.modelyard.mlops.plugins.plugin_utils.image_source import Source, export, flowing
from ansible_collections.modelyard.mlops.plugins.plugin_utils.image_source_archive import ArchiveSource
from ansible_collections.modelyard.mlops.plugins.plugin_utils.image_source_engine import EngineSource
from ansible_collections.modelyard.mlops.plugins.plugin_utils.image_source_oci import OciSource

ARGUMENTS = {
    "images": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "source": {
                "type": "str",
                "choices": ["docker-daemon", "docker-archive", "oci"],
                "default": "docker-daemon",
            },
            "reference": {"type": "str"},
            "path": {"type": "str"},
        },
        "required_if": [("source", "docker-archive", ["path"]), ("source", "oci", ["path"])],
    },
    "engine_socket": {"type": "path", "default": "/var/run/docker.sock"},
    "staging": {"type": "path", "default": "/var/lib/modelyard/images/staging"},
    "cache_path": {"type": "str", "default": ""},
    "cache_max_gib": {"type": "float", "default": 20.0},
    "cache_max_days": {"type": "float", "default": 14.0},
    "keep": {"type": "int", "default": 3},
    "apps": {"type": "path", "default": "/var/lib/modelyard/apps"},
}

# How often a transfer starts again by itself before it leaves the rest to the next run.
_ROUNDS = 5
_PAUSE = 2.0

display = Display()


@dataclass
class _Task:
    """One image on its way to this host."""

    name: str
    source: Source
    images: list[Image]
    image: Image = field(init=False)
    plan: Plan = field(init=False)
    blobs: list[dict[str, t.Any]] = field(default_factory=list)
    changed: bool = False
    id: str = ""
    sent: int = 0
    skipped: int = 0
    began: float = 0.0
    seconds: float = 0.0


class ActionModule(ActionBase):
    """Brings images to one host. Ansible runs one of these per host, many at the same time."""

    def run(self, tmp: t.Any = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Run the action."""
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        _, self._arguments = self.validate_argument_spec(argument_spec=ARGUMENTS)  # type: ignore[no-untyped-call]
        self._task_vars = task_vars or {}
        self._host = self._task_vars.get("inventory_hostname", "the host")
        self._cache = Cache(
            _cache_path(self._arguments["cache_path"]),
            int(self._arguments["cache_max_gib"] * 1024**3),
            self._arguments["cache_max_days"] * 24 * 3600,
        )
        result.update(changed=False, images={}, removed=[], diff={"prepared": ""})
        if self._arguments["keep"] < 1:
            return {**result, "failed": True, "msg": "keep is below 1, and at least the newest image has to stay"}
        try:
            with self._cache.in_use():
                self._bring_all(result)
        except ImageError as error:
            result.update(failed=True, msg=str(error))
        if result["diff"]["prepared"]:
            self._cache.sweep()
        return result

    def _bring_all(self, result: dict[str, t.Any]) -> None:
        tasks = self._tasks()
        if not tasks:
            return
        look = self._look(tasks)
        if look["engine"] or not self._task.check_mode:
            image_plan.refuse(look, self._arguments["engine_socket"])
        for task in tasks:
            task.image = image_plan.for_platform(task.name, task.images, look)
        first, stale = look, False
        for task in tasks:
            task.began = time.monotonic()
            if stale and task.image.key not in look["present"]:
                # What the images before it brought may be what this one stands on.
                look, stale = self._look(tasks), False
            task.plan = planned = image_plan.plan(task.name, task.image, look)
            task.id = look["present"].get(task.image.key, "")
            task.changed = planned.path != image_plan.PRESENT
            if task.changed:
                self._preview(task, look) if self._task.check_mode else self._bring(task, look)
                result["diff"]["prepared"] += image_plan.describe(planned, look, self._cached(planned))
                stale = True
            task.seconds = time.monotonic() - task.began
            result["images"][task.name] = _report(task, look)
            result["changed"] = result["changed"] or task.changed
        self._prune(tasks, first, result)

    def _tasks(self) -> list[_Task]:
        tasks: dict[str, _Task] = {}
        for wanted in self._arguments["images"]:
            name = wanted["name"]
            split_reference(name)
            if name in tasks:
                raise ImageError(f"images names {name} twice")
            source = self._source(wanted)
            tasks[name] = _Task(name, source, source.describe())
        return list(tasks.values())

    def _source(self, wanted: dict[str, t.Any]) -> Source:
        reference = wanted["reference"] or wanted["name"]
        if wanted["source"] == "docker-daemon":
            return EngineSource(reference, self._cache)
        kind = OciSource if wanted["source"] == "oci" else ArchiveSource
        return kind(self._loader.path_dwim(wanted["path"]), reference)

    def _look(self, tasks: t.Sequence[_Task]) -> Look:
        wanted = [{"name": task.name, "key": image.key} for task in tasks for image in task.images]
        return self._module("image_look", {"images": wanted, **self._house(), **self._places()})

    def _cached(self, plan: Plan) -> list[CachedBlob]:
        return [blob for blob in map(self._cache.blob, plan.blobs) if blob]

    def _preview(self, task: _Task, look: Look) -> None:
        """Find out what would travel; only the export tells how well it can be compressed."""
        export(task.source, self._cache, task.image, task.plan.blobs)
        blobs = self._cached(task.plan)
        if look["engine"]:
            image_plan.refuse_too_little_space(look, task.name, image_plan.need(task.plan, look, self._cache))
        task.sent = sum(chunk.packed for chunk in image_plan.missing_chunks(look, blobs))
        task.skipped = image_plan.skipped(task.image, blobs)

    def _bring(self, task: _Task, look: Look) -> None:
        """Send and load, again as long as that helps."""
        image_plan.refuse_too_little_space(look, task.name, image_plan.need(task.plan, look, self._cache))
        reason = ""
        for attempt in range(_ROUNDS):
            try:
                if attempt:
                    display.warning(f"{self._host}: {task.name}: {reason}; going on with what is missing")
                    look = self._look([task])
                    if not look["engine"]:
                        raise AnsibleError(look["problem"])
                self._send(task, look)
                answer = self._module("image_load", self._load_arguments(task))
            except AnsibleError as error:
                reason = f"the connection was lost: {error}"
                time.sleep(_PAUSE)
                continue
            except CorruptChunk as error:
                reason = f"in the cache, {error}"
                continue
            if answer["outcome"] in ("loaded", "present"):
                task.changed, task.id = answer["changed"], answer["id"]
                return
            reason = answer["reason"] or f"{len(answer['chunks'])} chunks are missing"
            if answer["outcome"] == "interrupted":
                time.sleep(_PAUSE)
            elif answer["outcome"] == "refused":
                reason = f"the engine refused an archive without the lower layers ({reason})"
                task.plan = task.plan.full(reason)
        raise ImageError(f"{task.name} did not arrive in {_ROUNDS} attempts: {reason}")

    def _send(self, task: _Task, look: Look) -> None:
        """Send what is not there, while it is still being exported."""
        plan = task.plan
        sender = Sender(
            self._cache,
            task.image.key,
            lambda local, name: self._connection.put_file(local, f"{self._arguments['staging']}/{name}"),
            lambda text: display.display(f"{self._host}: {task.name}: {text}"),
            image_plan.need(plan, look, self._cache).raw,
        )
        with contextlib.closing(
            flowing(lambda stored: export(task.source, self._cache, task.image, plan.blobs, stored))
        ) as chunks:
            try:
                sender.send(chunks, look["staged"], look["codecs"])
            finally:
                task.sent += sender.sent
        blobs = self._cached(plan)
        task.skipped = image_plan.skipped(task.image, blobs)
        task.blobs = [
            {
                "digest": blob.digest,
                "size": blob.size,
                "chunks": [sender.names.get(chunk.id, chunk.id) for chunk in blob.chunks],
            }
            for blob in blobs
        ]

    def _load_arguments(self, task: _Task) -> dict[str, t.Any]:
        return {
            "name": task.name,
            "key": task.image.key,
            "layers": list(task.image.layers),
            "os": task.image.os,
            "architecture": task.image.architecture,
            "blobs": task.blobs,
            "bytes_sent": task.sent,
            "bytes_skipped": task.skipped,
            "seconds": time.monotonic() - task.began,
            **self._places(),
        }

    def _prune(self, tasks: t.Sequence[_Task], look: Look, result: dict[str, t.Any]) -> None:
        """Remove what the look has found to be needed no more."""
        removed = look["surplus"]
        if removed and not self._task.check_mode:
            wanted = [{"name": task.name, "key": task.image.key} for task in tasks]
            removed = self._module("image_prune", {"images": wanted, **self._house(), **self._places()})["removed"]
        for image in removed:
            result["diff"]["prepared"] += f"{image['name']} ({image['key']}): is needed no more and goes\n"
        result["removed"] = [image["name"] for image in removed]
        result["changed"] = result["changed"] or bool(removed)

    def _house(self) -> dict[str, t.Any]:
        return {name: self._arguments[name] for name in ("keep", "apps")}

    def _places(self) -> dict[str, str]:
        return {name: self._arguments[name] for name in ("engine_socket", "staging")}

    def _module(self, name: str, arguments: dict[str, t.Any]) -> dict[str, t.Any]:
        answer: dict[str, t.Any] = self._execute_module(
            module_name=f"modelyard.mlops.{name}", module_args=arguments, task_vars=self._task_vars
        )
        if answer.get("failed"):
            raise ImageError(answer.get("msg") or f"the module {name} failed: {answer}")
        return answer


def _report(task: _Task, look: Look) -> dict[str, t.Any]:
    sent = len(task.plan.layers)
    return {
        "key": task.image.key,
        "id": task.id,
        "changed": task.changed,
        "path": task.plan.path,
        "reason": task.plan.reason,
        "store": (look["engine"] or {}).get("store", ""),
        "bytes_total": task.image.size,
        "bytes_sent": task.sent,
        "bytes_skipped": task.skipped,
        "layers_total": len(task.image.layers),
        "layers_sent": sent,
        "layers_skipped": len(task.image.layers) - sent,
        "seconds": round(task.seconds, 2),
    }


def _cache_path(given: str) -> Path:
    if given:
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "modelyard" / "images"
