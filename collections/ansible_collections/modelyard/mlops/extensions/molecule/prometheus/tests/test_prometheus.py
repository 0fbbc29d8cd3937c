# SPDX-License-Identifier: Apache-2.0
"""Prometheus watches what the code says, takes good configuration, refuses bad, and forgets what is removed."""

from __future__ import annotations

import base64
import io
import json
import tarfile
import time
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

from ansible_collections.modelyard.mlops.extensions.molecule.shared.mirror import ADDRESS, VERSION, offer, program_of
from ansible_collections.modelyard.mlops.extensions.molecule.shared.playbook import converge, refused

COLLECTION = Path(__file__).resolve().parents[4]
DASHBOARDS = COLLECTION / "roles" / "grafana" / "files" / "dashboards"
testinfra_hosts = ["host"]
URL = "http://127.0.0.1:9090/watch"


def ask(host: Host, path: str, **parameters: str) -> Any:
    """Ask Prometheus' API on the host."""
    url = f"{URL}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
    script = (
        "import sys, urllib.error as e, urllib.request as u\n"
        "try: print(u.urlopen(sys.argv[1]).read().decode())\n"
        "except e.HTTPError as error: print(error.read().decode())\n"
    )
    return json.loads(host.check_output("python3 -c %s %s", script, url))


# Prints the answer of a page behind the receiver's login.
ASK_WITH_LOGIN = (
    "import base64, sys, urllib.request as u\n"
    "token = base64.b64encode(b'sender:canary_secret').decode()\n"
    "print(u.urlopen(u.Request(sys.argv[1], headers={'Authorization': 'Basic ' + token})).read().decode())\n"
)


def rule_names(host: Host) -> set[str]:
    """The names of all rules that Prometheus has loaded."""
    return {rule["name"] for group in ask(host, "rules")["data"]["groups"] for rule in group["rules"]}


def test_runs_now_and_at_boot(host: Host) -> None:
    assert host.service("prometheus").is_running
    assert host.service("prometheus").is_enabled


def test_listens_on_loopback_alone(host: Host) -> None:
    addresses = {line.split()[3] for line in host.check_output("ss -Hlnt").splitlines() if ":9090" in line}
    assert addresses == {"127.0.0.1:9090"}


def targets(host: Host) -> dict[tuple[str, str, str], str]:
    """The health of each target, by its job, its host and its page."""
    return {
        (
            target["labels"]["job"],
            target["labels"]["instance"],
            urllib.parse.urlsplit(target["scrapeUrl"]).path,
        ): target["health"]
        for target in ask(host, "targets")["data"]["activeTargets"]
    }


def values(host: Host, query: str) -> list[str]:
    """What a query finds now, which is nothing for a moment when a target answers late."""
    return [str(found["value"][1]) for found in ask(host, "query", query=query)["data"]["result"]]


def wait_for(found: Callable[[], Any], expected: Any) -> None:
    """Fail unless what is found becomes what is expected, within a minute."""
    deadline = time.monotonic() + 60
    while (last := found()) != expected and time.monotonic() < deadline:
        time.sleep(1)
    assert last == expected


OF_HOST = {
    ("app", "host", "/apps/iris/metrics"): "up",
    ("app", "host", "/apps/gone/metrics"): "down",
    ("ingress", "host", "/metrics"): "up",
    ("prometheus", "127.0.0.1:9090", "/watch/metrics"): "up",
    ("pages", "127.0.0.1:8404", "/apps/iris/metrics"): "up",
}
OF_OTHER = {("node", "other", "/-/metrics/node"): "up", ("ingress", "other", "/-/metrics/ingress"): "up"}


def test_targets_are_what_the_code_says_on_this_host_and_through_the_ingress_of_another(host: Host) -> None:
    wait_for(lambda: targets(host), OF_HOST | OF_OTHER)


def test_what_is_measured_says_where_it_comes_from(host: Host) -> None:
    wait_for(lambda: values(host, 'up{job="app", app="iris", environment="test"}'), ["1"])
    wait_for(lambda: len(values(host, 'node_memory_MemTotal_bytes{instance="other", environment="test"}')), 1)


# Another Prometheus, which takes what is sent to it from whoever knows the password.
RECEIVER = """
set -e
mkdir -p /srv/receiver
echo '{}' > /srv/receiver/prometheus.yml
echo 'basic_auth_users: {sender: $2b$05$abcdefghijklmnopqrstuuawAZ2bOzp0udDPuXY3SNGISYf/ZTxyK}' > /srv/receiver/web.yml
systemctl is-active --quiet receiver || systemd-run --quiet --unit=receiver prometheus \
  --config.file=/srv/receiver/prometheus.yml --web.config.file=/srv/receiver/web.yml \
  --storage.tsdb.path=/srv/receiver/data --web.listen-address=127.0.0.1:9091 --web.enable-remote-write-receiver
"""


def test_what_is_measured_is_sent_to_another_prometheus_that_wants_a_password(host: Host) -> None:
    with host.sudo():
        host.check_output("bash -c %s", RECEIVER)
    # What was measured before it ran is sent as well, the oldest first.
    query = 'last_over_time(up{job="app",app="iris",replica="a"}[1h])'
    url = f"http://127.0.0.1:9091/api/v1/query?query={urllib.parse.quote(query)}"

    def received() -> list[str]:
        done = host.run("python3 -c %s %s", ASK_WITH_LOGIN, url)
        results = json.loads(done.stdout)["data"]["result"] if done.rc == 0 else []
        return [result["metric"]["environment"] for result in results]

    wait_for(received, ["test"])


def test_a_password_is_a_file_of_its_own(host: Host) -> None:
    with host.sudo():
        secret = host.file("/etc/modelyard/prometheus/secrets/archive")
        assert (secret.mode, secret.user, secret.group) == (0o640, "root", "prometheus")
        found = host.check_output("grep -rl -e canary_secret /etc/modelyard/prometheus")
    assert {Path(name).parent.name for name in found.split()} == {"secrets"}


def test_a_bad_address_to_send_to_is_refused() -> None:
    words = refused(write_to="http://archive example.org/")
    assert "promtool refuses the new configuration" in words


def test_what_leaves_the_inventory_leaves_prometheus(host: Host) -> None:
    converge(of_other=[])
    wait_for(lambda: targets(host), OF_HOST)


def test_alerts_go_to_alertmanager(host: Host) -> None:
    # It looks for them some seconds after a reload.
    def managers() -> list[str]:
        return [manager["url"] for manager in ask(host, "alertmanagers")["data"]["activeAlertmanagers"]]

    wait_for(managers, ["http://127.0.0.1:9093/alerts/api/v2/alerts"])


def test_objectives_are_measured_against(host: Host) -> None:
    answer = ask(host, "query", query='{__name__=~"modelyard:objective:.*"}')["data"]["result"]
    found = {one["metric"]["__name__"].rpartition(":")[2]: float(one["value"][1]) for one in answer}
    assert found == {"errors": 0.001, "slow": 0.05, "champion_days": 90, "drift": 0.1}


def test_a_target_is_asked_as_it_wants(host: Host) -> None:
    (target,) = (one for one in ask(host, "targets")["data"]["activeTargets"] if one["labels"]["job"] == "pages")
    assert (target["scrapeTimeout"], target["labels"]["app"]) == ("900ms", "pages")


def test_is_held_at_its_version(host: Host) -> None:
    assert "prometheus" in host.check_output("apt-mark showhold").split()


def test_retention_is_limited_by_time_and_size(host: Host) -> None:
    flags = ask(host, "status/flags")["data"]
    assert (flags["storage.tsdb.retention.time"], flags["storage.tsdb.retention.size"]) == ("30d", "1GiB")


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


def queries(path: Path) -> list[tuple[str, str]]:
    """The title of its panel and each query of a dashboard, with everything chosen."""
    dashboard = json.loads(path.read_text(encoding="utf-8"))
    variables = [f"${variable['name']}" for variable in dashboard["templating"]["list"]]
    found = []
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            expression = target["expr"]
            for variable in variables:
                expression = expression.replace(variable, ".*")
            found.append((panel["title"], expression))
    return found


@pytest.mark.parametrize("path", sorted(DASHBOARDS.glob("*.json")), ids=lambda path: path.stem)
def test_prometheus_understands_each_query_of_each_panel(host: Host, path: Path) -> None:
    assert queries(path)
    for _title, expression in queries(path):
        answer = ask(host, "query", query=expression)
        assert answer["status"] == "success", f"{expression}: {answer.get('error')}"


def test_the_service_dashboard_shows_something_in_each_panel(host: Host) -> None:
    panels = queries(DASHBOARDS / "modelyard-service.json")
    wait_for(lambda: [title for title, expression in panels if not values(host, expression)], [])


def test_a_bad_rule_is_refused_and_the_old_ones_stay(host: Host, tmp_path: Path) -> None:
    before = rule_names(host)
    (tmp_path / "team.yml").write_text("groups: [{name: team, rules: [{alert: Broken, expr: 'rate('}]}]\n")
    words = refused(rules_dir=str(tmp_path))
    assert "promtool refuses the new configuration" in words
    assert rule_names(host) == before
    with host.sudo():
        assert "TeamRule" in host.file("/etc/modelyard/prometheus/rules/team.yml").content_string


def test_a_setting_that_only_prometheus_itself_refuses_is_put_back(host: Host) -> None:
    words = refused(prometheus_retention_time="forever")
    assert "The former configuration is back, and the service runs with it" in words
    assert ask(host, "status/flags")["data"]["storage.tsdb.retention.time"] == "30d"


def test_a_folder_without_rules_is_refused(tmp_path: Path) -> None:
    assert f"prometheus_rules_dir is {tmp_path}, and no rule file" in refused(rules_dir=str(tmp_path))


def test_a_removed_rule_is_removed(host: Host) -> None:
    assert "TeamRule" in rule_names(host)
    converge(rules_dir="")
    assert "TeamRule" not in rule_names(host)
    assert "ApiDown" in rule_names(host)
    with host.sudo():
        assert not host.file("/etc/modelyard/prometheus/rules/team.yml").exists


def test_a_release_from_a_mirror_takes_the_place_of_the_package(host: Host) -> None:
    converge(
        prometheus_install="upstream",
        prometheus_version=VERSION,
        prometheus_sha256=offer(host, "prometheus", prometheus="/usr/bin/prometheus", promtool="/usr/bin/promtool"),
        prometheus_base_url=ADDRESS,
    )
    assert program_of(host, "prometheus") == f"/opt/modelyard/prometheus/{VERSION}/prometheus"
    assert ask(host, "query", query='count_over_time(up{job="pages"}[1h]) > 10')["data"]["result"], "with its data"
