# SPDX-License-Identifier: Apache-2.0
"""Counts the tasks that a playbook executed, by role, from what Ansible printed."""

from __future__ import annotations

import re
from collections import defaultdict

_TASK = re.compile(r"(?:TASK|RUNNING HANDLER) \[(?:(?P<role>\S+) : )?")
_RAN = re.compile(r"(?:ok|changed|fatal|failed): \[(?P<host>[^\] ]+)")
_INCLUDED = re.compile(r"included: .* for (?P<hosts>[^\s,]+(?:, [^\s,]+)*)")


def by_role(printed: str) -> dict[str, int]:
    """Return how many tasks each role executed and did not skip, on the host with most of them."""
    executed: dict[str, dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
    role, task = "", 0
    for line in printed.splitlines():
        if found := _TASK.match(line):
            role, task = (found["role"] or "").rpartition(".")[2], task + 1
            continue
        if found := _RAN.match(line):
            hosts = [found["host"]]
        else:
            hosts = found["hosts"].split(", ") if (found := _INCLUDED.match(line)) else []
        for host in hosts:
            executed[role][host].add(task)  # once, however often it looped
    return {role: max(map(len, hosts.values())) for role, hosts in executed.items() if role}
