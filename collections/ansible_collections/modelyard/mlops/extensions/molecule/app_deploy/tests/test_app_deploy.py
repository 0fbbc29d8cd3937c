# SPDX-License-Identifier: Apache-2.0
"""The story of an app on a host, in the order of the tests: each begins where the one before it ended."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import time
from typing import Any

import pytest
from testinfra.host import Host

from ansible_collections.modelyard.mlops.extensions.molecule.shared.playbook import CONVERGE, SCENARIO, command, play
from ansible_collections.modelyard.mlops.extensions.molecule.shared.traffic import Traffic

SECRET = "a canary_secret"
AT_REST = "/etc/modelyard/apps/demo/1"
IN_MEMORY = "/run/modelyard/secrets/demo/1"


@pytest.fixture
def address(host: Host) -> str:
    return str(host.ansible.get_variables()["ansible_host"])


def outcome(playbook: str, *arguments: str, **variables: Any) -> tuple[int, str]:
    """Run a playbook; whatever comes of it, the secret is not in its output."""
    code, output = play(playbook, *arguments, **variables)
    assert SECRET not in output
    return code, output


def success(playbook: str, *arguments: str, **variables: Any) -> str:
    code, output = outcome(playbook, *arguments, **variables)
    assert code == 0, output
    return output


def deploy(*arguments: str, **variables: Any) -> str:
    return success(CONVERGE, *arguments, **variables)


def refused(**variables: Any) -> str:
    code, output = outcome(CONVERGE, **variables)
    assert code != 0, output
    return output


def configure_ingress(**variables: Any) -> None:
    success(str(SCENARIO / "ingress.yml"), **variables)


def roll_back() -> None:
    success("modelyard.mlops.rollback", app="demo")


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
    assert settings["SecurityOpt"] == ["no-new-privileges"]
    assert settings["LogConfig"] == {"Type": "local", "Config": {"max-size": "10m", "max-file": "3"}}
    assert settings["Memory"] == 128 << 20
    assert settings["PidsLimit"] == 256
    assert settings["RestartPolicy"]["Name"] == "unless-stopped"
    assert settings["PortBindings"] == {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": "18081"}]}


def test_secret_is_a_file_in_memory_for_the_app_alone(host: Host) -> None:
    with host.sudo():
        assert host.check_output("docker exec modelyard-demo-blue cat /run/secrets/TOKEN") == SECRET
        assert host.check_output(f"findmnt --noheadings --output FSTYPE --target {IN_MEMORY}") == "tmpfs"
        assert (host.file(IN_MEMORY).mode, host.file(IN_MEMORY).uid) == (0o500, 10001)
        assert (host.file(f"{IN_MEMORY}/TOKEN").mode, host.file(f"{IN_MEMORY}/TOKEN").uid) == (0o400, 10001)
        assert host.file("/run/modelyard/secrets").mode == host.file("/etc/modelyard/apps").mode == 0o700
        assert (host.file(f"{AT_REST}/TOKEN").mode, host.file(f"{AT_REST}/TOKEN").user) == (0o400, "root")
    assert host.run(f"cat {AT_REST}/TOKEN").rc != 0


def test_records_have_no_secret(host: Host) -> None:
    with host.sudo():
        records = host.check_output("cd /var/lib/modelyard/apps/demo && cat ledger.json releases/1/release.json")
    assert '"TOKEN"' in records
    assert SECRET not in records


@pytest.mark.usefixtures("host")
def test_same_release_again_changes_nothing_in_few_tasks() -> None:
    output = deploy("-v")
    assert "changed=0 " in output
    # Arguments, options, releases, what serves, and what is in the list no more.
    assert output.count("TASK [modelyard.mlops.app_deploy : ") - output.count("skipping: [host]") <= 5


def test_preview_says_what_differs_and_what_starts_and_stops(address: str) -> None:
    output = deploy("--check", "--diff", version="2")
    assert "+++ after: demo: release 2 (deploy, changed: image)" in output
    assert '- "blue": "release 1 serves", - "green": "nothing serves"' in output
    assert '+ "blue": "nothing serves", + "green": "release 2 serves"' in output
    assert '"TOKEN": "fingerprint ' in output
    assert version(address) == "1"


def test_new_release_loses_no_request_and_tells_its_story(address: str, host: Host) -> None:
    with Traffic(address) as traffic:
        output = deploy(version="2")
        time.sleep(1)
    assert traffic.lost == []
    assert traffic.answers["1"] > 20
    assert traffic.answers["2"] > 20
    active = ledger(host)["active"]
    assert (active["release"], active["slot"]) == (2, "green")
    states = {name: container["State"]["Running"] for name, container in containers(host).items()}
    assert states == {"modelyard-demo-blue": False, "modelyard-demo-green": True}
    story = re.findall(r"\[host\] demo +[\d.]+ s (\w+)", output)
    assert story == ["start", "wait", "warm", "measure", "send", "watch", "let", "stop", "record", "release"]
    with host.sudo():
        assert not host.file(IN_MEMORY).exists, "only what runs has its secrets in memory"


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        ("broken", "refused at the step gate: the container has stopped, exit code 3"),
        # The engine may say why a second later than that.
        ("hungry", "killed because it ran out of memory|exit code 137"),
        ("fails later", "taken back after the switch"),
        ("slow", "its answers take"),
    ],
)
def test_bad_release_is_refused_and_the_old_one_serves(address: str, host: Host, behaviour: str, message: str) -> None:
    with Traffic(address) as traffic:
        output = refused(version="2", behaviour=behaviour)
    assert re.search(message, output)
    assert "Release 2 keeps serving" in output
    if behaviour == "broken":
        assert "the model is corrupt" in output
    if behaviour == "slow":
        assert re.search(r"the way back took \d+ ms", output)
    if behaviour != "fails later":
        assert traffic.lost == []
    assert version(address) == "2"
    assert list(containers(host)) == ["modelyard-demo-green"]


def test_value_that_cannot_be_is_refused_by_name_before_any_app_is_touched(host: Host) -> None:
    before = ledger(host)
    other = {"name": "other", "image": "molecule-app:latest", "slots": [18083, 18084], "memory": "lots"}
    output = refused(version="1", apps=["demo", "other"], other=other)
    assert "app_deploy_apps: other: memory: 'lots' is no size: write a number and k, m or g" in output
    assert "app_deploy_apps: other: image: 'molecule-app:latest' says latest" in output
    assert ledger(host) == before


def test_rollback_loses_no_request_and_holds(address: str, host: Host) -> None:
    with Traffic(address) as traffic:
        roll_back()
    assert traffic.lost == []
    assert version(address) == "1"
    assert ledger(host)["held"] == [2]
    output = deploy(version="2")
    assert "which is wanted, was rolled back" in output
    assert "changed=0 " in output
    assert version(address) == "1"


@pytest.mark.usefixtures("host")
def test_status_tells_all_of_it() -> None:
    output = success("modelyard.mlops.status", app="demo")
    assert "molecule abc1234 molecule-app:1 - blue" in output
    for line in ("1 rollback served", "5 deploy returned", "3 deploy refused"):
        assert line in output


def test_stopped_app_is_brought_back(address: str, host: Host) -> None:
    with host.sudo():
        host.check_output("docker rm --force modelyard-demo-blue")
    output = deploy(version="2")
    assert "changed=1" in output
    assert version(address) == "1", "the release that was rolled back stays away"


def test_forced_release_is_deployed(address: str) -> None:
    deploy(version="2", app_deploy_force=True)
    assert version(address) == "2"


def test_previous_release_that_runs_on_serves_again_without_a_start(address: str, host: Host) -> None:
    deploy(version="1", keep_previous_running=True)
    assert [container["State"]["Running"] for container in containers(host).values()] == [True, True]
    waiting = {name: container["Id"] for name, container in containers(host).items()}
    with Traffic(address) as traffic:
        roll_back()
    assert traffic.lost == []
    assert version(address) == "2"
    now = {name: container["Id"] for name, container in containers(host).items()}
    assert now == waiting, "nothing had to be started"


def test_recreated_release_tells_its_downtime(address: str, host: Host) -> None:
    assert "nothing serves until the switch" in deploy(version="1", behaviour="recreated", way="recreate")
    assert version(address) == "1"
    assert 0 < ledger(host)["history"][-1]["downtime"] < 30
    output = refused(version="2", behaviour="broken", way="recreate")
    assert re.search(r"Release \d+ keeps serving, after [\d.]+ s without", output)
    assert version(address) == "1"


def test_second_run_is_refused_by_name_and_a_dead_controller_stops_nothing(address: str, host: Host) -> None:
    wanted = {"version": "2", "behaviour": "waits"}
    controller = subprocess.Popen(
        command(CONVERGE, **wanted), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    assert controller.stdout is not None
    assert any("wait until /ready" in line for line in controller.stdout)
    os.killpg(controller.pid, signal.SIGKILL)
    controller.wait()
    assert re.search(r"demo is being deployed by molecule \(process \d+\) since \S+ Run again", refused(**wanted))
    free = {"blue": "green", "green": "blue"}[ledger(host)["active"]["slot"]]
    with host.sudo():
        host.check_output(f"docker exec modelyard-demo-{free} touch /tmp/go")
    deadline = time.monotonic() + 60
    while ledger(host)["active"]["slot"] != free:
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert version(address) == "2"
    assert "changed=0 " in deploy(**wanted)


def test_changed_slots_move_one_after_the_other_and_lose_no_request(address: str, host: Host) -> None:
    wanted = {"version": "1", "slots": [18085, 18086]}
    former = ledger(host)["active"]["slot"]
    with Traffic(address) as traffic:
        configure_ingress(slots=wanted["slots"])
        deploy(**wanted)
        configure_ingress(slots=wanted["slots"])
        assert "changed=0 " in deploy(**wanted)
    assert traffic.lost == []
    assert version(address) == "1"
    slot = ledger(host)["active"]["slot"]
    assert slot != former
    bound = containers(host)[f"modelyard-demo-{slot}"]["HostConfig"]["PortBindings"]["8080/tcp"]
    assert bound == [{"HostIp": "127.0.0.1", "HostPort": str(wanted["slots"][["blue", "green"].index(slot)])}]
    with host.sudo():
        configuration = host.check_output("cat /etc/haproxy/haproxy.cfg")
        kept = host.file("/var/lib/modelyard/apps/demo/releases").listdir()
    assert "127.0.0.1:18085" in configuration
    assert "127.0.0.1:18086" in configuration
    assert len(kept) <= 4 + len(ledger(host)["held"]), "those that served last, and those that were rolled back"


def test_app_that_is_not_named_any_more_goes(address: str, host: Host) -> None:
    output = deploy(apps=["other"])
    assert "changed=2" in output
    assert list(containers(host)) == ["modelyard-other-blue"]
    with host.sudo():
        assert not host.file("/etc/modelyard/apps/demo").exists
    assert ledger(host)["history"][-1]["outcome"] == "removed"


def test_the_other_app_has_all_that_can_be_said_of_an_app(address: str, host: Host) -> None:
    (container,) = containers(host).values()
    settings = container["HostConfig"]
    assert container["Config"]["User"] == "10002"
    assert (settings["Memory"], settings["NanoCpus"], settings["PidsLimit"]) == (96 << 20, 500_000_000, 64)
    assert container["Config"]["StopTimeout"] == 7
    assert list(settings["PortBindings"]) == ["9090/tcp"]
    with host.sudo():
        record = json.loads(host.file("/var/lib/modelyard/apps/other/ledger.json").content_string)["history"][-1]
        assert host.file("/run/modelyard/secrets/other/1/TOKEN").uid == 10002
    assert (record["by"], record["commit"], record["delivery"]) == ("another", "def5678", "molecule-7")
    for path, status in {"/other/metrics": 403, "/other/status/203": 203}.items():
        connection = http.client.HTTPConnection(address, timeout=10)
        connection.request("GET", path)
        assert connection.getresponse().status == status
