# SPDX-License-Identifier: Apache-2.0
"""What a person has after `make up`: in the order in which they would look."""

from __future__ import annotations

import json
import re
import runpy
import shlex
from typing import TYPE_CHECKING

from waiting import wait_for

from delivery.yard import ROOT, Yard

if TYPE_CHECKING:
    from conftest import E2EYard, Requests

# Of a role, executed in a run that has nothing to do. How long they take is for tests/benchmarks/rerun to say.
MOST_TASKS = 12
SETOSA = {"features": [[5.1, 3.5, 1.4, 0.2]]}
# Looks, as whoever runs it, for the texts on its input in all files of a host.
HUNT = """
import os, sys
wanted = [line.encode() for line in sys.stdin.read().split("\\n")]
count = 0
for folder, folders, names in os.walk("/"):
    folders[:] = [] if folder in ("/proc", "/sys", "/dev") else folders
    for path in (os.path.join(folder, name) for name in names):
        try:
            if os.path.isfile(path) and os.path.getsize(path) < 2**24:
                with open(path, "rb") as file:
                    content = file.read()
                count += 1
                if any(text in content for text in wanted):
                    print(path, "holds a secret")
        except OSError:
            pass
print(count, "files were read")
"""
PARAMETERS = {
    "n_estimators": "50",
    "max_depth": "5",
    "min_samples_split": "10",
    "min_samples_leaf": "5",
    "criterion": "gini",
}


def test_ctrl_c_in_the_middle_is_told_and_the_next_up_finishes_the_job(yard: E2EYard) -> None:
    assert "nothing is left locked" in yard.interrupted_output
    assert "Traceback" not in yard.interrupted_output
    assert "is up:" in yard.first_output


def test_a_second_up_in_the_same_clone_is_told_who_is_at_work(yard: E2EYard) -> None:
    with Yard.named("rehearsal", yard.name).locked("up"):
        output = yard.make("up", expect=2)
    assert f"{yard.name} is busy: make up, process" in output


def test_the_summary_says_what_a_person_needs(yard: E2EYard) -> None:
    for expected in (
        f"http://{yard.address}/",
        f"https://{yard.address}/mlflow/",
        f"https://{yard.address}/prometheus/",
        "secrets.yml",
        "delivery.log",
        "iris version 1 serves as release 1",
        "Next:",
    ):
        assert expected in yard.first_output
    assert re.search(r"accuracy 0\.\d{3}", yard.first_output)
    assert re.search(r"Seconds: .*terraform \d+.*images \d+.*site \d+", yard.first_output)


def test_the_curl_line_of_the_summary_works(yard: E2EYard) -> None:
    import subprocess

    line = next(line for line in yard.first_output.splitlines() if "curl -X POST" in line)
    answer = subprocess.run(["bash", "-c", f"{line} --silent"], capture_output=True, text=True, check=True).stdout
    assert json.loads(answer) == {"predictions": [0]}


def test_the_api_answers(yard: E2EYard) -> None:
    assert yard.http("/predict", body=SETOSA).json == {"predictions": [0]}
    assert yard.http("/health").json == {"status": "running"}
    refused = yard.http("/predict", body={"features": [[5.1, "x", 1.4, 0.2]]})
    assert 400 <= refused.status < 500


def test_the_metrics_are_there(yard: E2EYard) -> None:
    text = yard.http("/metrics").body
    counted = [line for line in text.splitlines() if line.startswith("request_count_total{")]
    assert any('endpoint="/predict"' in line and 'method="POST"' in line for line in counted)
    assert re.search(r"^in_progress(\{.*\})? \d", text, re.MULTILINE)
    assert "request_latency_seconds_bucket{" in text


def test_the_api_exports_what_dashboards_and_rules_expect_of_an_app(yard: E2EYard) -> None:
    contract = ROOT / "collections/ansible_collections/modelyard/mlops/dashboards/contract.py"
    expected = runpy.run_path(str(contract))["APP_METRICS"]
    found = dict(re.findall(r"^# TYPE (\S+) (\S+)", yard.http("/metrics").body, re.MULTILINE))
    assert expected.items() <= found.items()


def test_the_run_and_the_champion_are_in_mlflow(yard: E2EYard) -> None:
    api = "/mlflow/api/2.0/mlflow"
    assert yard.http(f"{api}/registered-models/get?name=iris", scheme="https").status == 401
    model = yard.http(f"{api}/registered-models/get?name=iris", scheme="https", login=True).json["registered_model"]
    assert {"alias": "champion", "version": "1"} in model["aliases"]
    version = yard.http(f"{api}/model-versions/get?name=iris&version=1", scheme="https", login=True).json
    run_id = version["model_version"]["run_id"]
    data = yard.http(f"{api}/runs/get?run_id={run_id}", scheme="https", login=True).json["run"]["data"]
    parameters = {entry["key"]: entry["value"] for entry in data["params"]}
    assert PARAMETERS.items() <= parameters.items()
    metrics = {entry["key"]: entry["value"] for entry in data["metrics"]}
    assert metrics["cv_accuracy_mean"] > 0.9
    assert "cv_accuracy_std" in metrics
    tags = {entry["key"]: entry["value"] for entry in data["tags"]}
    assert tags["modelyard.image_key"].startswith("sha256:")
    assert tags["mlflow.source.git.commit"]


def test_prometheus_finds_all_targets_healthy(yard: E2EYard) -> None:
    def health() -> dict[str, str]:
        answer = yard.http("/prometheus/api/v1/targets?state=active", scheme="https", login=True)
        return {target["labels"]["job"]: target["health"] for target in answer.json["data"]["activeTargets"]}

    wait_for(lambda: set(health().values()), {"up"})
    assert {"app", "ingress", "node", "prometheus"} <= health().keys()


def test_the_three_metrics_of_the_dashboard_have_data(yard: E2EYard) -> None:
    dashboards = yard.ssh("cat $(find /etc/modelyard/grafana -name '*.json')")
    for metric in ("request_count_total", "in_progress", "request_latency_seconds"):
        assert metric in dashboards
    yard.http("/predict", body=SETOSA)
    queries = ("request_count_total", "in_progress", "request_latency_seconds_bucket")
    wait_for(lambda: [query for query in queries if not _query(yard, query)], [])


def test_the_datasource_of_grafana_is_prometheus(yard: E2EYard) -> None:
    provisioned = yard.ssh("cat /etc/modelyard/grafana/provisioning/datasources/*")
    assert "uid: prometheus" in provisioned
    assert "http://127.0.0.1:9090/prometheus" in provisioned


def test_only_ssh_and_http_listen_beyond_loopback(yard: E2EYard) -> None:
    lines = yard.ssh("ss --no-header --listening --tcp --numeric").splitlines()
    beyond = {line.split()[3] for line in lines if not re.match(r"(127\.|\[::1\])", line.split()[3])}
    ports = {address.rpartition(":")[2] for address in beyond if not address.startswith("127.")}
    assert ports == {"22", "80", "443"}, beyond


def test_no_secret_is_where_others_could_read_it(yard: E2EYard) -> None:
    # The yard was delivered with -vvv --diff.
    places = {
        "what was printed": yard.first_output + yard.interrupted_output,
        "the log": (yard.state / "delivery.log").read_text(),
        "docker inspect": yard.ssh("docker inspect $(docker ps --all --quiet)"),
        "the process list": yard.ssh("ps -efww"),
        "the journal": yard.ssh("journalctl --no-pager"),
    }
    canaries = yard.canaries()
    for place, text in places.items():
        assert not [name for name, secret in canaries if secret in text], f"a secret is in {place}"
    assert (yard.state / "secrets.yml").stat().st_mode & 0o777 == 0o600
    as_nobody = f"setpriv --reuid=nobody --regid=nogroup --clear-groups python3 -c {shlex.quote(HUNT)}"
    found = yard.ssh(as_nobody, given="\n".join(secret for _, secret in canaries))
    assert "files were read" in found
    assert found.count("\n") == 1, found


def test_a_second_up_changes_nothing(yard: E2EYard) -> None:
    runs = yard.run_count()
    output = yard.make("up")
    assert "0 tasks changed" in output
    assert "the cloud was changed" not in output
    assert yard.recap()
    assert set(yard.recap().values()) == {0}
    executed = yard.executed()
    assert {"docker", "app_deploy"} <= executed.keys()
    assert not {role: tasks for role, tasks in executed.items() if tasks > MOST_TASKS}
    assert yard.run_count() == runs
    assert "release 1" in output


def test_a_broken_variable_is_refused_by_name_before_anything_changes(yard: E2EYard) -> None:
    output = yard.make("site", 'ARGS=-e \'{"image_transfer_cache_max_gib": "much"}\'', expect=2)
    assert "image_transfer_cache_max_gib" in output
    assert re.search(r"changed=0\s", output.rpartition("PLAY RECAP")[2])
    assert yard.http("/health").status == 200


def test_training_again_redeploys_the_best_model_without_a_lost_request(yard: E2EYard, requests: Requests) -> None:
    runs = yard.run_count()
    with requests:
        yard.make("train")
    assert yard.run_count() == runs + 1
    assert requests.failures == []
    assert requests.count > 20
    assert yard.http("/predict", body=SETOSA).json == {"predictions": [0]}


def test_load_is_answered(yard: E2EYard) -> None:
    output = yard.make("load", "RATE=20", "FOR=10")
    assert re.search(r"failures?\W+0\b", output, re.IGNORECASE)


def _query(yard: E2EYard, query: str) -> list[object]:
    answer = yard.http(f"/prometheus/api/v1/query?query={query}", scheme="https", login=True)
    result: list[object] = answer.json["data"]["result"]
    return result
