# SPDX-License-Identifier: Apache-2.0
"""The host, with the module unpacked on it and a good release serving."""

from __future__ import annotations

import os
import subprocess

import pytest

from ansible_collections.modelyard.mlops.extensions.molecule.shared.playbook import INVENTORY

from .machine import Machine


@pytest.fixture(scope="session")
def machine() -> Machine:
    """The host; the module that Ansible sends is unpacked in /opt/proof."""
    one = Machine()
    # Ansible leaves behind what it sent. A preview of an app that is not there changes nothing.
    module = ["-m", "modelyard.mlops.app_release", "-a", "name=nobody state=rolled_back"]
    subprocess.run(
        ["ansible", "-i", INVENTORY, "all", "--become", "--check", *module],
        env={**os.environ, "ANSIBLE_KEEP_REMOTE_FILES": "1", "ANSIBLE_PIPELINING": "0"},
        stdout=subprocess.DEVNULL,
        check=False,
    )
    one.sh(
        "cd /opt/proof; rm -rf debug_dir; mv $(find /home -name AnsiballZ_app_release.py) .;"
        " python3 AnsiballZ_app_release.py explode"
    )
    return one


@pytest.fixture
def serving(machine: Machine) -> int:
    """The number of the good release that serves, however the test before this one ended."""
    return machine.at_rest()
