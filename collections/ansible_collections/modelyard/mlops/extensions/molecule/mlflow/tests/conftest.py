# SPDX-License-Identifier: Apache-2.0
"""The two hosts by name, and playbooks that are run on them."""

from __future__ import annotations

import json
import typing as t
from collections.abc import Callable

import pytest
import testinfra
from testinfra.host import Host

from ansible_collections.modelyard.mlops.extensions.molecule.shared.playbook import INVENTORY, report

Play = Callable[..., dict[str, t.Any]]


@pytest.fixture(scope="session")
def sqlite() -> Host:
    return testinfra.get_host("ansible://sqlite", ansible_inventory=INVENTORY)


@pytest.fixture(scope="session")
def postgresql() -> Host:
    return testinfra.get_host("ansible://postgresql", ansible_inventory=INVENTORY)


@pytest.fixture(scope="session")
def play() -> Play:
    """Run a playbook on one host; returns the result of its last task that ran a module of ours, and `output`."""

    def run(playbook: str, host: str, *options: str, **variables: str) -> dict[str, t.Any]:
        _code, found = report(playbook, "--limit", host, *options, **variables)
        results = [
            result["hosts"][host] for one in found["plays"] for result in one["tasks"] if host in result["hosts"]
        ]
        ours = [result for result in results if str(result.get("action", "")).startswith("modelyard.mlops.mlflow_")]
        assert ours, found
        return {**ours[-1], "output": json.dumps(found)}

    return run
