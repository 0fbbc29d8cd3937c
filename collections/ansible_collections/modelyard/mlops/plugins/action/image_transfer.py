# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""The controller's side of image_transfer; what it does is documented in the module of the same name."""

from __future__ import annotations

import contextlib
import os
import time
import typing as t
from pathlib import Path

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.modelyard.mlops.plugins.module_utils.image_key import Image, ImageError, split_reference
from ansible_collections.modelyard.mlops.plugins.module_utils.image_pack import CorruptChunk
from ansible_collections.modelyard.mlops.plugins.plugin_utils import image_plan
from ansible_collections.modelyard.mlops.plugins.plugin_utils.image_cache import Cache, CachedBlob
from ansible_collections.modelyard.mlops.plugins.plugin_utils.image_host import Host, Step
from ansible_collections.modelyard.mlops.plugins.plugin_utils.image_plan import Look, Plan
from ansible_collections.modelyard.mlops.plugins.plugin_utils.image_put import Putter
from ansible_collections.modelyard.mlops.plugins.plugin_utils.image_send import Sender
from ansible_collections.modelyard.mlops.plugins.plugin_utils.image_source import Source, Stored, export, flowing
from ansible_collections.modelyard.mlops.plugins.plugin_utils.image_source_archive import ArchiveSource
from ansible_collections.modelyard.mlops.plugins.plugin_utils.image_source_engine import EngineSource
from ansible_collections.modelyard.mlops.plugins.plugin_utils.image_source_oci import OciSource
from ansible_collections.modelyard.mlops.plugins.plugin_utils.image_task import Task, report_pulled

ARGUMENTS = {
    "images": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "source": {
                "type": "str",
                "choices": ["docker-daemon", "docker-archive", "oci", "registry"],
                "default": "docker-daemon",
            },
            "reference": {"type": "str"},
            "path": {"type": "str"},
        },
        "required_if": [
            ("source", "docker-archive", ["path"]),
            ("source", "oci", ["path"]),
            ("source", "registry", ["reference"]),
        ],
    },
    "credentials": {"type": "dict", "default": {}, "no_log": True},
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

# Name and key of images.
Removed = list[dict[str, str]]

display = Display()


class ActionModule(ActionBase):
    """Brings images to one host. Ansible runs one of these per host, many at the same time."""

    def run(self, tmp: t.Any = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Run the action."""
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        _unused, self._arguments = self.validate_argument_spec(argument_spec=ARGUMENTS)  # type: ignore[no-untyped-call]
        self._name = (task_vars or {}).get("inventory_hostname", "the host")
        place = {name: self._arguments[name] for name in ("engine_socket", "staging")}
        self._host = Host(self, task_vars or {}, {**place, "check": bool(self._task.check_mode)})
        self._put = Putter(self._connection, self._arguments["staging"])
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
        if result["changed"] or result.get("failed"):
            self._cache.sweep()
        if self._host.facts:
            result["ansible_facts"] = self._host.facts
        return result

    def _bring_all(self, result: dict[str, t.Any]) -> None:
        tasks = self._tasks()
        for wanted in self._arguments["images"]:
            if wanted["source"] == "registry":
                self._pull(wanted, result)
        wanted = self._wanted(tasks, result)
        if not wanted:
            return
        look = self._look(wanted)
        if look["engine"] or not self._task.check_mode:
            image_plan.refuse(look, self._arguments["engine_socket"])
        for task in tasks:
            task.image = image_plan.for_platform(task.name, task.images, look)
        first, stale = look, False
        removed: Removed | None = None
        for task in tasks:
            task.began = time.monotonic()
            if stale and task.image.key not in look["present"]:
                # What the images before it brought may be what this one stands on.
                look, stale = self._look(wanted), False
            task.plan = planned = image_plan.plan(task.name, task.image, look)
            task.id = look["present"].get(task.image.key, "")
            task.changed = planned.path != image_plan.PRESENT
            if task.changed:
                if self._task.check_mode:
                    self._preview(task, look)
                else:
                    # What is needed no more goes with the last question, which is one less.
                    last = task is tasks[-1] and first["surplus"]
                    removed = self._bring(task, look, self._prune_step([*_keys(result), _key(task)]) if last else None)
                result["diff"]["prepared"] += image_plan.describe(planned, look, self._cached(planned))
                stale = True
            result["images"][task.name] = task.report(look)
            result["changed"] = result["changed"] or task.changed
        self._prune(first["surplus"], removed, result)

    def _tasks(self) -> list[Task]:
        tasks: dict[str, Task | None] = {}
        for wanted in self._arguments["images"]:
            name = wanted["name"]
            split_reference(name)
            if name in tasks:
                raise ImageError(f"images names {name} twice")
            tasks[name] = None
            if wanted["source"] != "registry":
                source = self._source(wanted)
                tasks[name] = Task(name, source, source.describe())
        return [task for task in tasks.values() if task]

    def _source(self, wanted: dict[str, t.Any]) -> Source:
        reference = wanted["reference"] or wanted["name"]
        if wanted["source"] == "docker-daemon":
            return EngineSource(reference, self._cache)
        kind = OciSource if wanted["source"] == "oci" else ArchiveSource
        return kind(self._loader.path_dwim(wanted["path"]), reference)

    def _pull(self, wanted: dict[str, t.Any], result: dict[str, t.Any]) -> None:
        """Have the host itself pull an image."""
        began = time.monotonic()
        name, reference = wanted["name"], wanted["reference"]
        credentials = self._arguments["credentials"].get(reference.partition("/")[0], {})
        (pulled,) = self._host.ask(("pull", {"name": name, "reference": reference, **credentials}))
        if pulled["changed"]:
            verb = "the host pulls it" if pulled["path"] == "pull" else "is there, only its name moves"
            result["diff"]["prepared"] += f"{name} ({reference}): {verb}\n"
            result["changed"] = True
        result["images"][name] = report_pulled(pulled, began)

    @staticmethod
    def _wanted(tasks: t.Sequence[Task], result: dict[str, t.Any]) -> list[dict[str, t.Any]]:
        """Name and key of all images, with those that were pulled; one that is yet to be pulled has no key."""
        return [*_keys(result), *(_described(task.name, image) for task in tasks for image in task.images)]

    def _look(self, wanted: list[dict[str, t.Any]]) -> Look:
        return self._host.ask(("look", self._house(wanted)))[0]

    def _cached(self, plan: Plan) -> list[CachedBlob]:
        return [blob for blob in map(self._cache.blob, plan.blobs) if blob]

    def _preview(self, task: Task, look: Look) -> None:
        """Find out what would travel; only the export tells how well it can be compressed."""
        task.exported = export(task.source, self._cache, task.image, task.plan.blobs)
        blobs = self._cached(task.plan)
        if look["engine"]:
            image_plan.refuse_too_little_space(look, task.name, image_plan.need(task.plan, look, self._cache))
        task.sent = sum(chunk.packed for chunk in image_plan.missing_chunks(look, blobs))
        task.skipped = image_plan.skipped(task.image, blobs)

    def _bring(self, task: Task, look: Look, prune: Step | None) -> Removed | None:
        """Send and load, again as long as that helps; returns what the step `prune` has removed after that."""
        image_plan.refuse_too_little_space(look, task.name, image_plan.need(task.plan, look, self._cache))
        reason, loaded = "", False
        for attempt in range(_ROUNDS):
            try:
                if attempt:
                    display.warning(f"{self._name}: {task.name}: {reason}; going on with what is missing")
                    look = self._look([_described(task.name, task.image)])
                    if not look["engine"]:
                        reason = look["problem"]
                        time.sleep(_PAUSE)
                        continue
                    # A full disk looks like a lost connection.
                    image_plan.refuse_too_little_space(look, task.name, image_plan.need(task.plan, look, self._cache))
                    # The attempt before this one may have loaded it, and not have said so.
                    loaded = task.image.key in look["present"]
                name, pack = ("", b"") if loaded else self._send(task, look)
                load: Step = ("load", {**self._load_arguments(task, len(pack)), "pack": name})
                answer, *more = self._host.ask(load, *([prune] if prune else []), pack=pack)
                task.sent += len(pack)
            except AnsibleError as error:
                reason = f"the connection was lost: {error}"
                time.sleep(_PAUSE)
                continue
            except CorruptChunk as error:
                reason = f"in the cache, {error}"
                self._cache.discard_damaged(task.plan.blobs)
                continue
            if answer["outcome"] in ("loaded", "present"):
                task.changed, task.id = answer["changed"] or loaded, answer["id"]
                return more[0]["removed"] if more else None
            reason = answer["reason"] or f"{len(answer['chunks'])} chunks are missing"
            if answer["outcome"] == "interrupted":
                time.sleep(_PAUSE)
            elif answer["outcome"] == "refused":
                reason = f"the engine refused an archive without the lower layers ({reason})"
                task.plan = task.plan.full(reason)
        raise ImageError(f"{task.name} did not arrive in {_ROUNDS} attempts: {reason}")

    def _send(self, task: Task, look: Look) -> tuple[str, bytes]:
        """Send what is not there, while it is still being exported; returns the pack that goes with the next question.

        It has a name, and both are empty when nothing is left to be sent.
        """
        plan = task.plan
        sender = Sender(
            self._cache,
            task.image.key,
            self._put,
            lambda text: display.display(f"{self._name}: {task.name}: {text}"),
            image_plan.need(plan, look, self._cache).raw,
        )

        def work(stored: Stored) -> None:
            task.exported += export(task.source, self._cache, task.image, plan.blobs, stored)

        with contextlib.closing(flowing(work)) as chunks:
            try:
                rest = sender.send(chunks, look["staged"], look["codecs"])
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
        return rest

    def _load_arguments(self, task: Task, more: int) -> dict[str, t.Any]:
        return {
            "name": task.name,
            "key": task.image.key,
            "layers": list(task.image.layers),
            "os": task.image.os,
            "architecture": task.image.architecture,
            "blobs": task.blobs,
            "bytes_sent": task.sent + more,
            "bytes_skipped": task.skipped,
            "seconds": time.monotonic() - task.began,
        }

    def _prune(self, surplus: Removed, removed: Removed | None, result: dict[str, t.Any]) -> None:
        """Remove what the look has found to be needed no more, when something came and if its load has not done it."""
        # What an app lets go after this, a rerun must not find to do.
        if not result["changed"]:
            return
        if removed is None:
            removed = surplus
            if surplus and not self._task.check_mode:
                removed = self._host.ask(self._prune_step(_keys(result)))[0]["removed"]
        for image in removed:
            result["diff"]["prepared"] += f"{image['name']} ({image['key']}): is needed no more and goes\n"
        result["removed"] = [image["name"] for image in removed]

    def _prune_step(self, wanted: list[dict[str, str]]) -> Step:
        return ("prune", self._house(wanted))

    def _house(self, wanted: t.Sequence[dict[str, t.Any]]) -> dict[str, t.Any]:
        return {"images": wanted, **{name: self._arguments[name] for name in ("keep", "apps")}}


def _keys(result: dict[str, t.Any]) -> list[dict[str, str]]:
    return [{"name": name, "key": report["key"]} for name, report in result["images"].items() if report["key"]]


def _key(task: Task) -> dict[str, str]:
    return {"name": task.name, "key": task.image.key}


def _described(name: str, image: Image) -> dict[str, t.Any]:
    """An image as the step `look` takes it."""
    return {"name": name, "key": image.key, "layers": image.layers}


def _cache_path(given: str) -> Path:
    if given:
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "modelyard" / "images"
