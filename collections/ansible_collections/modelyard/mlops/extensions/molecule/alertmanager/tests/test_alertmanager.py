# SPDX-License-Identifier: Apache-2.0
"""An alert reaches its receiver with the secret; nothing else does."""

from __future__ import annotations

import json
import time
import typing as t

from testinfra.host import Host

from ansible_collections.modelyard.mlops.extensions.molecule.shared.mirror import ADDRESS, VERSION, offer, program_of
from ansible_collections.modelyard.mlops.extensions.molecule.shared.playbook import converge

API = "http://127.0.0.1:9093/alerts/api/v2"
UNIT = "prometheus-alertmanager"

# Takes one delivery and prints what it got, or says after a while that nothing came.
RECEIVER = """
import http.server, json
class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers['Content-Length'])))
        self.send_response(200); self.end_headers()
        print(json.dumps({'authorization': self.headers['Authorization'], 'alerts': body['alerts']}))
    def log_message(self, *_): pass
server = http.server.HTTPServer(('127.0.0.1', 9999), Receiver)
server.timeout = 20
server.handle_request()
"""


def test_runs_now_and_at_boot(host: Host) -> None:
    assert host.service(UNIT).is_running
    assert host.service(UNIT).is_enabled


def test_listens_on_loopback_alone(host: Host) -> None:
    addresses = {line.split()[3] for line in host.check_output("ss -Hlnt").splitlines() if ":909" in line}
    assert addresses == {"127.0.0.1:9093"}


def test_an_alert_reaches_the_receiver_with_its_secret(host: Host) -> None:
    alert = json.dumps([{"labels": {"alertname": "Test"}}])
    send = (
        f"(sleep 1; python3 -c \"import urllib.request as u; u.urlopen(u.Request('{API}/alerts', "
        "data=b'''" + alert.replace('"', '\\"') + "''', headers={'Content-Type': 'application/json'}))\") & "
    )
    got = json.loads(host.check_output(send + f'python3 -c "{RECEIVER}"'))
    assert got["alerts"][0]["labels"]["alertname"] == "Test"
    assert got["authorization"] == "Bearer canary_secret"


# Posts to the API, or asks it.
ASK = (
    "import sys, urllib.request as u; "
    "print(u.urlopen(u.Request(sys.argv[1], sys.argv[2].encode() or None, {'Content-Type': 'application/json'}))"
    ".read().decode())"
)


def ask(host: Host, path: str, body: t.Any = None) -> str:
    return str(host.check_output("python3 -c %s %s %s", ASK, f"{API}/{path}", json.dumps(body) if body else ""))


def alerts(host: Host) -> dict[str, t.Any]:
    found = json.loads(ask(host, "alerts"))
    return {f"{alert['labels']['alertname']} {alert['labels'].get('app', '')}": alert["status"] for alert in found}


def test_an_alert_that_another_explains_is_inhibited(host: Host) -> None:
    sent = [("BurnsFast", "iris"), ("BurnsSlow", "iris"), ("BurnsSlow", "shop")]
    ask(host, "alerts", [{"labels": {"alertname": name, "app": app}} for name, app in sent])
    deadline = time.monotonic() + 20
    while not alerts(host)["BurnsSlow iris"]["inhibitedBy"]:
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert alerts(host)["BurnsFast iris"]["inhibitedBy"] == []
    assert alerts(host)["BurnsSlow shop"]["inhibitedBy"] == [], "another app's alert is not explained by it"


def test_is_held_at_its_version(host: Host) -> None:
    assert host.check_output("apt-mark showhold") == UNIT


def test_the_secret_is_a_file_of_its_own(host: Host) -> None:
    with host.sudo():
        secret = host.file("/etc/modelyard/alertmanager/secrets/hook_token")
        assert (secret.mode, secret.user, secret.group) == (0o640, "root", "alertmanager")
        assert "canary_secret" not in host.file("/etc/modelyard/alertmanager/alertmanager.yml").content_string


def test_is_confined(host: Host) -> None:
    with host.sudo():
        host.check_output(f"systemd-analyze security --threshold=30 {UNIT}")


def test_a_release_from_a_mirror_takes_the_place_of_the_package(host: Host) -> None:
    silence = {
        "matchers": [{"name": "alertname", "value": "Test", "isRegex": False, "isEqual": True}],
        "startsAt": "2020-01-01T00:00:00Z",
        "endsAt": "2120-01-01T00:00:00Z",
        "createdBy": "molecule",
        "comment": "It is known.",
    }
    identity = json.loads(ask(host, "silences", silence))["silenceID"]
    release = {
        "alertmanager_install": "upstream",
        "alertmanager_version": VERSION,
        "alertmanager_sha256": offer(
            host, "alertmanager", alertmanager="/usr/bin/prometheus-alertmanager", amtool="/usr/bin/amtool"
        ),
        "alertmanager_base_url": ADDRESS,
    }
    converge(**release)
    assert program_of(host, UNIT) == f"/opt/modelyard/alertmanager/{VERSION}/alertmanager"
    assert [kept["id"] for kept in json.loads(ask(host, "silences"))] == [identity], "what it was told is still known"
