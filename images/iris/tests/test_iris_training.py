# SPDX-License-Identifier: Apache-2.0
"""Training is repeatable, noise stays out of what is measured, and ONNX gives scikit-learn's labels."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from iris_model import IrisError, artefact, data, training
from iris_model.model import Model, seal, verify
from iris_model.training import Hyperparameters


def test_the_same_seed_gives_the_same_model(dataset: data.Dataset, parameters: Hyperparameters) -> None:
    def build(seed: int) -> bytes:
        forest = training.fit(dataset, replace(parameters, seed=seed))
        return bytes(artefact.to_onnx(forest).SerializeToString(deterministic=True))

    assert build(1) == build(1)
    assert build(1) != build(2)


def test_noise_adds_copies_and_keeps_the_rows(dataset: data.Dataset) -> None:
    noisy = training.augment(dataset, Hyperparameters(noise_copies=2, noise_scale=0.1))
    assert len(noisy) == 3 * len(dataset)
    assert np.array_equal(noisy.features[: len(dataset)], dataset.features)
    assert training.augment(dataset, Hyperparameters(noise_copies=0)) is dataset


def test_noise_touches_training_folds_only(dataset: data.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[int] = []
    measure = training.measure

    def spy(labels: Any, *rest: Any) -> training.Metrics:
        measured.append(len(labels))
        return measure(labels, *rest)

    monkeypatch.setattr(training, "measure", spy)
    training.cross_validate(dataset, Hyperparameters(n_estimators=2, folds=5, noise_copies=3))
    assert measured == [30] * 5


def test_cross_validation_reports(dataset: data.Dataset) -> None:
    metrics = training.cross_validate(dataset, Hyperparameters())
    assert set(metrics) == {"cv_accuracy_mean", "cv_accuracy_std", "cv_macro_f1_mean", "cv_log_loss_mean"}
    assert metrics["cv_accuracy_mean"] > 0.9


@pytest.mark.parametrize("changes", [{"n_estimators": 0}, {"max_depth": -1}, {"min_samples_split": 1}])
def test_an_impossible_hyperparameter_is_refused(dataset: data.Dataset, changes: dict[str, Any]) -> None:
    with pytest.raises(IrisError, match=next(iter(changes))):
        training.fit(dataset, replace(Hyperparameters(), **changes))


def test_too_many_folds_are_refused(dataset: data.Dataset) -> None:
    with pytest.raises(IrisError, match="--folds 51"):
        training.cross_validate(dataset, Hyperparameters(folds=51))


@pytest.mark.parametrize("trees", [1, 7, 50])
@pytest.mark.parametrize("depth", [1, 5, 20])
def test_onnx_gives_scikit_learns_labels(
    dataset: data.Dataset, trees: int, depth: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artefact, "CHECK_ROWS", 20_000)
    parameters = Hyperparameters(n_estimators=trees, max_depth=depth, min_samples_split=2, min_samples_leaf=1)
    forest = training.fit(dataset, parameters)
    artefact.write(tmp_path, artefact.to_onnx(forest), artefact.metadata(dataset, parameters, {}))
    seal(tmp_path)
    model = Model.load(tmp_path)
    assert artefact.check(forest, model, dataset, seed=3) == len(dataset) + 20_000
    probabilities = model.predict(dataset.features)[1]
    assert np.allclose(probabilities, forest.predict_proba(dataset.features), atol=1e-6)


def test_thresholds_are_rounded_down_only() -> None:
    thresholds = np.array([0.1, 0.3, 2.449999988079071, 1.0])
    rounded = artefact._thresholds(thresholds)
    assert (rounded.astype(np.float64) <= thresholds).all()
    assert (np.nextafter(rounded, np.float32(np.inf)).astype(np.float64) > thresholds).all()


def test_a_model_that_differs_is_refused(
    dataset: data.Dataset, parameters: Hyperparameters, model_folder: Path
) -> None:
    other = training.fit(dataset, replace(parameters, seed=9))
    with pytest.raises(IrisError, match="differ from scikit-learn's"):
        artefact.check(other, Model.load(model_folder), dataset, seed=0)


def test_a_changed_file_is_refused(model_folder: Path, tmp_path: Path) -> None:
    for path in model_folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    assert verify(tmp_path) == Model.load(model_folder).digest
    description = json.loads((tmp_path / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps({**description, "classes": ["a", "b", "c"]}))
    with pytest.raises(IrisError, match=r"model\.json is not the file"):
        Model.load(tmp_path)
    (tmp_path / "model.json").unlink()
    with pytest.raises(IrisError, match="is no model's folder"):
        Model.load(tmp_path)
