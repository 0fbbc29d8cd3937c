# SPDX-License-Identifier: Apache-2.0
"""The server keeps runs and models, on the loopback address, in a hardened container, and survives a bad change."""

from __future__ import annotations

import json
import typing as t

from testinfra.host import Host

CONTAINER = "modelyard-mlflow"
SERVER = "http://127.0.0.1:5000/mlflow"


def inspect(host: Host) -> dict[str, t.Any]:
    """The container, as the engine describes it."""
    with host.sudo():
        return t.cast(dict[str, t.Any], json.loads(host.check_output(f"docker inspect {CONTAINER}"))[0])


def get(host: Host, path: str, *headers: str) -> tuple[int, str]:
    """Status and body of an answer, without curl, which the host does not have."""
    script = (
        "import sys, urllib.request, urllib.error\n"
        "request = urllib.request.Request(sys.argv[1], headers=dict(h.split('=') for h in sys.argv[2:]))\n"
        "try: answer = urllib.request.urlopen(request)\n"
        "except urllib.error.HTTPError as error: answer = error\n"
        "print(answer.status); print(answer.read().decode())\n"
    )
    output = host.check_output("python3 -c %s %s " + " ".join(["%s"] * len(headers)), script, SERVER + path, *headers)
    status, _, body = output.partition("\n")
    return int(status), body


def test_the_api_answers_under_the_prefix(host: Host) -> None:
    assert get(host, "/health") == (200, "OK")
    status, body = get(host, "/api/2.0/mlflow/experiments/search?max_results=1")
    assert status == 200
    assert json.loads(body)["experiments"][0]["artifact_location"].startswith("mlflow-artifacts:/")


def test_only_known_names_are_served(host: Host) -> None:
    assert get(host, "/", "Host=ml.example.com")[0] == 200
    assert get(host, "/", "Host=evil.example.com")[0] == 403


def test_nothing_listens_beyond_loopback(host: Host) -> None:
    with host.sudo():
        listening = host.check_output("ss --listening --tcp --numeric --no-header").splitlines()
    addresses = [line.split()[3] for line in listening]
    assert "127.0.0.1:5000" in addresses
    assert [address for address in addresses if not address.startswith("127.") and not address.endswith(":22")] == []


def test_the_container_is_hardened(host: Host) -> None:
    container = inspect(host)
    settings = container["HostConfig"]
    assert settings["ReadonlyRootfs"] is True
    assert settings["CapDrop"] == ["ALL"]
    assert settings["SecurityOpt"] == ["no-new-privileges"]
    assert settings["Memory"] == 1 << 30
    assert settings["RestartPolicy"]["Name"] == "unless-stopped"
    assert container["Config"]["User"] == "10001:10001"


def test_the_data_is_the_servers_alone(host: Host) -> None:
    folder = host.file("/var/lib/modelyard/mlflow")
    assert (folder.uid, folder.gid, folder.mode) == (10001, 10001, 0o750)
    with host.sudo():
        assert host.file("/var/lib/modelyard/mlflow/mlflow.db").is_file


def test_a_change_that_does_not_work_leaves_the_former_server_running(host: Host) -> None:
    before = inspect(host)
    broken = {
        "name": CONTAINER,
        "image": before["Image"],
        "command": ["--no-such-option"],
        "ports": {"5000": 5000},
        "verify": {"url": SERVER + "/health", "timeout": 300},
    }
    failed = host.ansible("modelyard.mlops.container_service", json.dumps(broken), check=False, become=True)
    assert "No such option" in failed["msg"]
    after = inspect(host)
    assert after["Id"] == before["Id"]
    assert after["State"]["Running"]
