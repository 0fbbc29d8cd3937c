# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""The controller's side of image_transfer; what it does is documented in the module of the same name."""

from __future__ import annotations

import os
import time
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.modelyard.mlops.plugins.module_utils import image_codec, image_pack
from ansible_collections.modelyard.mlops.plugins.module_utils.image_key import Image, ImageError, split_reference
from ansible_collections.modelyard.mlops.plugins.plugin_utils import image_plan
from ansible_collections.modelyard.mlops.plugins.plugin_utils.image_cache import Cache, CachedBlob, Chunk
from ansible_collections.modelyard.mlops.plugins.plugin_utils.image_plan import Look, Plan, human
from ansible_collections.modelyard.mlops.plugins.plugin_utils.image_source import (
    ArchiveSource,
    EngineSource,
    Source,
    export,
)

ARGUMENTS = {
    "images": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "source": {"type": "str", "choices": ["docker-daemon", "docker-archive"], "default": "docker-daemon"},
            "reference": {"type": "str"},
            "path": {"type": "str"},
        },
        "required_if": [("source", "docker-archive", ["path"])],
    },
    "engine_socket": {"type": "path", "default": "/var/run/docker.sock"},
    "staging": {"type": "path", "default": "/var/lib/modelyard/images/staging"},
    "cache_path": {"type": "str", "default": ""},
    "cache_max_gib": {"type": "float", "default": 20.0},
    "cache_max_days": {"type": "float", "default": 14.0},
}

# How often a transfer starts again by itself before it leaves the rest to the next run.
_ROUNDS = 5
_PAUSE = 2.0

# A pack is what one file transfer carries: about so many seconds' worth, so that progress shows and little time
# goes into starting transfers.
_PACK_SECONDS = 5.0
_PACK_SMALLEST = 4 * 1024 * 1024
_PACK_LARGEST = 64 * 1024 * 1024

display = Display()


@dataclass
class _Task:
    """One image on its way to this host."""

    name: str
    source: Source
    image: Image
    plan: Plan = field(init=False)
    blobs: list[CachedBlob] = field(default_factory=list)
    changed: bool = False
    id: str = ""
    sent: int = 0
    began: float = 0.0
    seconds: float = 0.0

    @property
    def skipped(self) -> int:
        """The uncompressed bytes that do not travel."""
        return max(self.image.size - sum(blob.size for blob in self.blobs if blob.digest != self.image.key), 0)


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
        result.update(changed=False, images={}, diff={"prepared": ""})
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
            image_plan.refuse(look, [(task.name, task.image) for task in tasks], self._arguments["engine_socket"])
        stale = False
        for task in tasks:
            task.began = time.monotonic()
            if stale and task.image.key not in look["present"]:
                # What the images before it brought may be what this one stands on.
                look, stale = self._look(tasks), False
            self._prepare(task, image_plan.plan(task.name, task.image, look), look)
            task.id = look["present"].get(task.image.key, "")
            task.changed = task.plan.path != image_plan.PRESENT
            if task.changed:
                result["diff"]["prepared"] += image_plan.describe(task.plan, look, task.blobs)
            if task.changed and self._task.check_mode:
                task.sent = sum(chunk.packed for chunk in image_plan.missing_chunks(look, task.blobs))
            elif task.changed:
                self._bring(task, look)
                stale = True
            task.seconds = time.monotonic() - task.began
            result["images"][task.name] = _report(task, look)
            result["changed"] = result["changed"] or task.changed

    def _tasks(self) -> list[_Task]:
        tasks: dict[str, _Task] = {}
        for wanted in self._arguments["images"]:
            name = wanted["name"]
            split_reference(name)
            if name in tasks:
                raise ImageError(f"images names {name} twice")
            reference = wanted["reference"] or name
            if wanted["source"] == "docker-daemon":
                source: Source = EngineSource(reference, self._cache)
            else:
                source = ArchiveSource(self._loader.path_dwim(wanted["path"]), reference)
            tasks[name] = _Task(name, source, source.describe())
        return list(tasks.values())

    def _look(self, tasks: t.Sequence[_Task]) -> Look:
        wanted = [{"name": task.name, "key": task.image.key} for task in tasks]
        return self._module("image_look", {"images": wanted, **self._places()})

    def _prepare(self, task: _Task, plan: Plan, look: Look) -> None:
        """Have in the cache what `plan` sends, and know that the host has room for it."""
        export(task.source, self._cache, task.image, plan.blobs)
        blobs = [self._cache.blob(digest) for digest in plan.blobs]
        task.plan, task.blobs = plan, [blob for blob in blobs if blob is not None]
        image_plan.refuse_too_little_space(look, task.name, task.blobs)

    def _bring(self, task: _Task, look: Look) -> None:
        """Send and load, again as long as sending more helps."""
        reason = ""
        for attempt in range(_ROUNDS):
            if attempt:
                display.warning(f"{self._host}: {task.name}: {reason}; going on with what is missing")
                look = self._look([task])
            try:
                self._send(task, image_plan.missing_chunks(look, task.blobs), look["codecs"])
            except AnsibleError as error:
                reason = f"the connection failed: {error}"
                time.sleep(_PAUSE)
                continue
            answer = self._module("image_load", self._load_arguments(task))
            if answer["outcome"] in ("loaded", "present"):
                task.changed, task.id = answer["changed"], answer["id"]
                return
            reason = answer["reason"] or f"{len(answer['chunks'])} chunks are missing"
            if answer["outcome"] == "refused":
                reason = f"the engine refused an archive without the lower layers ({reason})"
                self._prepare(task, task.plan.full(reason), look)
            elif answer["outcome"] == "corrupt" and self._cache.drop_damaged(task.blobs):
                self._prepare(task, task.plan, look)
        raise ImageError(f"{task.name} did not arrive in {_ROUNDS} attempts: {reason}")

    def _load_arguments(self, task: _Task) -> dict[str, t.Any]:
        return {
            "name": task.name,
            "key": task.image.key,
            "layers": list(task.image.layers),
            "os": task.image.os,
            "architecture": task.image.architecture,
            "blobs": [
                {"digest": blob.digest, "size": blob.size, "chunks": [chunk.id for chunk in blob.chunks]}
                for blob in task.blobs
            ],
            "bytes_sent": task.sent,
            "bytes_skipped": task.skipped,
            "seconds": time.monotonic() - task.began,
            **self._places(),
        }

    def _send(self, task: _Task, chunks: list[Chunk], codecs: t.Sequence[str]) -> None:
        """Put `chunks` into the staging folder of the host, in packs."""
        total = sum(image_pack.HEADER_SIZE + chunk.packed for chunk in chunks)
        began = time.monotonic()
        done = 0
        limit = _PACK_SMALLEST
        while chunks:
            name = image_pack.pack_name(task.image.key)
            local = self._cache.scratch(name)
            try:
                chunks, size = self._pack(local, chunks, codecs, limit)
                self._connection.put_file(str(local), f"{self._arguments['staging']}/{name}")
            finally:
                local.unlink(missing_ok=True)
            done += size
            task.sent += size
            rate = done / max(time.monotonic() - began, 0.001)
            limit = int(min(max(rate * _PACK_SECONDS, _PACK_SMALLEST), _PACK_LARGEST))
            left = f", {max(total - done, 0) / rate:.0f} s left" if chunks else ""
            display.display(f"{self._host}: {task.name}: {human(done)} of {human(total)}, {human(rate)}/s{left}")

    def _pack(self, path: Path, chunks: list[Chunk], codecs: t.Sequence[str], limit: int) -> tuple[list[Chunk], int]:
        """Write chunks up to about `limit` bytes into `path`; returns the chunks which are left, and the bytes."""
        size = 0
        with open(path, "wb") as pack:
            for position, chunk in enumerate(chunks):
                if size >= limit:
                    return chunks[position:], size
                packed, codec = self._cache.read(chunk), chunk.codec
                if codec not in codecs:
                    content = image_codec.decompress(codec, packed, chunk.size)
                    packed, codec = image_codec.compress(codecs[0], content, False), codecs[0]
                size += pack.write(image_pack.header(chunk.id, codec, chunk.size, len(packed)))
                size += pack.write(packed)
        return [], size

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
    layers = len(task.plan.layers)
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
        "layers_sent": layers,
        "layers_skipped": len(task.image.layers) - layers,
        "seconds": round(task.seconds, 2),
    }


def _cache_path(given: str) -> Path:
    if given:
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "modelyard" / "images"
