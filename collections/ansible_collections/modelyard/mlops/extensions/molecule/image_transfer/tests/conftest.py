# SPDX-License-Identifier: Apache-2.0
"""The hosts by name."""

from __future__ import annotations

import os

import pytest
import testinfra
from testinfra.host import Host


@pytest.fixture
def first() -> Host:
    """The first of the hosts, for tests that reach both by themselves, or need only one."""
    return testinfra.get_host("ansible://first", ansible_inventory=os.environ["MOLECULE_INVENTORY_FILE"])
