# SPDX-License-Identifier: Apache-2.0
"""The ingress lets in what it should, where it should, and nothing else."""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import ssl
import subprocess
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from testinfra.host import Host

PASSWORD = "a long molecule password"
MAP = "/var/lib/modelyard/ingress/slots.map"


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class Client:
    """Talks to the host from outside."""

    def __init__(self, address: str) -> None:
        self._address = address

    def get(self, path: str, tls: bool = False, **headers: str) -> Answer:
        connection = http.client.HTTPConnection(self._address, timeout=10)
        if tls:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            connection = http.client.HTTPSConnection(self._address, timeout=10, context=context)
        connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return Answer(
            answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read().decode(errors="replace")
        )


@pytest.fixture(scope="module")
def client(host: Host) -> Client:
    return Client(host.ansible.get_variables()["ansible_host"])


@pytest.fixture(scope="module")
def serving(host: Host, client: Client) -> None:
    """As if app_deploy had put both apps into their blue slots. Behind wine's there is nothing."""
    with host.sudo():
        host.check_output(f"printf 'iris blue\\nwine blue\\n' >{MAP} && systemctl reload haproxy")
    deadline = time.monotonic() + 10
    while client.get("/predict").status == 503 and time.monotonic() < deadline:
        time.sleep(0.1)


def converge(**variables: str) -> None:
    playbook = Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"]) / "converge.yml"
    extra = [f"--extra-vars={name}={value}" for name, value in variables.items()]
    command = ["ansible-playbook", "-i", os.environ["MOLECULE_INVENTORY_FILE"], str(playbook), *extra]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:]


def test_service_runs_now_and_at_boot(host: Host) -> None:
    service = host.service("haproxy")
    assert service.is_running
    assert service.is_enabled


def test_only_http_and_https_are_public(host: Host) -> None:
    with host.sudo():
        lines = host.check_output("ss --listening --tcp --numeric --no-header --processes").splitlines()
    ports = {line.split()[3] for line in lines if "haproxy" in line}
    assert ports == {"0.0.0.0:80", "0.0.0.0:443", "127.0.0.1:8404"}


def test_service_is_hardened(host: Host) -> None:
    with host.sudo():
        report = host.check_output("systemd-analyze security haproxy.service --no-pager")
    score = re.search(r"exposure level for haproxy\.service: ([\d.]+)", report)
    assert score
    assert float(score[1]) < 3.0


def test_admin_socket_and_secrets_are_roots_alone(host: Host) -> None:
    with host.sudo():
        for path in ("/run/haproxy/admin.sock", "/etc/haproxy/modelyard/users.cfg", "/etc/haproxy/self-signed.pem.key"):
            file = host.file(path)
            assert (file.user, file.mode) == ("root", 0o600), path
        assert PASSWORD not in host.check_output("cat /etc/haproxy/modelyard/users.cfg")


def test_app_without_release_answers_503_in_json(client: Client) -> None:
    answer = client.get("/predict")
    assert answer.status == 503
    assert answer.json == {"error": "no release of this application serves"}
    assert answer.headers["retry-after"]


@pytest.mark.usefixtures("serving")
def test_app_gets_what_it_needs_to_know_of_the_client(client: Client) -> None:
    answer = client.get("/predict?x=1", X_Forwarded_For="6.6.6.6", X_Request_ID="forged")
    assert (answer.status, answer.json["port"], answer.json["path"]) == (200, 18081, "/predict?x=1")
    headers = answer.json["headers"]
    assert headers["x-forwarded-proto"] == "http"
    assert headers["x-request-id"] == answer.headers["x-request-id"] != "forged"
    assert "6.6.6.6" not in headers["x-forwarded-for"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "server" not in answer.headers
    assert client.get("/predict", tls=True).json["headers"]["x-forwarded-proto"] == "https"


@pytest.mark.usefixtures("serving")
@pytest.mark.parametrize("path", ["/metrics", "/metrics/", "//metrics", "/%6detrics", "/metrics;x", "/metrics?x"])
def test_private_path_is_not_public(client: Client, path: str) -> None:
    assert client.get(path).status == 403


@pytest.mark.usefixtures("serving")
def test_private_path_hides_no_other(client: Client) -> None:
    assert client.get("/metricsandmore").status == 200


@pytest.mark.usefixtures("serving")
def test_host_reaches_metrics_of_ingress_and_app(host: Host) -> None:
    fetch = "python3 -c 'import urllib.request as u; print(u.urlopen(\"http://127.0.0.1:8404{}\").read().decode())'"
    assert "haproxy_process_uptime_seconds" in host.check_output(fetch.format("/metrics"))
    assert json.loads(host.check_output(fetch.format("/apps/iris/metrics")))["path"] == "/metrics"


@pytest.mark.usefixtures("serving")
def test_host_and_path_choose_the_app(client: Client) -> None:
    assert client.get("/wine/x").json["port"] == 18081
    answer = client.get("/wine/x", Host="wine.example.org")
    assert (answer.status, answer.json) == (503, {"error": "the application does not answer"})


def test_service_wants_https_and_a_login(client: Client) -> None:
    redirect = client.get("/grafana/d/1")
    assert redirect.status == 308
    assert redirect.headers["location"].startswith("https://")
    assert redirect.headers["location"].endswith("/grafana/d/1")
    assert client.get("/grafana/d/1", tls=True).status == 401
    assert client.get("//grafana/d/1", tls=True).status == 401
    wrong = base64.b64encode(b"admin:wrong").decode()
    assert client.get("/grafana/d/1", tls=True, Authorization=f"Basic {wrong}").status == 401
    right = base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
    answer = client.get("/grafana/d/1", tls=True, Authorization=f"Basic {right}")
    assert (answer.status, answer.json["path"]) == (200, "/grafana/d/1")
    assert "authorization" not in answer.json["headers"], "the password goes no further than the ingress"


@pytest.mark.usefixtures("serving")
def test_change_of_configuration_keeps_the_slots(client: Client) -> None:
    converge(redirect="true")
    assert client.get("/predict").status == 308
    assert client.get("/predict", tls=True).json["port"] == 18081
    converge()
    assert client.get("/predict").json["port"] == 18081
