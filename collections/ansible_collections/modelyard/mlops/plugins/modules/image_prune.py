#!/usr/bin/python
# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
# Apache-2.0 is compatible with the GNU General Public License v3.0, under which Ansible itself is.
"""Remove images that were brought to this host and are needed no more."""

from __future__ import annotations

DOCUMENTATION = r"""
module: image_prune
short_description: Remove images that were brought to this host and are needed no more
description:
  - Of each repository the newest images stay. So does what is wanted, what a container was made from (running or not),
    and what belongs to a release that an app keeps.
  - Only images that M(modelyard.mlops.image_transfer) brought are removed, and none that others gave a name to.
version_added: 0.1.0
author: The Modelyard authors (@modelyard)
extends_documentation_fragment:
  - modelyard.mlops.attributes
  - modelyard.mlops.images
  - modelyard.mlops.images.house
attributes:
  check_mode:
    support: full
    details: Says what would be removed.
  diff_mode:
    support: none
    details: There is nothing to show.
  idempotent:
    support: full
"""

EXAMPLES = r"""
- name: Keep the two newest images of each repository
  modelyard.mlops.image_prune:
    keep: 2
"""

RETURN = r"""
removed:
  description: Name and key of what was removed.
  returned: always
  type: list
  elements: dict
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.modelyard.mlops.plugins.module_utils.engine import Engine, EngineError, EngineUnreachable
from ansible_collections.modelyard.mlops.plugins.module_utils.image_house import surplus
from ansible_collections.modelyard.mlops.plugins.module_utils.image_options import HOUSE, PLACE
from ansible_collections.modelyard.mlops.plugins.module_utils.image_pack import Staging
from ansible_collections.modelyard.mlops.plugins.module_utils.image_records import Record
from ansible_collections.modelyard.mlops.plugins.module_utils.image_target import Target


def prune(
    target: Target, images: list[dict[str, str]], keep: int, apps: str, dry: bool
) -> tuple[list[Record], list[str]]:
    """Remove what is needed no more; returns it, and what the engine said about what it did not remove."""
    found = surplus(target, [(image["name"], image["key"]) for image in images], keep, apps)
    if dry:
        return found, []
    refusals = {record.id: _remove(target, record) for record in found}
    return [record for record in found if not refusals[record.id]], list(filter(None, refusals.values()))


def _remove(target: Target, record: Record) -> str:
    """Returns why the engine refused; it is the last to decide, since a container may have been made meanwhile."""
    try:
        target.remove(record)
    except EngineError as error:
        return error.message
    return ""


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={**HOUSE, **PLACE},
        supports_check_mode=True,
    )
    given: dict[str, t.Any] = module.params
    if given["keep"] < 1:
        module.fail_json(msg=f"keep is {given['keep']}: at least the newest image of a repository stays, so give 1")
    staging = Staging(given["staging"])
    try:
        target = Target(Engine(given["engine_socket"]), staging.records)
        with staging.locked():
            gone, refusals = prune(target, given["images"], given["keep"], given["apps"], module.check_mode)
    except (EngineError, EngineUnreachable) as error:
        module.fail_json(msg=str(error))
    except (OSError, ValueError, KeyError) as error:
        module.fail_json(msg=f"no image is removed, since a release or a record of images cannot be read: {error!r}")
    for refusal in refusals:
        module.warn(f"an image that is needed no more stays: {refusal}")
    removed = [{"name": record.names[-1], "key": record.key} for record in gone]
    module.exit_json(changed=bool(removed), removed=removed)


if __name__ == "__main__":
    main()
