#!/usr/bin/python
# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
# Apache-2.0 is compatible with the GNU General Public License v3.0, under which Ansible itself is.
"""Look at what a host has of some images."""

from __future__ import annotations

DOCUMENTATION = r"""
module: image_look
short_description: Look at what a host has of some images
description:
  - Tells which of the wanted images a host's engine has, which layers of the others it knows, which chunks wait from
    an earlier transfer, and how much space there is. M(modelyard.mlops.image_transfer) plans with it.
  - A host without an engine is an answer and no failure.
  - When an image is missing, the folder is made in which its chunks will arrive.
version_added: 0.1.0
author: The Modelyard authors (@modelyard)
extends_documentation_fragment:
  - modelyard.mlops.attributes
  - modelyard.mlops.images
  - modelyard.mlops.images.house
attributes:
  check_mode:
    support: full
    details: Looks, and does not make the folder.
  diff_mode:
    support: N/A
    details: It changes nothing that could be shown.
  idempotent:
    support: full
    details: The folder that it may make is not counted as a change.
"""

EXAMPLES = r"""
- name: Look for one image
  modelyard.mlops.image_look:
    images:
      - name: modelyard/iris-api:3f2a1c9
        key: sha256:0f0c1c6b3a5d0b1f3f2a1c9d0f0c1c6b3a5d0b1f3f2a1c9d0f0c1c6b3a5d0b1f
"""

RETURN = r"""
engine:
  description: The engine's version, API version, operating system, architecture, store and data folder.
  returned: when an engine answers
  type: dict
problem:
  description: Why no engine answers; empty when one does.
  returned: always
  type: str
present:
  description: The wanted images which are here, by key, with the engine's own ID of each.
  returned: always
  type: dict
tagged:
  description: For each wanted name the key of the image that it points to now, or null.
  returned: always
  type: dict
chains:
  description: The chain IDs of all layers that the engine knows. Empty when all wanted images are here.
  returned: always
  type: list
  elements: str
blobs:
  description: The layers whose blobs an engine with the containerd store has. Empty for other stores.
  returned: always
  type: list
  elements: str
surplus:
  description: Name and key of the images that M(modelyard.mlops.image_prune) would remove.
  returned: always
  type: list
  elements: dict
staged:
  description: The chunks that wait from an earlier transfer.
  returned: always
  type: list
  elements: str
codecs:
  description: The compression that this host can undo, the best first.
  returned: always
  type: list
  elements: str
space:
  description:
    - For C(staging), C(temporary) (where the engine unpacks an archive) and C(engine) (where its layers are) the
      folder, its free bytes and the file system (device number) it is on.
  returned: always
  type: dict
"""

import os
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.modelyard.mlops.plugins.module_utils import image_codec
from ansible_collections.modelyard.mlops.plugins.module_utils.engine import Engine, EngineError, EngineUnreachable
from ansible_collections.modelyard.mlops.plugins.module_utils.image_house import surplus
from ansible_collections.modelyard.mlops.plugins.module_utils.image_options import HOUSE, PLACE
from ansible_collections.modelyard.mlops.plugins.module_utils.image_pack import Staging
from ansible_collections.modelyard.mlops.plugins.module_utils.image_target import PODMAN, Target


def look(engine: Engine, images: list[dict[str, str]], staging: Staging, keep: int, apps: str) -> dict[str, t.Any]:
    """What there is of `images`, and what there is too much; see image_house for `keep` and `apps`."""
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
    if _incomplete(found, images):
        found["chains"] = target.chains()
        found["blobs"] = sorted(target.blobs())
        found["staged"] = sorted(staging.chunks())
    try:
        gone = surplus(target, [(image["name"], image["key"]) for image in images], keep, apps)
        found["surplus"] = [{"name": record.names[-1], "key": record.key} for record in gone]
    except (OSError, ValueError, KeyError) as error:
        found["warning"] = f"no image is removed, since a release cannot be read: {error!r}"
    return found


def _incomplete(found: dict[str, t.Any], images: list[dict[str, str]]) -> bool:
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


def visitor() -> int | None:
    """The user who logged in, when this process got its privileges by sudo."""
    uid = os.environ.get("SUDO_UID", "")
    return int(uid) if uid.isdigit() and os.geteuid() == 0 else None


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={**HOUSE, **PLACE},
        supports_check_mode=True,
    )
    images = module.params["images"]
    staging = Staging(module.params["staging"])
    found = look(Engine(module.params["engine_socket"]), images, staging, module.params["keep"], module.params["apps"])
    if "warning" in found:
        module.warn(found.pop("warning"))
    if found["engine"] and _incomplete(found, images) and not module.check_mode:
        staging.prepare(visitor())
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
