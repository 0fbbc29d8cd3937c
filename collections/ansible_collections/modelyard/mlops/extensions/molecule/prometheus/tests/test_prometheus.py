# SPDX-License-Identifier: Apache-2.0
"""Prometheus watches what the code says, takes good configuration, refuses bad, and forgets what is removed."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import tarfile
import time
import urllib.parse
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

COLLECTION = Path(__file__).resolve().parents[4]
DASHBOARDS = COLLECTION / "roles" / "grafana" / "files" / "dashboards"
URL = "http://127.0.0.1:9090/prometheus"


def ask(host: Host, path: str, **parameters: str) -> Any:
    """Ask Prometheus' API on the host."""
    url = f"{URL}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
    script = (
        "import sys, urllib.error as e, urllib.request as u\n"
        "try: print(u.urlopen(sys.argv[1]).read().decode())\n"
        "except e.HTTPError as error: print(error.read().decode())\n"
    )
    return json.loads(host.check_output("python3 -c %s %s", script, url))


def rule_names(host: Host) -> set[str]:
    """The names of all rules that Prometheus has loaded."""
    return {rule["name"] for group in ask(host, "rules")["data"]["groups"] for rule in group["rules"]}


def converge(**variables: str) -> tuple[int, str]:
    """Run the scenario's playbook again with other variables; return its exit code and what it said."""
    playbook = Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"]) / "converge.yml"
    inventory = os.environ["MOLECULE_INVENTORY_FILE"]
    command = ["ansible-playbook", "-i", inventory, "-e", json.dumps(variables), str(playbook)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, " ".join((done.stdout + done.stderr).split())


def test_runs_now_and_at_boot(host: Host) -> None:
    assert host.service("prometheus").is_running
    assert host.service("prometheus").is_enabled


def test_listens_on_loopback_alone(host: Host) -> None:
    addresses = {line.split()[3] for line in host.check_output("ss -Hlnt").splitlines() if ":9090" in line}
    assert addresses == {"127.0.0.1:9090"}


def test_targets_are_what_the_code_says(host: Host) -> None:
    expected = {
        ("app", "/apps/iris/metrics"): "up",
        ("app", "/apps/gone/metrics"): "down",
        ("ingress", "/metrics"): "up",
        ("prometheus", "/prometheus/metrics"): "up",
    }
    deadline = time.monotonic() + 30
    while True:
        targets = ask(host, "targets")["data"]["activeTargets"]
        found = {
            (target["labels"]["job"], urllib.parse.urlsplit(target["scrapeUrl"]).path): target["health"]
            for target in targets
        }
        if found == expected or time.monotonic() > deadline:
            break
        time.sleep(1)
    assert found == expected


def test_an_app_has_its_name_as_a_label(host: Host) -> None:
    result = ask(host, "query", query='up{job="app", app="iris"}')["data"]["result"]
    assert [value["value"][1] for value in result] == ["1"]


def test_alerts_go_to_alertmanager(host: Host) -> None:
    managers = ask(host, "alertmanagers")["data"]["activeAlertmanagers"]
    assert [manager["url"] for manager in managers] == ["http://127.0.0.1:9093/alertmanager/api/v2/alerts"]


def test_retention_is_limited_by_time_and_size(host: Host) -> None:
    flags = ask(host, "status/flags")["data"]
    assert (flags["storage.tsdb.retention.time"], flags["storage.tsdb.retention.size"]) == ("30d", "5GiB")


def test_is_confined(host: Host) -> None:
    with host.sudo():
        host.check_output("systemd-analyze security --threshold=30 prometheus")


def test_rules_do_what_they_say(host: Host) -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        for folder in ("tests/rules", "roles/prometheus/files/rules"):
            tar.add(COLLECTION / folder, folder)
    content = base64.b64encode(archive.getvalue()).decode()
    host.check_output(f"rm -rf /tmp/rules; mkdir /tmp/rules; echo {content} | base64 -d | tar -xz -C /tmp/rules")
    host.check_output("cd /tmp/rules/tests/rules; promtool test rules *.yml")


@pytest.mark.parametrize("path", sorted(DASHBOARDS.glob("*.json")), ids=lambda path: path.stem)
def test_prometheus_understands_each_query_of_each_panel(host: Host, path: Path) -> None:
    dashboard = json.loads(path.read_text(encoding="utf-8"))
    variables = [f"${variable['name']}" for variable in dashboard["templating"]["list"]]
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    assert expressions
    for expression in expressions:
        for variable in variables:
            expression = expression.replace(variable, ".*")
        answer = ask(host, "query", query=expression)
        assert answer["status"] == "success", f"{expression}: {answer.get('error')}"


def test_the_service_dashboard_shows_something_in_each_panel(host: Host) -> None:
    dashboard = json.loads((DASHBOARDS / "modelyard-service.json").read_text(encoding="utf-8"))
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            assert ask(host, "query", query=target["expr"].replace("$app", ".*"))["data"]["result"], panel["title"]


def test_a_bad_rule_is_refused_and_the_old_ones_stay(host: Host, tmp_path: Path) -> None:
    before = rule_names(host)
    (tmp_path / "team.yml").write_text("groups: [{name: team, rules: [{alert: Broken, expr: 'rate('}]}]\n")
    code, words = converge(rules_dir=str(tmp_path))
    assert code != 0
    assert "promtool refuses the new configuration" in words
    assert rule_names(host) == before
    with host.sudo():
        assert "TeamRule" in host.file("/etc/modelyard/prometheus/rules/team.yml").content_string


def test_a_setting_that_only_prometheus_itself_refuses_is_put_back(host: Host) -> None:
    code, words = converge(prometheus_retention_time="forever")
    assert code != 0
    assert "The former configuration is back, and the service runs with it" in words
    assert ask(host, "status/flags")["data"]["storage.tsdb.retention.time"] == "30d"


def test_a_removed_rule_is_removed(host: Host, tmp_path: Path) -> None:
    assert "TeamRule" in rule_names(host)
    code, words = converge(rules_dir=str(tmp_path))
    assert code == 0, words
    assert "TeamRule" not in rule_names(host)
    assert "ApiDown" in rule_names(host)
    with host.sudo():
        assert not host.file("/etc/modelyard/prometheus/rules/team.yml").exists
