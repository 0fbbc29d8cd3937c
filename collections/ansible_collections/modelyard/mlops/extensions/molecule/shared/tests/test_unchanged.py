# SPDX-License-Identifier: Apache-2.0
"""Part of every scenario: on a converged host, check mode finds nothing to change."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path


def test_check_mode_finds_nothing_to_change() -> None:
    environment = {
        **os.environ,
        "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
        "ANSIBLE_CALLBACKS_ENABLED": "ansible.posix.json",
        "ANSIBLE_DEPRECATION_WARNINGS": "false",
    }
    playbook = Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"]) / "converge.yml"
    inventory = os.environ["MOLECULE_INVENTORY_FILE"]
    done = subprocess.run(
        ["ansible-playbook", "--check", "--diff", "-i", inventory, str(playbook)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    report = json.loads(done.stdout[done.stdout.index("{") :])
    changed = [
        f"{task['task']['name']}: {host}"
        for play in report["plays"]
        for task in play["tasks"]
        for host, result in task["hosts"].items()
        if result.get("changed")
    ]
    assert report["stats"], "the playbook ran on no host"
    assert changed == []
