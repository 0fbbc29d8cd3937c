# SPDX-License-Identifier: Apache-2.0
"""The engine runs with the settings asked for, held at its version, for the users named."""

from __future__ import annotations

import json

from testinfra.host import Host


def test_engine_runs_now_and_at_boot(host: Host) -> None:
    service = host.service("docker")
    assert service.is_running
    assert service.is_enabled


def test_engine_took_the_settings(host: Host) -> None:
    with host.sudo():
        info = json.loads(host.check_output("docker info --format '{{json .}}'"))
    assert info["LiveRestoreEnabled"] is True
    assert info["LoggingDriver"] == "local"
    assert info["Debug"] is True, "docker_daemon is laid over the role's own settings"


def test_engine_listens_on_no_network(host: Host) -> None:
    with host.sudo():
        assert "dockerd" not in host.check_output("ss --listening --tcp --processes")


def test_version_is_held(host: Host) -> None:
    offered = host.check_output("apt-cache show --no-all-versions docker.io | sed --quiet 's/^Version: //p'")
    assert host.package("docker.io").version == offered
    # Where the client is a package of its own, it is held as well.
    assert set(host.check_output("apt-mark showhold").split()) - {"docker-cli"} == {"docker.io"}


def test_only_the_named_users_reach_the_engine(host: Host) -> None:
    assert host.group("docker").members == ["admin"]


def test_a_setting_that_the_engine_refuses_is_taken_back(host: Host) -> None:
    settings = host.file("/etc/docker/daemon.json").content_string
    refused = {
        "root": "/etc/docker",
        "files": {"daemon.json": '{"no-such-setting": 1}'},
        "service": "docker",
        "action": "restart",
    }
    failed = host.ansible("modelyard.mlops.service_config", json.dumps(refused), check=False, become=True)
    assert "no-such-setting" in failed["msg"]
    assert host.file("/etc/docker/daemon.json").content_string == settings
    assert host.service("docker").is_running
