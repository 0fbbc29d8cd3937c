# SPDX-License-Identifier: Apache-2.0
"""The ingress lets in what it should, where it should, and nothing else."""

from __future__ import annotations

import json
import re

import pytest
from testinfra.host import Host

from .client import Client, basic
from .machine import process_number, runtime, until

PASSWORD = "a long canary_secret"


def test_service_runs_now_and_at_boot(host: Host) -> None:
    service = host.service("haproxy")
    assert service.is_running
    assert service.is_enabled


def test_only_http_and_https_are_public(host: Host) -> None:
    with host.sudo():
        lines = host.check_output("ss --listening --tcp --numeric --no-header --processes").splitlines()
    ports = {line.split()[3] for line in lines if "haproxy" in line}
    assert ports == {"0.0.0.0:80", "0.0.0.0:443", "127.0.0.1:8403", "127.0.0.1:8404"}


@pytest.mark.parametrize("unit", ["haproxy.service", "modelyard-ingress-certificates.service"])
def test_service_is_hardened(host: Host, unit: str) -> None:
    with host.sudo():
        report = host.check_output(f"systemd-analyze security {unit} --no-pager")
    score = re.search(rf"exposure level for {re.escape(unit)}: ([\d.]+)", report)
    assert score
    assert float(score[1]) < 3.0


def test_admin_socket_and_secrets_are_roots_alone(host: Host) -> None:
    with host.sudo():
        for path in ("/run/haproxy/admin.sock", "/etc/haproxy/modelyard/users.cfg", "/etc/haproxy/self-signed.pem"):
            file = host.file(path)
            assert (file.user, file.mode) == ("root", 0o600), path
        assert PASSWORD not in host.check_output("cat /etc/haproxy/modelyard/users.cfg")


def test_app_without_release_answers_503_in_json(client: Client) -> None:
    answer = client.get("/idle")
    assert answer.status == 503
    assert answer.json["title"] == "no release of this application serves"
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"]


@pytest.mark.usefixtures("serving")
def test_app_gets_what_it_needs_to_know_of_the_client(client: Client) -> None:
    answer = client.get("/predict?x=1", X_Forwarded_For="6.6.6.6", X_Request_ID="forged", X_Forwarded_Prefix="/x")
    assert (answer.status, answer.json["port"], answer.json["path"]) == (200, 18081, "/predict?x=1")
    headers = answer.json["headers"]
    assert headers["x-forwarded-proto"] == "http"
    assert headers["x-request-id"] == answer.headers["x-request-id"] != "forged"
    assert "6.6.6.6" not in headers["x-forwarded-for"]
    assert "x-forwarded-prefix" not in headers
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "SAMEORIGIN"
    assert "server" not in answer.headers
    assert "strict-transport-security" not in answer.headers
    assert client.get("/predict", tls=True).json["headers"]["x-forwarded-proto"] == "https"


@pytest.mark.usefixtures("serving")
def test_log_has_the_request_id(host: Host, client: Client) -> None:
    identity = client.get("/predict").headers["x-request-id"]
    with host.sudo():
        assert identity in host.check_output("journalctl --sync && journalctl --unit haproxy --lines 50 --output cat")


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
    answer = client.get("/wine/x", tls=True, Host="wine.example.org")
    assert (answer.status, answer.json["title"]) == (503, "the application does not answer")
    assert client.get("/small/x").json["port"] == 18085
    assert client.get("/smaller").json["port"] == 18081


@pytest.mark.usefixtures("serving")
def test_app_says_whether_it_wants_https(client: Client) -> None:
    answer = client.get("/wine/x?y=1", Host="wine.example.org")
    assert (answer.status, answer.headers["location"]) == (308, "https://wine.example.org/wine/x?y=1")
    assert client.get("/predict").status == 200


@pytest.mark.usefixtures("serving")
def test_app_may_get_its_requests_without_their_prefix(client: Client) -> None:
    for path, arrives in {"/small": "/", "/small/": "/", "/small/x?y=/small": "/x?y=/small"}.items():
        answer = client.get(path).json
        assert (answer["path"], answer["headers"]["x-forwarded-prefix"]) == (arrives, "/small")


def test_service_wants_https_and_a_login(client: Client) -> None:
    redirect = client.get("/grafana/d/1")
    assert redirect.status == 308
    assert redirect.headers["location"].startswith("https://")
    assert redirect.headers["location"].endswith("/grafana/d/1")
    assert client.get("//grafana/d/1", tls=True).status == 401
    refused = client.get("/grafana/d/1", tls=True)
    assert refused.status == 401
    assert refused.headers["www-authenticate"] == 'Basic realm="modelyard"'
    assert "<h1>Login needed</h1>" in refused.text
    answer = client.get("/grafana/d/1", tls=True, Authorization=basic("admin", PASSWORD))
    assert (answer.status, answer.json["path"]) == (200, "/grafana/d/1")
    assert "authorization" not in answer.json["headers"], "the password goes no further than the ingress"


@pytest.mark.usefixtures("serving")
def test_service_may_have_a_host_of_its_own_and_no_login(client: Client) -> None:
    answer = client.get("/docs/x", tls=True, Host="docs.example.org")
    assert (answer.status, answer.json["port"], answer.json["path"]) == (200, 3001, "/docs/x")
    assert client.get("/docs/x", Host="docs.example.org").headers["location"] == "https://docs.example.org/docs/x"
    assert client.get("/docs/x", tls=True).json["port"] == 18081, "elsewhere it is the app's"


@pytest.mark.usefixtures("serving")
def test_exporters_are_read_from_elsewhere_with_a_login(client: Client) -> None:
    assert client.get("/-/metrics/haproxy").status == 308
    assert client.get("/-/metrics/haproxy", tls=True).status == 401
    login = basic("admin", PASSWORD)
    assert "haproxy_process_uptime" in client.get("/-/metrics/haproxy", tls=True, Authorization=login).text
    assert client.get("/-/metrics/iris", tls=True, Authorization=login).json["path"] == "/metrics"
    # What was not asked for is not there: the app at / gets it.
    assert client.get("/-/metrics/node").json["port"] == 18081


def test_address_that_fails_to_log_in_must_wait_even_if_haproxy_is_reloaded(host: Host, client: Client) -> None:
    right, wrong = (basic("admin", password) for password in (PASSWORD, "wrong"))
    statuses = [client.get("/grafana", tls=True, Authorization=wrong).status for _unused in range(6)]
    assert statuses == [401] * 5 + [429]
    former = process_number(host)
    with host.sudo():
        host.check_output("systemctl reload haproxy")
    assert until(lambda: process_number(host) != former)
    assert until(lambda: client.get("/grafana", tls=True, Authorization=right).status == 429)
    answer = client.get("/grafana", tls=True, Authorization=right)
    assert (answer.status, answer.json["title"]) == (429, "too many failed logins")
    assert answer.headers["retry-after"] == "300"
    assert client.get("/predict").status != 429
    runtime(host, "clear table reloaded/login_failures")
    assert client.get("/grafana", tls=True, Authorization=right).status == 200
