# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""What a host has of some images, and how much space there is: everything that a transfer is planned with.

A host without an engine is an answer and no failure.
"""

from __future__ import annotations

import os
import typing as t

from . import image_codec
from .engine import Engine, EngineError, EngineUnreachable
from .image_house import surplus
from .image_key import chain_ids
from .image_pack import Staging
from .image_target import PODMAN, Target


def look(engine: Engine, images: list[dict[str, t.Any]], staging: Staging, keep: int, apps: str) -> dict[str, t.Any]:
    """What there is of `images`, and what there is too much.

    engine: its version, API version, operating system, architecture, store and data folder, or None
    problem: why no engine answers; empty when one does
    present: those images which are here, by key, with the engine's own ID of each
    tagged: for each name the key of the image that it points to now, or None
    chains, blobs: what the engine has of the layers of images that are not here: by chain ID in a classic store, by
        their own digest in a containerd store
    surplus: name and key of the images that can go; see image_house for `keep` and `apps`
    staged: the chunks that wait from an earlier transfer
    codecs: the compression that this host can undo, the best first
    space: for `staging`, `temporary` (where the engine unpacks an archive) and `engine` (where its layers are) the
        folder, its free bytes and the file system (device number) it is on

    :param images: name and key, and the layers of those that may be sent.
    """
    found: dict[str, t.Any] = {
        "engine": None,
        "problem": "",
        "present": {},
        "tagged": {},
        "chains": [],
        "blobs": [],
        "surplus": [],
        "staged": [],
        "codecs": image_codec.available(),
        "space": {place: space(path) for place, path in places(staging, None).items()},
    }
    try:
        target = Target(engine, staging.records)
    except (EngineError, EngineUnreachable) as error:
        return {**found, "problem": str(error)}
    found["engine"] = target.describe()
    found["space"] = {place: space(path) for place, path in places(staging, target).items()}
    for key in {image["key"] for image in images}:
        here = target.find(key)
        if here:
            found["present"][key] = here["Id"]
    found["tagged"] = {image["name"]: target.key_at(image["name"]) for image in images}
    if incomplete(found, images):
        # Of a host with many images, few layers are of interest, and each has a long name.
        layers = [image.get("layers", ()) for image in images]
        found["chains"] = sorted(target.chains() & set().union(*map(chain_ids, layers)))
        found["blobs"] = sorted(target.blobs().keys() & set().union(*layers))
        found["staged"] = sorted(staging.chunks())
    try:
        gone = surplus(target, [(image["name"], image["key"]) for image in images], keep, apps)
        found["surplus"] = [{"name": record.names[-1], "key": record.key} for record in gone]
    except (OSError, ValueError, KeyError) as error:
        found["warning"] = f"no image is removed, since a release cannot be read: {error!r}"
    return found


def incomplete(found: dict[str, t.Any], images: list[dict[str, t.Any]]) -> bool:
    """Whether one of `images` is not here."""
    return any(image["key"] not in found["present"] for image in images)


def places(staging: Staging, target: Target | None) -> dict[str, str]:
    """Where a transfer takes space."""
    root = target.root if target else "/var/lib"
    unpacking = "/var/tmp" if target and target.store == PODMAN else temporary(root)
    return {"staging": staging.path, "temporary": unpacking, "engine": root}


def temporary(root: str, processes: str = "/proc", pid_file: str = "/var/run/docker.pid") -> str:
    """The engine's temporary folder. It can be set for the engine's process only, whose environment root can read."""
    try:
        with open(pid_file, encoding="ascii") as file:
            process = file.read().strip()
        with open(os.path.join(processes, process, "environ"), "rb") as file:
            variables = dict(entry.partition(b"=")[::2] for entry in file.read().split(b"\0"))
    except OSError:
        variables = {}
    return os.fsdecode(variables.get(b"DOCKER_TMPDIR", b"")) or os.path.join(root, "tmp")


def space(path: str) -> dict[str, t.Any]:
    """Free bytes where `path` is or would be."""
    existing = os.path.abspath(path)
    while not os.path.isdir(existing):
        existing = os.path.dirname(existing)
    status = os.statvfs(existing)
    return {"path": path, "free": status.f_bavail * status.f_frsize, "device": os.stat(existing).st_dev}
