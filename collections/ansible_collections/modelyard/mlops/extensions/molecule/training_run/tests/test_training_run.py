# SPDX-License-Identifier: Apache-2.0
"""A run is recorded, measured, not repeated, and told apart from one that fails or goes on."""

from __future__ import annotations

import json
import typing as t

import pytest
from testinfra.host import Host

from ansible_collections.modelyard.mlops.extensions.molecule.shared.playbook import converge, refused

ROOT = "/var/lib/modelyard/training/iris"
JOB: dict[str, t.Any] = {
    "name": "iris",
    "image": "molecule-training:1",
    "args": ["pipeline"],
    "parameters": {"n_estimators": 50, "seconds": 12},
    "data": "/srv/data",
    "memory": "256m",
    "tracking_uri": "http://127.0.0.1:5000/mlflow",
}


def train(host: Host, check: bool = False, **changes: t.Any) -> dict[str, t.Any]:
    """One task; its result."""
    arguments = json.dumps({**JOB, **changes})
    result: dict[str, t.Any] = host.ansible("modelyard.mlops.training_run", arguments, check=check, become=True)
    return result


@pytest.fixture(scope="module")
def record(host: Host) -> dict[str, t.Any]:
    """The one record that converging left."""
    with host.sudo():
        (name,) = host.check_output(f"ls {ROOT}/*.json").split()
        return t.cast(dict[str, t.Any], json.loads(host.file(name).content_string))


def test_the_run_is_recorded_with_its_inputs(record: dict[str, t.Any]) -> None:
    assert record["state"] == "finished"
    assert record["inputs"]["command"] == ["pipeline", "--n-estimators", "50", "--seconds", "12"]
    assert record["inputs"]["data"]
    assert 12 <= record["seconds"] < 30


def test_the_log_is_kept_and_the_container_is_gone(host: Host) -> None:
    with host.sudo():
        assert "training with 50 trees" in host.check_output(f"cat {ROOT}/*/run.log")
        assert host.check_output("docker ps --all --quiet") == ""


def test_a_job_says_what_the_role_does_not(host: Host) -> None:
    with host.sudo():
        iris = host.check_output(f"cat {ROOT}/*/run.log")
        wine = host.check_output("cat /var/lib/modelyard/training/wine/*/run.log")
    assert "for http://127.0.0.1:5000/models" in iris
    assert f"commit abc1234, level None, memory {256 << 20}" in iris
    assert "for http://127.0.0.1:5000/wine" in wine
    assert f"commit def5678, level info, memory {128 << 20}" in wine


@pytest.mark.usefixtures("host")
def test_what_is_to_be_trained_again_is_but_for_jobs_that_say_otherwise() -> None:
    output = converge(again=True)
    assert "changed: [host] => (item=wine)" in output
    assert "ok: [host] => (item=iris)" in output


def test_node_exporter_gets_the_figures(host: Host) -> None:
    metrics = host.file("/var/lib/modelyard/textfile/modelyard_training_iris.prom").content_string
    assert 'modelyard_training_success{training="iris"} 1.0' in metrics
    assert 'modelyard_training_metric{training="iris",metric="accuracy"} 0.9' in metrics


def test_changed_data_is_another_run(host: Host) -> None:
    with host.sudo():
        host.check_output("cp /srv/data/a.csv /srv/data/b.csv")
        try:
            preview = train(host, check=True)
        finally:
            host.check_output("rm /srv/data/b.csv")
    assert preview["changed"]
    assert preview["reason"] == "changed since the last run: data"


def test_a_failure_shows_the_last_lines_and_is_tried_again(host: Host) -> None:
    failing: dict[str, t.Any] = {"name": "failing", "parameters": {"fail": True}}
    failed = train(host, **failing)
    assert "exit code 1" in failed["msg"]
    assert "no tree grows here" in failed["msg"]
    assert train(host, check=True, **failing)["reason"] == "the last run with these inputs failed"


def test_a_run_that_takes_too_long_is_stopped(host: Host) -> None:
    late = train(host, name="late", timeout=2)
    assert "did not finish in 2 s" in late["msg"]
    with host.sudo():
        assert host.check_output("docker ps --all --quiet") == ""


def test_a_value_that_cannot_be_is_refused_by_name_before_any_training_begins(host: Host) -> None:
    jobs = [{**JOB, "name": "first"}, {**JOB, "name": "second", "image": "molecule-training:latest", "memory": "lots"}]
    output = refused(training_run_jobs=jobs)
    assert "training_run_jobs: second: memory: 'lots' is no size: write a number and k, m or g" in output
    assert "training_run_jobs: second: image: 'molecule-training:latest' says latest" in output
    with host.sudo():
        assert not host.file("/var/lib/modelyard/training/first").exists


def test_a_run_is_followed_in_steps(host: Host) -> None:
    assert train(host, name="steps", parameters={"seconds": 5}, wait=0)["finished"]
    with host.sudo():
        assert len(host.check_output("ls /var/lib/modelyard/training/steps/*.json").split()) == 1
