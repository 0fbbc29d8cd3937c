# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""ingress_look: whose the configuration is, and what it serves."""

from __future__ import annotations

import hashlib

from ansible_collections.modelyard.mlops.plugins.modules.ingress_look import MARK, foreign, serving

PATH = "/etc/haproxy/haproxy.cfg"
CONFIGURATION = """
backend app_iris_blue
    timeout server 60s
    server slot 127.0.0.1:18081

backend app_iris_green
    server slot 127.0.0.1:18082

backend app_red-wine_blue

backend service_grafana
    server service 127.0.0.1:3000
"""


def test_serving_slot_comes_with_its_port() -> None:
    slots = {"iris": "green", "red-wine": "blue", "gone": "blue"}
    assert serving(CONFIGURATION, slots) == {"iris": {"slot": "green", "port": 18082}}


def test_nothing_serves_on_a_fresh_host() -> None:
    assert serving("", {}) == {}


def test_only_what_neither_role_nor_package_wrote_is_foreign() -> None:
    packaged = b"global\n"
    conffiles = f" /etc/default/haproxy 0123\n {PATH} {hashlib.md5(packaged).hexdigest()} obsolete\n"
    assert not foreign(PATH, None, conffiles)
    assert not foreign(PATH, MARK.encode() + b": more\n", "")
    assert not foreign(PATH, packaged, conffiles)
    assert foreign(PATH, packaged + b"# mine\n", conffiles)
    assert foreign(PATH, packaged, "")
