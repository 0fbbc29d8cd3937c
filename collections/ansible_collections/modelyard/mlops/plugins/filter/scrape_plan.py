# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""Work out how a Prometheus reaches the exporters of all hosts: its own directly, the others' through their ingress."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: scrape_plan
short_description: Work out how a Prometheus reaches the exporters of all hosts
version_added: 0.1.0
author: The Modelyard authors (@modelyard)
description:
  - The exporters of the host on which Prometheus runs are read on the loopback address, those of every other host
    through its ingress, at the pages that C(ingress_metrics) opens.
  - Every series gets the inventory's name of its host as C(instance).
positional: here, addresses, http
options:
  _input:
    description:
      - By host, its exporters as in C(ingress_metrics). C(job), or else the name, is Prometheus' job;
        C(labels) are for all that comes from the exporter.
    type: dict
    required: true
  here:
    description: The host on which Prometheus runs.
    type: str
    required: true
  addresses:
    description: By host, the address of its ingress, with a port if that is not 443. Only other hosts need one.
    type: dict
    default: {}
  http:
    description: How to log in at an ingress, in Prometheus' own words, as C(http) of C(prometheus_scrape).
    type: dict
    default: {}
"""

EXAMPLES = r"""
prometheus_scrape: >-
  {{ {'ops-1': [{'name': 'node', 'port': 9100}], 'app-1': [{'name': 'node', 'port': 9100}]}
     | modelyard.mlops.scrape_plan('ops-1', {'app-1': '10.0.0.5'}, {'basic_auth': {'username': 'prometheus', ...}}) }}
# => [{"job": "node", "targets": ["127.0.0.1:9100"], "metrics_path": "/metrics", "labels": {"instance": "ops-1"}},
#     {"job": "node", "targets": ["10.0.0.5:443"], "metrics_path": "/-/metrics/node", "labels": {"instance": "app-1"},
#      "http": {"scheme": "https", "basic_auth": ...}}]
"""

RETURN = r"""
_value:
  description: The targets, as the role prometheus takes them in C(prometheus_scrape).
  type: list
  elements: dict
"""

Dict = dict[str, t.Any]

METRICS_PATH = "/-/metrics/"


def scrape_plan(
    exporters: t.Mapping[str, t.Sequence[Dict]],
    here: str,
    addresses: t.Mapping[str, str] | None = None,
    http: t.Mapping[str, t.Any] | None = None,
) -> list[Dict]:
    """The targets of all hosts, in the order of the inventory."""
    plan = []
    for host, of_host in exporters.items():
        for exporter in of_host:
            if host == here:
                way: Dict = {
                    "targets": [f"127.0.0.1:{exporter['port']}"],
                    "metrics_path": exporter.get("path") or "/metrics",
                }
            else:
                way = {
                    "targets": [_address(host, addresses or {})],
                    "metrics_path": METRICS_PATH + exporter["name"],
                    "http": {"scheme": "https", **(http or {})},
                }
            labels = {**exporter.get("labels", {}), "instance": host}
            plan.append({"job": exporter.get("job") or exporter["name"], **way, "labels": labels})
    return plan


def _address(host: str, addresses: t.Mapping[str, str]) -> str:
    address = addresses.get(host)
    if not address:
        raise AnsibleFilterError(f"scrape_plan: {host} has exporters and no address under which its ingress answers")
    return address if ":" in address.rpartition("]")[2] else f"{address}:443"


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """By name."""
        return {"scrape_plan": scrape_plan}
