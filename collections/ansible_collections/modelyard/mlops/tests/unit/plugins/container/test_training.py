# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""Training runs: once for the same inputs, recorded, followed and told apart when they fail."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.modelyard.mlops.plugins.filter.training_problems import training_problems
from ansible_collections.modelyard.mlops.plugins.module_utils import training
from ansible_collections.modelyard.mlops.plugins.module_utils.container import ContainerError, Spec
from ansible_collections.modelyard.mlops.plugins.module_utils.training import (
    FINISHED,
    RUNNING,
    Inputs,
    Ledger,
    Record,
    TrainingError,
    command,
    data_digest,
    metrics,
    reason,
    timestamp,
)
from ansible_collections.modelyard.mlops.plugins.modules import training_run
from ansible_collections.modelyard.mlops.plugins.modules.training_run import ARGUMENTS, Task
from ansible_collections.modelyard.mlops.tests.unit.plugins.running import run_module

from .fakes import FakeContainers, FakeEngine

RESULT: dict[str, Any] = {
    "run_id": "abc",
    "model_name": "iris",
    "model_version": 3,
    "promoted": True,
    "metrics": {"accuracy": 0.96, "note": "good"},
}
KEY = "sha256:1"


class Host:
    """A host on which trainings are asked for."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = folder / "training"
        self.textfiles = folder / "textfile"
        self.textfiles.mkdir()
        self.engine = FakeEngine({"train:1": (KEY, "10001")})
        self.containers = FakeContainers()
        self.started: list[Spec] = []
        self.result: Any = RESULT
        self.state: dict[str, Any] = {"Running": False}
        self.containers.life = self._live
        monkeypatch.setattr(training_run, "Containers", lambda engine: self.containers)
        monkeypatch.setattr(training, "_POLL_SECONDS", 0)
        monkeypatch.setattr(training, "boot_time", lambda: 0.0)

    def _live(self, spec: Spec) -> dict[str, Any]:
        self.started.append(spec)
        if self.result is not None and not self.state["Running"]:
            (Path(spec.mounts["/result"]) / "result.json").write_text(json.dumps(self.result))
        return self.state

    def task(self, **options: Any) -> Task:
        defaults = {name: option.get("default") for name, option in ARGUMENTS.items()}
        given = {"name": "iris", "image": "train:1", "tracking_uri": "http://mlflow", "wait": 0, **options}
        return Task(
            {**defaults, "root": str(self.root), "textfile_directory": str(self.textfiles), **given}, self.engine
        )


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, monkeypatch)


def test_a_run_is_done_once(host: Host) -> None:
    first = host.task(parameters={"max_depth": 5}).begin()
    assert (first["changed"], first["finished"], first["reason"]) == (True, True, "there has been no run")
    assert first["result"] == {**RESULT, "model_version": "3"}
    again = host.task(parameters={"max_depth": 5}).begin()
    assert (again["changed"], again["finished"], again["reason"]) == (False, True, "")
    assert again["result"] == first["result"]
    assert again["diff"]["before"] == again["diff"]["after"]
    assert len(host.started) == 1
    assert host.containers.containers == {}
    assert Path(first["log"]).read_text() == host.containers.log


def test_the_container_keeps_the_contract(host: Host, tmp_path: Path) -> None:
    host.task(args=["pipeline"], parameters={"max_depth": 5}, data=str(tmp_path), env={"SEED": 1}, memory="1g").begin()
    (spec,) = host.started
    assert spec.command == ("pipeline", "--max-depth", "5")
    assert spec.env == {
        "SEED": "1",
        "MLFLOW_TRACKING_URI": "http://mlflow",
        "RESULT_FILE": "/result/result.json",
        "IMAGE_KEY": KEY,
        "DATA_DIR": "/data",
    }
    assert spec.writable == ("/result",)
    assert (spec.network, spec.memory, spec.image) == ("host", 1 << 30, KEY)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"parameters": {"max_depth": 6}}, "changed since the last run: command"),
        ({"image": "train:2"}, "changed since the last run: image"),
        ({"env": {"SEED": 2}}, "changed since the last run: env"),
        ({"force": True}, "it is forced"),
    ],
)
def test_what_changes_a_run_is_previewed_and_done(host: Host, change: dict[str, Any], why: str) -> None:
    host.engine.images["train:2"] = ("sha256:2", "10001")
    host.task().begin()
    assert host.task(**change).preview()["reason"] == why
    assert len(host.started) == 1
    assert host.task(**change).begin()["reason"] == why
    assert len(host.started) == 2


def test_another_server_or_commit_is_not_another_run(host: Host) -> None:
    host.task(commit="abc1234").begin()
    assert host.started[0].env["GIT_COMMIT"] == "abc1234"
    assert not host.task(tracking_uri="http://elsewhere", commit="def5678").begin()["changed"]


def test_a_preview_works_before_the_image_is_there(host: Host) -> None:
    host.engine.images = {}
    assert host.task().preview()["reason"] == "the image is not on the host yet"
    assert host.task(image_key=KEY).preview()["reason"] == "there has been no run"
    assert not host.root.exists()


@pytest.mark.parametrize(
    ("state", "result", "message"),
    [
        (
            {"ExitCode": 2},
            None,
            r"exit code 2. Its log is .*run.log; the last lines:\nfirst line\nlast line",
        ),
        ({"ExitCode": 137, "OOMKilled": True}, None, "ran out of memory"),
        ({}, None, "without writing"),
        ({}, [1], "no JSON object"),
        ({}, {**RESULT, "promoted": "yes"}, "whose 'promoted' is 'yes'"),
        ({}, {**RESULT, "metrics": None}, "whose 'metrics' is None"),
    ],
)
def test_a_failure_says_why_and_is_tried_again(host: Host, state: dict[str, Any], result: Any, message: str) -> None:
    host.state, host.result = {"Running": False, **state}, result
    with pytest.raises(TrainingError, match=message):
        host.task().begin()
    assert host.containers.containers == {}
    assert (
        'modelyard_training_success{training="iris"} 0.0'
        in (host.textfiles / "modelyard_training_iris.prom").read_text()
    )
    host.state, host.result = {"Running": False}, RESULT
    assert host.task().begin()["reason"] == "the last run with these inputs failed"


def test_a_run_that_goes_on_is_followed_and_not_started_twice(host: Host) -> None:
    host.state = {"Running": True}
    begun = host.task().begin()
    assert (begun["finished"], begun["progress"]) == (False, "last line")
    joined = host.task().begin()
    assert joined["reason"] == "the run with these inputs has not ended"
    (container,) = host.containers.containers.values()
    container["State"]["Running"] = False
    (Path(host.started[0].mounts["/result"]) / "result.json").write_text(json.dumps(RESULT))
    ended = host.task().follow(begun["key"])
    assert (ended["changed"], ended["finished"], "progress" in ended) == (True, True, False)
    assert len(host.started) == 1


def test_a_run_that_takes_too_long_is_stopped(host: Host) -> None:
    host.state = {"Running": True}
    with pytest.raises(TrainingError, match="did not finish in -1 s, and was stopped"):
        host.task(timeout=-1).begin()
    assert host.containers.containers == {}


@pytest.mark.parametrize("removed", [True, False])
def test_a_run_that_the_host_went_down_under_is_started_again(
    host: Host, removed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.state = {"Running": True}
    host.task().begin()
    host.state = {"Running": False}
    if removed:
        host.containers.containers.clear()
    else:
        next(iter(host.containers.containers.values()))["State"].update(Running=False, ExitCode=255)
        monkeypatch.setattr(training, "boot_time", lambda: time.time() + 1)
    assert host.task().begin()["finished"]
    assert len(host.started) == 2


@pytest.mark.parametrize("user", ["", "0", "root", "0:0"])
def test_an_image_that_runs_as_root_is_refused(host: Host, user: str) -> None:
    host.engine.images["train:1"] = (KEY, user)
    with pytest.raises(TrainingError, match="runs as root: set USER"):
        host.task().begin()
    assert host.task(user="10001:10001").begin()["finished"]


def test_a_missing_image_is_named_before_anything_is_written(host: Host) -> None:
    host.engine.images = {}
    with pytest.raises(ContainerError, match="does not have 'train:1'"):
        host.task().begin()
    assert not host.root.exists()


def test_figures_are_written_only_for_a_node_exporter(host: Host) -> None:
    host.textfiles.rmdir()
    host.task().begin()
    assert not host.textfiles.exists()


def test_figures_are_not_written_again(host: Host) -> None:
    host.task().begin()
    before = (host.textfiles / "modelyard_training_iris.prom").stat()
    host.task().begin()
    assert (host.textfiles / "modelyard_training_iris.prom").stat().st_mtime_ns == before.st_mtime_ns


def samples(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith("#")]


def test_figures_are_in_the_text_format() -> None:
    record = Record(FINISHED, Inputs(KEY, [], {}, ""), 100.0, 4.5, {**RESULT, "model_version": "3"})
    assert samples(metrics("iris", record)) == [
        'modelyard_training_success{training="iris"} 1.0',
        'modelyard_training_started_timestamp_seconds{training="iris"} 100.0',
        'modelyard_training_duration_seconds{training="iris"} 4.5',
        'modelyard_training_promoted{training="iris"} 1.0',
        'modelyard_training_model_version{training="iris"} 3.0',
        'modelyard_training_metric{training="iris",metric="accuracy"} 0.96',
    ]


def test_the_champion_is_the_last_that_was_promoted(host: Host) -> None:
    host.task().begin()
    host.result = {**RESULT, "model_version": 4, "promoted": False, "metrics": {"accuracy": 0.5}}
    host.task(force=True).begin()
    shown = samples((host.textfiles / "modelyard_training_iris.prom").read_text())
    assert 'modelyard_training_model_version{training="iris"} 4.0' in shown
    assert 'modelyard_training_champion_model_version{training="iris"} 3.0' in shown
    assert 'modelyard_training_champion_metric{training="iris",metric="accuracy"} 0.96' in shown
    host.state = {"Running": False, "ExitCode": 2}
    with pytest.raises(TrainingError):
        host.task(force=True).begin()
    shown = samples((host.textfiles / "modelyard_training_iris.prom").read_text())
    assert 'modelyard_training_success{training="iris"} 0.0' in shown
    assert 'modelyard_training_champion_model_version{training="iris"} 3.0' in shown
    assert not [line for line in shown if line.startswith("modelyard_training_metric")]


def test_parameters_become_options() -> None:
    parameters = {"b_c": 5, "a": 0.5, "flag": True, "off": False, "none": None, "many": [1, "x"], "zero": 0}
    assert command(["run"], parameters) == [
        *("run", "--a", "0.5", "--b-c", "5", "--flag", "--many", "1", "--many", "x", "--zero", "0")
    ]


def test_the_data_digest_sees_content_and_names(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    digests = {data_digest(str(tmp_path))}
    (tmp_path / "a").rename(tmp_path / "b")
    digests.add(data_digest(str(tmp_path)))
    (tmp_path / "b").write_text("2")
    digests.add(data_digest(str(tmp_path)))
    assert len(digests) == 3
    assert data_digest("") == ""
    with pytest.raises(TrainingError, match="data: there is no folder"):
        data_digest(str(tmp_path / "missing"))


def test_the_reason_compares_with_the_run_that_was_started_last(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path), "iris")
    older = Record(FINISHED, Inputs(KEY, ["a"], {}, ""), 1.0)
    newer = Record(FINISHED, Inputs(KEY, ["b"], {}, "d"), 2.0)
    with ledger.locked():
        ledger.write(newer)
        ledger.write(older)
    assert ledger.last() == newer
    assert reason(older.inputs, None, ledger.last(), False) == "changed since the last run: command, data"
    assert reason(older.inputs, replace(older, state=RUNNING), newer, False).endswith("has not ended")


@pytest.mark.parametrize("name", ["", "Iris", "../iris", "iris model"])
def test_names_that_are_no_folder_are_refused(name: str, host: Host) -> None:
    with pytest.raises(TrainingError, match="name:"):
        host.task(name=name)


def test_times_of_the_engine() -> None:
    assert timestamp("1970-01-01T00:01:00.500000000Z") == 60.5
    assert timestamp("1970-01-01T00:01:00Z") == 60.0


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ("not an object", "has written a $RESULT_FILE that is no JSON object"),
        ({**RESULT, "promoted": "yes"}, "has written a $RESULT_FILE whose 'promoted' is 'yes'"),
        (None, "ended well without writing $RESULT_FILE"),
    ],
)
def test_module_says_which_training_broke_the_contract_and_how(
    host: Host, monkeypatch: pytest.MonkeyPatch, result: Any, message: str
) -> None:
    host.result = result
    said = module(host, monkeypatch)
    assert said["msg"].startswith("training iris: ")
    assert message in said["msg"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"memory": "lots"}, "training iris: memory: 'lots' is no size"),
        ({"image": "train:latest"}, "training iris: image: 'train:latest' says latest"),
        ({"image": "train"}, "training iris: image: 'train' does not name an image with its tag"),
    ],
)
def test_module_names_the_option_that_cannot_be(
    host: Host, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, Any], message: str
) -> None:
    assert message in module(host, monkeypatch, **wrong)["msg"]
    assert message in module(host, monkeypatch, _ansible_check_mode=True, **wrong)["msg"]


def test_all_trainings_are_looked_at_at_once() -> None:
    good: dict[str, Any] = {"name": "iris", "image": "train:1", "memory": None, "timeout": 5}
    assert training_problems([good, {**good, "memory": "1g"}], "2g") == []
    wrong = [good, {**good, "name": "wine", "memory": "lots"}, {"name": "Old", "image": "train:latest"}]
    assert [problem.partition(" is")[0] for problem in training_problems(wrong, "512")] == [
        "training_run_memory: '512'",
        "training_run_jobs: wine: memory: 'lots'",
        "training_run_jobs: Old: name: 'Old'",
        "training_run_jobs: Old: image: 'train:latest' says latest, which",
    ]


def test_module_previews_runs_and_follows(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    assert module(host, monkeypatch, _ansible_check_mode=True)["reason"]
    assert host.started == []
    done = module(host, monkeypatch)
    assert (done["finished"], done["result"]["model_version"]) == (True, "3")
    assert module(host, monkeypatch, follow=done["key"])["finished"]
    assert "no record of the run" in module(host, monkeypatch, follow="0" * 64)["msg"]


def test_run_whose_container_somebody_removed_has_failed(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.state = {"Running": True}
    going = module(host, monkeypatch)
    host.containers.containers.clear()
    assert "somebody has removed its container" in module(host, monkeypatch, follow=going["key"])["msg"]


def module(host: Host, monkeypatch: pytest.MonkeyPatch, **options: Any) -> dict[str, Any]:
    """What the module ends with."""
    monkeypatch.setattr(training_run, "Engine", lambda *_: host.engine)
    places = {"root": str(host.root), "textfile_directory": str(host.textfiles)}
    asked = {"name": "iris", "image": "train:1", "tracking_uri": "http://mlflow", "wait": 0}
    return run_module(training_run.main, {**asked, **places, **options})
