# SPDX-License-Identifier: Apache-2.0
"""Several pipelines on one store: they decide one after the other, and none is lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

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


def test_two_processes_end_with_two_versions_and_one_champion(store: Path, tmp_path: Path) -> None:
    mlflow.MlflowClient().search_registered_models()  # makes the store's tables
    source = str(Path(__file__).resolve().parents[1] / "src")
    processes = [
        subprocess.Popen(
            [
                sys.executable,
                "-m",
                "iris_model",
                "pipeline",
                "--n-estimators",
                "5",
                "--folds",
                "2",
                "--seed",
                str(seed),
            ],
            env={
                **os.environ,
                "PYTHONPATH": source,
                "MODEL_NAME": "pair",
                "RESULT_FILE": str(tmp_path / f"{seed}.json"),
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed in (1, 2)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    results = [json.loads((tmp_path / f"{seed}.json").read_text()) for seed in (1, 2)]
    first, second = sorted(results, key=lambda result: int(result["model_version"]))
    assert (first["model_version"], second["model_version"]) == ("1", "2")
    assert first["promoted"]
    assert "there was no champion" in first["reason"]
    assert "the champion's" in second["reason"]  # it was measured against the first one
    champion = tracking.champion("pair")
    assert champion is not None
    assert str(champion.version) == ("2" if second["promoted"] else "1")
