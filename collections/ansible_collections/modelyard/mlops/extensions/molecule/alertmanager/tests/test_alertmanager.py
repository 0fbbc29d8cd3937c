# SPDX-License-Identifier: Apache-2.0
"""An alert reaches its receiver with the secret; nothing else does."""

from __future__ import annotations

import json

from testinfra.host import Host

API = "http://127.0.0.1:9093/alertmanager/api/v2"

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
    assert host.service("prometheus-alertmanager").is_running
    assert host.service("prometheus-alertmanager").is_enabled


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
    assert got["authorization"] == "Bearer not-a-real-secret"


def test_the_secret_is_a_file_of_its_own(host: Host) -> None:
    with host.sudo():
        secret = host.file("/etc/modelyard/alertmanager/secrets/hook_token")
        assert (secret.mode, secret.user, secret.group) == (0o640, "root", "alertmanager")
        assert "not-a-real-secret" not in host.file("/etc/modelyard/alertmanager/alertmanager.yml").content_string


def test_is_confined(host: Host) -> None:
    with host.sudo():
        host.check_output("systemd-analyze security --threshold=30 prometheus-alertmanager")
