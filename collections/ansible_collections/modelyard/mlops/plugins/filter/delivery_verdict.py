# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""Decide whether a delivery over several hosts goes on, from how it went on those that it has reached."""

from __future__ import annotations

import typing as t

DOCUMENTATION = r"""
name: delivery_verdict
short_description: Decide whether a delivery over several hosts goes on
version_added: 0.1.0
author: The Modelyard authors (@modelyard)
description:
  - A delivery stops when a larger share of all its hosts failed than may, or when hosts failed before any succeeded,
    which is what canaries are for.
positional: hosts, max_fail_percentage
options:
  _input:
    description: By host that was reached, what went wrong there; empty where nothing did.
    type: dict
    required: true
  hosts:
    description: All hosts of the delivery.
    type: list
    elements: str
    required: true
  max_fail_percentage:
    description: Share of the hosts that may fail.
    type: float
    default: 0
"""

EXAMPLES = r"""
verdict: "{{ {'a': '', 'b': 'never ready'} | modelyard.mlops.delivery_verdict(['a', 'b', 'c'], 50) }}"
# => {"stop": false, "endings": {"a": "", "b": "never ready", "c": "..."}}
"""

RETURN = r"""
_value:
  description: The verdict.
  type: dict
  contains:
    stop:
      description: Whether the delivery must not go on, and what it did has to be taken back.
      type: bool
    endings:
      description: For each host, what is wrong with it; nothing where it serves what was wanted.
      type: dict
"""


def delivery_verdict(
    outcomes: t.Mapping[str, str], hosts: t.Sequence[str], max_fail_percentage: float = 0
) -> dict[str, t.Any]:
    """Whether to stop, and what to tell of each host at the end."""
    failed = [host for host in hosts if outcomes.get(host)]
    succeeded = [host for host in hosts if outcomes.get(host) == ""]
    stop = bool(failed) and (not succeeded or len(failed) * 100 > float(max_fail_percentage) * len(hosts))
    why = f"the delivery was stopped, as it failed on {', '.join(failed)}"
    endings = dict.fromkeys(hosts, "")
    for host in hosts:
        if outcomes.get(host):
            endings[host] = outcomes[host]
        elif stop:
            endings[host] = f"{why}: what it had switched here was taken back" if host in outcomes else f"{why} before"
        elif host not in outcomes:
            endings[host] = "the delivery did not come to this host"
    return {"stop": stop, "endings": endings}


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """By name."""
        return {"delivery_verdict": delivery_verdict}
