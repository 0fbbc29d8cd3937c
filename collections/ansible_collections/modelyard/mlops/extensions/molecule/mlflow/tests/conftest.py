# SPDX-License-Identifier: Apache-2.0
"""The two hosts by name, and playbooks that are run on them."""

from __future__ import annotations

import json
import os
import subprocess
import typing as t
from collections.abc import Callable

import pytest
import testinfra
from testinfra.host import Host

Play = Callable[..., dict[str, t.Any]]
INVENTORY = os.environ["MOLECULE_INVENTORY_FILE"]


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
        environment = {
            **os.environ,
            "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
            "ANSIBLE_CALLBACKS_ENABLED": "ansible.posix.json",
            "ANSIBLE_DEPRECATION_WARNINGS": "false",
        }
        done = subprocess.run(
            ["ansible-playbook", "-i", INVENTORY, "--limit", host, "-e", json.dumps(variables), *options, playbook],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert "{" in done.stdout, done.stdout + done.stderr
        report = json.loads(done.stdout[done.stdout.index("{") :])
        results = [
            result["hosts"][host] for one in report["plays"] for result in one["tasks"] if host in result["hosts"]
        ]
        ours = [result for result in results if str(result.get("action", "")).startswith("modelyard.mlops.mlflow_")]
        assert ours, done.stdout
        return {**ours[-1], "output": done.stdout + done.stderr}

    return run
