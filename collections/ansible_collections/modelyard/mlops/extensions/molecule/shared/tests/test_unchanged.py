# SPDX-License-Identifier: Apache-2.0
"""Part of every scenario that does not say otherwise: on a converged host, check mode finds nothing to change."""

from __future__ import annotations

from ansible_collections.modelyard.mlops.extensions.molecule.shared.playbook import CONVERGE, report


def test_check_mode_finds_nothing_to_change() -> None:
    code, found = report(CONVERGE, "--check", "--diff")
    assert code == 0, found
    changed = [
        f"{task['task']['name']}: {host}"
        for play in found["plays"]
        for task in play["tasks"]
        for host, result in task["hosts"].items()
        if result.get("changed")
    ]
    assert found["stats"], "the playbook ran on no host"
    assert changed == []
