# SPDX-License-Identifier: Apache-2.0
"""Behind a proxy that is trusted, its word on the client counts; and browsers are told to stay with HTTPS."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from testinfra.host import Host

from ansible_collections.modelyard.mlops.extensions.molecule.shared.playbook import converge

from .client import Answer, Client, basic
from .machine import runtime

pytestmark = pytest.mark.usefixtures("serving", "proxy")

SECURE = "wine.example.org"
CLIENT = "198.51.100.7"


@pytest.fixture(scope="module")
def proxy(host: Host, client: Client, serving: None) -> Iterator[None]:
    """From now on we are a proxy that the ingress trusts, and it has a certificate."""
    ourselves = client.get("/predict").json["headers"]["x-forwarded-for"]
    with host.sudo():
        pem = host.check_output("cat /etc/haproxy/self-signed.pem")
    converge(trusted=[ourselves], certificates={SECURE: pem})
    yield
    runtime(host, "clear table reloaded/login_failures")


def ask(client: Client, path: str, forwarded: str = CLIENT, **headers: Any) -> Answer:
    return client.get(path, X_Forwarded_For=forwarded, **headers)


def test_app_sees_the_client_that_the_last_proxy_names(client: Client) -> None:
    assert ask(client, "/predict", f"6.6.6.6, {CLIENT}").json["headers"]["x-forwarded-for"] == CLIENT


def test_request_keeps_the_proxys_scheme_and_identity(client: Client) -> None:
    answer = ask(client, "/predict", X_Forwarded_Proto="https", X_Request_ID="proxy-1")
    assert answer.json["headers"]["x-forwarded-proto"] == "https"
    assert answer.json["headers"]["x-request-id"] == answer.headers["x-request-id"] == "proxy-1"
    assert ask(client, "/predict", X_Request_ID='"forged"').headers["x-request-id"] != '"forged"'


def test_log_names_the_client(host: Host, client: Client) -> None:
    identity = ask(client, "/predict").headers["x-request-id"]
    with host.sudo():
        log = host.check_output("journalctl --sync && journalctl --unit haproxy --lines 50 --output cat")
    (line,) = (line for line in log.splitlines() if identity in line)
    assert CLIENT in line


def test_failed_logins_are_the_clients_and_not_the_proxys(client: Client) -> None:
    wrong, right = basic("admin", "wrong"), basic("admin", "a long canary_secret")
    secure = {"X_Forwarded_Proto": "https"}
    statuses = [ask(client, "/grafana", Authorization=wrong, **secure).status for _time in range(6)]
    assert statuses == [401] * 5 + [429]
    assert ask(client, "/grafana", "198.51.100.8", Authorization=right, **secure).status == 200


@pytest.mark.parametrize(
    ("path", "headers", "told"),
    [
        ("/wine/x", {"Host": SECURE, "X_Forwarded_Proto": "https"}, True),
        ("/grafana", {"X_Forwarded_Proto": "https"}, True),
        ("/wine/x", {"Host": SECURE}, False),  # it is sent to HTTPS first
        ("/predict", {"X_Forwarded_Proto": "https"}, False),  # this app may be asked over HTTP
    ],
)
def test_browsers_are_told_to_stay_with_https(client: Client, path: str, headers: dict[str, str], told: bool) -> None:
    answer = ask(client, path, "198.51.100.9", **headers)
    assert answer.headers.get("strict-transport-security") == ("max-age=31536000" if told else None)
