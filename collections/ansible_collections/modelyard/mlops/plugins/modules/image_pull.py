#!/usr/bin/python
# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
# Apache-2.0 is compatible with the GNU General Public License v3.0, under which Ansible itself is.
"""Have a host pull an image from a registry by its digest."""

from __future__ import annotations

DOCUMENTATION = r"""
module: image_pull
short_description: Have a host pull an image from a registry by its digest
description:
  - The engine pulls and proves the digest; then the name is pointed to the image.
  - Credentials go to the engine with this one request. Nothing logs in, and no file keeps them.
  - An engine with the containerd store is refused, since it does not tell the key of what it has pulled.
version_added: 0.1.0
author: The Modelyard authors (@modelyard)
extends_documentation_fragment:
  - modelyard.mlops.attributes
  - modelyard.mlops.images
attributes:
  check_mode:
    support: full
    details: Says whether the image would be pulled or the name moved.
  diff_mode:
    support: none
    details: There is nothing to show.
  idempotent:
    support: full
options:
  name:
    description: The reference that the image gets.
    type: str
    required: true
  reference:
    description: Registry, repository and digest, as C(registry.example/team/app@sha256:...).
    type: str
    required: true
  username:
    description: Who pulls. Nobody in particular when empty.
    type: str
    default: ""
  password:
    description: The password or token of O(username).
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Pull an image
  modelyard.mlops.image_pull:
    name: modelyard/iris-api:3f2a1c9
    reference: registry.example/iris-api@sha256:0f0c1c6b3a5d0b1f3f2a1c9d0f0c1c6b3a5d0b1f3f2a1c9d0f0c1c6b3a5d0b1f
    username: reader
    password: "{{ vault_registry_password }}"
"""

RETURN = r"""
key:
  description: The image's key; empty in check mode when it would be pulled.
  returned: always
  type: str
path:
  description: V(pull), V(tag) when only the name moves, or V(present).
  returned: always
  type: str
store:
  description: The engine's store; empty when there is no engine yet.
  returned: always
  type: str
size:
  description: The bytes of the uncompressed image.
  returned: always
  type: int
layers:
  description: The number of its layers.
  returned: always
  type: int
"""

import re
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.modelyard.mlops.plugins.module_utils.engine import Engine, EngineError, EngineUnreachable
from ansible_collections.modelyard.mlops.plugins.module_utils.image_key import ImageError, split_reference
from ansible_collections.modelyard.mlops.plugins.module_utils.image_options import PLACE
from ansible_collections.modelyard.mlops.plugins.module_utils.image_pack import Staging
from ansible_collections.modelyard.mlops.plugins.module_utils.image_records import Record
from ansible_collections.modelyard.mlops.plugins.module_utils.image_target import CONTAINERD, Target

_BY_DIGEST = re.compile(r"(?P<registry>[\w.-]+(:\d+)?)/(?P<repository>[a-z0-9._/-]+)@sha256:[0-9a-f]{64}", re.ASCII)


def pull(
    target: Target, name: str, reference: str, credentials: tuple[str, str] | None, dry: bool = False
) -> dict[str, t.Any]:
    """Have the image at `reference` under `name`; returns the module's answer."""
    repository, tag = split_reference(name)
    registry = registry_of(reference)
    if target.store == CONTAINERD:
        raise ImageError(
            f"{name}: an engine with the containerd store does not tell the key of what it pulls: bring the image from"
            " the controller, as an OCI layout or from its engine"
        )
    image = target.inspect(reference)
    path = "present" if image else "pull"
    if image is None and not dry:
        target.pull(reference, registry, credentials)
        image = target.inspect(reference)
        if image is None:
            raise ImageError(f"{name}: the engine has pulled {reference} and has no image of it")
        target.records.put(Record(image["Id"], target.key_of(image), time.time()))
    if image is None:
        return {"changed": True, "path": path, "key": "", "store": target.store, "size": 0, "layers": 0}
    platform = (image["Os"], image["Architecture"])
    if platform != (target.os, target.architecture):
        raise ImageError(
            f"{name}: {reference} is for {'/'.join(platform)}, and the engine runs {target.os}/{target.architecture}"
        )
    here = target.inspect(name)
    moved = here is None or here["Id"] != image["Id"]
    if moved:
        path = "tag" if path == "present" else path
        if not dry:
            target.tag(image, repository, tag)
    if not dry:
        target.records.name(image["Id"], name)
    return {
        "changed": moved or path == "pull",
        "path": path,
        "key": target.key_of(image),
        "store": target.store,
        "size": image["Size"],
        "layers": len(image["RootFS"]["Layers"]),
    }


def registry_of(reference: str) -> str:
    """The registry that `reference` names.

    :raises ImageError: it names none, or no digest.
    """
    match = _BY_DIGEST.fullmatch(reference)
    if match is None:
        raise ImageError(
            f"'{reference}' does not say which image to pull: write registry/repository@sha256:DIGEST, since a tag is"
            " another image tomorrow"
        )
    return match["registry"]


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "reference": {"type": "str", "required": True},
            "username": {"type": "str", "default": ""},
            "password": {"type": "str", "default": "", "no_log": True},
            **PLACE,
        },
        supports_check_mode=True,
    )
    given = module.params
    staging = Staging(given["staging"])
    credentials = (given["username"], given["password"]) if given["username"] else None
    try:
        registry_of(given["reference"])
        target = Target(Engine(given["engine_socket"]), staging.records)
        if module.check_mode:
            module.exit_json(**pull(target, given["name"], given["reference"], credentials, dry=True))
        with staging.locked():
            done = pull(target, given["name"], given["reference"], credentials)
    except EngineUnreachable as error:
        if module.check_mode:
            module.exit_json(changed=True, path="pull", key="", store="", size=0, layers=0)
        module.fail_json(msg=str(error))
    except EngineError as error:
        module.fail_json(msg=f"{given['name']}: the engine does not pull {given['reference']}: {error.message}")
    except ImageError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**done)


if __name__ == "__main__":
    main()
