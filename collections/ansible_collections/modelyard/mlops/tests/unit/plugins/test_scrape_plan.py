# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""A target for each exporter of each host, and for nothing else."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.modelyard.mlops.plugins.filter.scrape_plan import scrape_plan

NODE = {"name": "node", "port": 9100}
APP = {"name": "app-iris", "job": "app", "port": 8404, "path": "/apps/iris/metrics", "labels": {"app": "iris"}}
LOGIN = {"basic_auth": {"username": "prometheus", "password_file": "secrets/ingress"}}


def test_its_own_host_is_read_on_the_loopback_address() -> None:
    assert scrape_plan({"ops": [NODE, APP]}, "ops") == [
        {"job": "node", "targets": ["127.0.0.1:9100"], "metrics_path": "/metrics", "labels": {"instance": "ops"}},
        {
            "job": "app",
            "targets": ["127.0.0.1:8404"],
            "metrics_path": "/apps/iris/metrics",
            "labels": {"app": "iris", "instance": "ops"},
        },
    ]


def test_another_host_is_read_through_its_ingress_with_a_login() -> None:
    assert scrape_plan({"web": [APP]}, "ops", {"web": "10.0.0.5"}, LOGIN) == [
        {
            "job": "app",
            "targets": ["10.0.0.5:443"],
            "metrics_path": "/-/metrics/app-iris",
            "labels": {"app": "iris", "instance": "web"},
            "http": {"scheme": "https", **LOGIN},
        }
    ]


@pytest.mark.parametrize(
    ("address", "target"),
    [("web.example.org:8443", "web.example.org:8443"), ("[2001:db8::1]", "[2001:db8::1]:443")],
)
def test_the_address_may_have_a_port(address: str, target: str) -> None:
    assert scrape_plan({"web": [NODE]}, "ops", {"web": address})[0]["targets"] == [target]


def test_what_leaves_the_inventory_leaves_the_targets() -> None:
    both = scrape_plan({"ops": [NODE], "web": [NODE, APP]}, "ops", {"web": "10.0.0.5"})
    assert len(both) == 3
    assert scrape_plan({"ops": [NODE], "web": [NODE]}, "ops", {"web": "10.0.0.5"}) == both[:2]
    assert scrape_plan({"ops": [NODE]}, "ops") == both[:1]


def test_a_host_without_an_address_is_named() -> None:
    with pytest.raises(AnsibleFilterError, match="web has exporters and no address"):
        scrape_plan({"web": [NODE]}, "ops")
