# SPDX-License-Identifier: Apache-2.0
"""Playbooks that the tests of a scenario run on its hosts once more."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

SCENARIO = Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"])
INVENTORY = os.environ["MOLECULE_INVENTORY_FILE"]
CONVERGE = str(SCENARIO / "converge.yml")

#: In every secret that a scenario gives to a role.
CANARY = "canary_secret"

#: The environment in which a run prints its results, and nothing else, as JSON.
AS_JSON = {
    "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
    "ANSIBLE_CALLBACKS_ENABLED": "ansible.posix.json",
}
#: That something will go: as Ansible prints it, and as it has it in a task's result.
DEPRECATION = re.compile(r'\[DEPRECATION WARNING\]|"deprecations": \[\s*\{')


def command(playbook: str, *arguments: str, **variables: Any) -> list[str]:
    """Return the command that runs a playbook, by its path or by its name in a collection."""
    return ["ansible-playbook", "-i", INVENTORY, "-e", json.dumps(variables), *arguments, playbook]


def assert_clean(output: str) -> None:
    """Refuse an output that has a deprecation or a secret; pytest shows tests/run.py none of a test that passes."""
    assert not DEPRECATION.search(output), output
    assert CANARY not in output, output


def play(playbook: str, *arguments: str, **variables: Any) -> tuple[int, str]:
    """Run a playbook; return its exit code, and its output in one line, as messages are wrapped."""
    done = subprocess.run(
        command(playbook, *arguments, **variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    print(done.stdout)
    assert_clean(done.stdout)
    return done.returncode, " ".join(done.stdout.split())


def converge(*arguments: str, **variables: Any) -> str:
    """Run the scenario's own playbook, which must succeed; return its output in one line."""
    code, output = play(CONVERGE, *arguments, **variables)
    assert code == 0, output
    return output


def refused(*arguments: str, **variables: Any) -> str:
    """Run the scenario's own playbook, which must fail; return its output in one line."""
    code, output = play(CONVERGE, *arguments, **variables)
    assert code != 0, output
    return output


def report(playbook: str, *arguments: str, **variables: Any) -> tuple[int, dict[str, Any]]:
    """Run a playbook; return its exit code, and the results of its tasks (`plays`) and hosts (`stats`)."""
    done = subprocess.run(
        command(playbook, *arguments, **variables),
        env=os.environ | AS_JSON,
        capture_output=True,
        text=True,
        check=False,
    )
    # Ansible 2.21 also prints a deprecation of the callback itself; those of tasks are in their results.
    assert_clean(done.stdout)
    assert CANARY not in done.stderr, done.stderr
    assert "{" in done.stdout, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout[done.stdout.index("{") :])
    return done.returncode, found


def follow(former: str, address: str) -> None:
    """Have the inventory name a host by its new address: a container that starts again may get another one."""
    inventory = Path(INVENTORY)
    inventory.write_text(inventory.read_text().replace(former, address))
