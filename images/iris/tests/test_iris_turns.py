# SPDX-License-Identifier: Apache-2.0
"""Several pipelines on one store: they decide one after the other, and none is lost."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow.entities.model_registry import ModelVersion

from iris_model import IrisError, tracking, turns


def register(name: str, tags: dict[str, str] | None = None) -> ModelVersion:
    """Register a version as a pipeline does, of a model that nobody loads."""
    client = mlflow.MlflowClient()
    if not client.search_registered_models(f"name='{name}'"):
        client.create_registered_model(name)
    return client.create_model_version(name, "file:///nowhere", tags=tags or {tracking.CHECKSUMS_TAG: "0" * 64})


def decision(version: ModelVersion) -> str:
    return str(mlflow.MlflowClient().get_model_version(version.name, version.version).tags[turns.DECISION_TAG])


def test_the_best_of_many_at_once_is_champion_and_each_saw_its_predecessors(store: Path) -> None:
    quality = {1: 0.90, 2: 0.97, 3: 0.95, 4: 0.93}
    versions = [register("many") for _ in quality]
    order: list[int] = []
    inside = threading.Lock()
    errors: list[BaseException] = []

    def pipeline(version: ModelVersion) -> None:
        try:
            with turns.turn(version):
                assert inside.acquire(blocking=False), "two turns at once"
                order.append(int(version.version))
                champion = tracking.champion("many")
                time.sleep(0.05)  # long enough for another to come in between, if it could
                better = champion is None or quality[int(version.version)] >= quality[int(champion.version)]
                inside.release()
                turns.assign(version, tracking.CHAMPION if better else tracking.CHALLENGER, "for a test")
        except BaseException as error:  # noqa: BLE001 - shown below
            errors.append(error)

    threads = [threading.Thread(target=pipeline, args=[version]) for version in reversed(versions)]
    for thread in threads:
        thread.start()
        time.sleep(0.05)
    for thread in threads:
        thread.join()
    assert not errors
    assert order == [1, 2, 3, 4]
    champion = tracking.champion("many")
    assert champion is not None
    assert int(champion.version) == 2
    assert {decision(version) for version in versions} == {"for a test"}


def test_one_that_was_killed_is_given_up_and_comes_too_late(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "PATIENCE", 0.3)
    killed, next_one = register("killed"), register("killed")
    with turns.turn(next_one):
        turns.assign(next_one, tracking.CHAMPION, "better")
    assert decision(killed).startswith("given up: undecided for 0 s, version 2 went ahead")
    with pytest.raises(IrisError, match="is not made champion, it was given up"), turns.turn(killed):
        turns.assign(killed, tracking.CHAMPION, "late")
    assert decision(killed).startswith("given up")
    champion = tracking.champion("killed")
    assert champion is not None
    assert int(champion.version) == 2


def test_an_error_ends_the_turn(store: Path) -> None:
    failed, next_one = register("failed"), register("failed")
    with pytest.raises(ZeroDivisionError), turns.turn(failed):
        _ = 1 / 0
    assert decision(failed) == "interrupted: division by zero"
    with turns.turn(next_one):
        pass


def test_what_people_registered_is_not_waited_for(store: Path) -> None:
    by_hand, next_one = register("by-hand", {"author": "somebody"}), register("by-hand")
    with turns.turn(next_one):
        pass
    assert turns.DECISION_TAG not in mlflow.MlflowClient().get_model_version("by-hand", by_hand.version).tags


def test_pipelines_at_the_same_time_lose_no_version_and_leave_one_champion(
    tracking_server: str, start: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    """Three real processes and a real server; the best candidate wins, whenever it comes."""
    quality = {"poor": ("1", "1"), "good": ("20", "5"), "middling": ("2", "2")}
    arguments = ["-m", "iris_model", "pipeline", "--folds", "2", "--minimum", "0", "--min-samples-leaf", "1"]
    processes = [
        start(
            *arguments,
            *("--n-estimators", trees, "--max-depth", depth),
            MLFLOW_TRACKING_URI=tracking_server,
            MODEL_NAME="many",
            RESULT_FILE=str(tmp_path / f"{name}.json"),
        )
        for name, (trees, depth) in quality.items()
    ]
    for process in processes:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors.decode()

    results = {name: json.loads((tmp_path / f"{name}.json").read_text()) for name in quality}
    in_order = sorted(results.values(), key=lambda result: int(result["model_version"]))
    assert [result["model_version"] for result in in_order] == ["1", "2", "3"]
    client = mlflow.MlflowClient(tracking_server)
    versions = {str(version.version): version for version in client.search_model_versions("name='many'")}
    assert {number: version.tags[turns.DECISION_TAG] for number, version in versions.items()} == {
        result["model_version"]: result["reason"] for result in in_order
    }
    # Each was compared with the best before it, so the accuracy of champions never falls.
    best: dict[str, Any] = {}
    for result in in_order:
        assert result["promoted"] == (not best or result["metrics"]["accuracy"] >= best["metrics"]["accuracy"])
        if best:
            assert result["reason"].endswith(f"the champion's {best['metrics']['accuracy']:.4f}")
        best = result if result["promoted"] else best
    assert best["metrics"]["accuracy"] == results["good"]["metrics"]["accuracy"]
    assert str(client.get_model_version_by_alias("many", tracking.CHAMPION).version) == best["model_version"]
