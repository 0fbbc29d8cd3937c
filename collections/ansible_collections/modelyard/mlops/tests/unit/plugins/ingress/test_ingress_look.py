# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""ingress_look: whose the configuration is, and what it serves."""

from __future__ import annotations

import hashlib
import os
import re
import socket
from pathlib import Path

import pytest

from ansible_collections.modelyard.mlops.plugins.module_utils.haproxy import SlotMap
from ansible_collections.modelyard.mlops.plugins.module_utils.listening import Listener
from ansible_collections.modelyard.mlops.plugins.modules import ingress_look
from ansible_collections.modelyard.mlops.plugins.modules.ingress_look import MARK, foreign, occupied, serving
from ansible_collections.modelyard.mlops.tests.unit.plugins.running import run_module

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


def test_port_of_another_program_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        (problem,) = occupied([f":{port}"])
        assert re.fullmatch(rf"port {port} is taken by .+ \(process {os.getpid()}.*\)", problem)
        assert list(occupied([f"127.0.0.2:{port}"])) == []
    assert list(occupied([f":{port}"])) == []


def test_port_that_haproxy_has_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingress_look, "is_free", lambda *_: False)
    monkeypatch.setattr(ingress_look, "listeners", lambda _port: [Listener("haproxy", 1), Listener("haproxy", 2)])
    assert list(occupied([":80"])) == []
    monkeypatch.setattr(ingress_look, "listeners", lambda _port: [])
    assert list(occupied([":80"])) == ["port 80 is taken by a program that cannot be seen from here"]


@pytest.mark.parametrize("there", [True, False])
def test_host_is_looked_at_before_and_after_the_role(
    there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def dpkg(command: list[str]) -> tuple[int, str, str]:
        asked.append(command)
        return (0, "", "") if there else (1, "", "no packages found matching haproxy")

    if there:
        (tmp_path / "haproxy.cfg").write_text(f"{MARK}\n{CONFIGURATION}")
        (tmp_path / "certificates/modelyard").mkdir(parents=True)
        (tmp_path / "certificates/modelyard/a.example.org.pem").touch()
    monkeypatch.setattr(SlotMap, "read", lambda _self: {"iris": "blue"})
    said = run_module(
        ingress_look.main, {"folder": str(tmp_path), "requires": [str(tmp_path), str(tmp_path / "haproxy.cfg")]}, dpkg
    )
    assert asked[0][0] == "dpkg-query"
    assert (said["changed"], said["foreign"], said["complete"]) == (False, False, there)
    assert said["serving"] == ({"iris": {"slot": "blue", "port": 18081}} if there else {})
    assert said["delivered"] == (["a.example.org.pem"] if there else [])
