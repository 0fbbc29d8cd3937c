# SPDX-License-Identifier: Apache-2.0
"""The end of all apps, after all other tests: only when it is said that this is meant."""

from __future__ import annotations

import re

from .test_app_deploy import deploy, refused
from .test_reboot import INVENTORY, docker, machine


def test_no_app_at_all_must_be_meant() -> None:
    # Not by testinfra, which knows the address from before the reboot.
    (address,) = re.findall(r"ansible_host: (\S+)", INVENTORY.read_text())
    containers = ["exec", machine(address), "docker", "ps", "--all", "--quiet", "--filter", "label=modelyard.app"]
    assert "set allow_empty" in refused(apps=[])
    assert docker(*containers)
    deploy(apps=[], app_deploy_allow_empty=True)
    assert docker(*containers) == ""
