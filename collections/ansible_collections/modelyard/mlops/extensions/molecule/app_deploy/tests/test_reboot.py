# SPDX-License-Identifier: Apache-2.0
"""A real reboot, after all other tests: memory is empty, and the host may get another address."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import time
from pathlib import Path

from testinfra.host import Host

from ansible_collections.modelyard.mlops.extensions.molecule.shared.playbook import follow

INVENTORY = Path(os.environ["MOLECULE_INVENTORY_FILE"])


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def machine(address: str) -> str:
    """The container which is the host with an address."""
    for name in docker("ps", "--format", "{{.Names}}", "--filter", "name=molecule-app_deploy-").split():
        if docker("inspect", "--format", "{{.NetworkSettings.IPAddress}}", name) == address:
            return name
    raise AssertionError(f"no host has the address {address}")


def answer(address: str) -> int:
    connection = http.client.HTTPConnection(address, timeout=2)
    try:
        connection.request("GET", "/other/")
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def test_active_slot_alone_returns_after_a_reboot_with_its_secrets(host: Host) -> None:
    former = str(host.ansible.get_variables()["ansible_host"])
    name = machine(former)
    docker("restart", "--time", "5", name)
    address = docker("inspect", "--format", "{{.NetworkSettings.IPAddress}}", name)
    follow(former, address)
    deadline = time.monotonic() + 180
    while answer(address) != http.client.OK:
        assert time.monotonic() < deadline
        time.sleep(0.5)
    running = docker("exec", name, "docker", "ps", "--format", "{{.Names}}", "--filter", "label=modelyard.app").split()
    ledger = json.loads(docker("exec", name, "cat", "/var/lib/modelyard/apps/other/ledger.json"))
    slot = f"modelyard-other-{ledger['active']['slot']}"
    assert running == [slot]
    assert docker("exec", name, "docker", "exec", slot, "cat", "/run/secrets/TOKEN") == "another canary_secret"
