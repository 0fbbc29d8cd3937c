# SPDX-License-Identifier: Apache-2.0
"""The story of an app on a host, in the order of the tests: each begins where the one before it ended."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

from .traffic import Traffic

SCENARIO = Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"])


@pytest.fixture
def address(host: Host) -> str:
    return str(host.ansible.get_variables()["ansible_host"])


def play(playbook: str, **variables: Any) -> subprocess.CompletedProcess[str]:
    """Run a playbook; its output is in one piece, and in one line, as errors are wrapped."""
    command = ["ansible-playbook", "-i", os.environ["MOLECULE_INVENTORY_FILE"], playbook, "-e", json.dumps(variables)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    done.stdout = " ".join(done.stdout.split())
    return done


def deploy(**variables: Any) -> str:
    done = play(str(SCENARIO / "converge.yml"), **variables)
    assert done.returncode == 0, done.stdout
    return done.stdout


def refused(**variables: Any) -> str:
    done = play(str(SCENARIO / "converge.yml"), **variables)
    assert done.returncode != 0, done.stdout
    return done.stdout


def version(address: str) -> str:
    connection = http.client.HTTPConnection(address, timeout=10)
    connection.request("GET", "/predict")
    answer = connection.getresponse()
    text = answer.read().decode()
    assert answer.status == 200, text
    return str(json.loads(text)["version"])


def containers(host: Host) -> dict[str, Any]:
    with host.sudo():
        names = host.check_output("docker ps --all --format '{{.Names}}' --filter label=modelyard.app").split()
        found = json.loads(host.check_output("docker inspect " + " ".join(names))) if names else []
    return {container["Name"].lstrip("/"): container for container in found}


def ledger(host: Host) -> Any:
    with host.sudo():
        return json.loads(host.file("/var/lib/modelyard/apps/demo/ledger.json").content_string)


def test_first_release_serves(address: str) -> None:
    assert version(address) == "1"


def test_container_can_do_nothing_but_serve(host: Host) -> None:
    (container,) = containers(host).values()
    settings = container["HostConfig"]
    assert container["Config"]["User"] == "10001"
    assert settings["ReadonlyRootfs"]
    assert settings["CapDrop"] == ["ALL"]
    assert settings["Memory"] == 128 << 20
    assert settings["PidsLimit"] == 256
    assert settings["RestartPolicy"]["Name"] == "unless-stopped"
    assert settings["PortBindings"] == {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": "18081"}]}


def test_secret_is_a_file_for_the_app_alone(host: Host) -> None:
    with host.sudo():
        assert "a molecule token" not in host.check_output("docker inspect modelyard-demo-blue")
        inside = host.check_output("docker exec modelyard-demo-blue cat /run/secrets/TOKEN")
        assert inside == "a molecule token"
        assert host.file("/etc/modelyard/apps").mode == 0o700
        assert host.file("/etc/modelyard/apps/demo/1/TOKEN").mode == 0o400
        assert "a molecule token" not in host.check_output("cat /var/lib/modelyard/apps/demo/releases/1/release.json")
    assert host.run("cat /etc/modelyard/apps/demo/1/TOKEN").rc != 0


def test_same_release_again_is_quick(host: Host) -> None:
    begin = time.monotonic()
    assert "changed=0 " in deploy()
    print(f"a run that changes nothing took {time.monotonic() - begin:.1f} s")


def test_new_release_loses_no_request(address: str, host: Host) -> None:
    with Traffic(address) as traffic:
        deploy(version="2")
        time.sleep(1)
    assert traffic.lost == []
    assert traffic.versions["1"] > 20
    assert traffic.versions["2"] > 20
    active = ledger(host)["active"]
    assert (active["release"], active["slot"]) == (2, "green")
    states = {name: container["State"]["Running"] for name, container in containers(host).items()}
    assert states == {"modelyard-demo-blue": False, "modelyard-demo-green": True}


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        ("broken", "refused at the step gate: the container has stopped, exit code 3"),
        ("hungry", "killed because it ran out of memory"),
        ("fails later", "taken back after the switch"),
    ],
)
def test_bad_release_is_refused_and_the_old_one_serves(address: str, host: Host, behaviour: str, message: str) -> None:
    with Traffic(address) as traffic:
        output = refused(version="2", behaviour=behaviour)
    assert message in output
    assert "Release 2 keeps serving" in output
    if behaviour == "broken":
        assert "the model is corrupt" in output
    if behaviour != "fails later":
        assert traffic.lost == []
    assert version(address) == "2"
    assert list(containers(host)) == ["modelyard-demo-green"]


def test_rollback_loses_no_request_and_holds(address: str, host: Host) -> None:
    with Traffic(address) as traffic:
        done = play("modelyard.mlops.rollback", app="demo")
    assert done.returncode == 0, done.stdout
    assert traffic.lost == []
    assert version(address) == "1"
    assert ledger(host)["held"] == [2]
    output = deploy(version="2")
    assert "which is wanted, was rolled back" in output
    assert "changed=0 " in output
    assert version(address) == "1"


@pytest.mark.usefixtures("host")
def test_status_tells_all_of_it() -> None:
    done = play("modelyard.mlops.status", app="demo")
    assert done.returncode == 0, done.stdout
    assert "molecule abc1234 molecule-app:1 - blue" in done.stdout
    for line in ("1 rollback served", "5 deploy returned", "3 deploy refused"):
        assert line in done.stdout


def test_stopped_app_is_brought_back(address: str, host: Host) -> None:
    with host.sudo():
        host.check_output("docker rm --force modelyard-demo-blue")
    output = deploy(version="2")
    assert "changed=1" in output
    assert version(address) == "1", "the release that was rolled back stays away"


def test_forced_release_is_deployed(address: str) -> None:
    deploy(version="2", app_deploy_force=True)
    assert version(address) == "2"


def test_active_slot_alone_returns_after_a_reboot(address: str, host: Host) -> None:
    running = {name: container["State"]["Pid"] for name, container in containers(host).items()}
    with host.sudo():
        host.check_output("systemctl stop docker.socket docker haproxy")
        # The engine's settings let containers outlive it, a reboot does not.
        host.check_output("kill -9 " + " ".join(str(pid) for pid in running.values() if pid))
        host.check_output("systemctl start docker haproxy")
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not serves(address):
        time.sleep(0.5)
    assert version(address) == "2"
    now = {name: container["State"]["Pid"] for name, container in containers(host).items()}
    assert [name for name, pid in now.items() if pid] == [name for name, pid in running.items() if pid]


def serves(address: str) -> bool:
    with contextlib.suppress(OSError, http.client.HTTPException):
        connection = http.client.HTTPConnection(address, timeout=2)
        connection.request("GET", "/predict")
        return connection.getresponse().status == 200
    return False


def test_app_that_is_not_named_any_more_goes(address: str, host: Host) -> None:
    output = deploy(apps=["other"])
    assert "changed=2" in output
    assert list(containers(host)) == ["modelyard-other-blue"]
    with host.sudo():
        assert not host.file("/etc/modelyard/apps/demo").exists
    assert ledger(host)["history"][-1]["outcome"] == "removed"
    assert "allow_empty" in refused(apps=[])
