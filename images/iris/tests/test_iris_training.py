# SPDX-License-Identifier: Apache-2.0
"""Training is repeatable, noise stays out of what is measured, and ONNX gives scikit-learn's labels."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

from iris_model import IrisError, artefact, data, pipeline, tracking, training
from iris_model.model import Model, seal, verify
from iris_model.training import Hyperparameters

SOURCE = str(Path(training.__file__).resolve().parents[1])
SMALL = Hyperparameters(n_estimators=7, folds=3)
TRAIN = """
import hashlib, json
from iris_model import artefact, data, training
dataset, parameters = data.builtin(), training.Hyperparameters(n_estimators=7, folds=3)
metrics = training.cross_validate(dataset, parameters)
graph = artefact.to_onnx(training.fit(dataset, parameters)).SerializeToString(deterministic=True)
print(hashlib.sha256(graph).hexdigest(), json.dumps(artefact.metadata(dataset, parameters, metrics)))
"""


def test_the_same_seed_gives_the_same_model_in_any_process() -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", TRAIN],
            env={**os.environ, "PYTHONPATH": SOURCE, "PYTHONHASHSEED": number, "OMP_NUM_THREADS": number},
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in ("1", "3")
    ]
    first, second = (process.communicate(timeout=300)[0] for process in processes)
    assert first == second
    assert '"cv_accuracy_std": 0.0' in first


def test_another_seed_gives_another_model(dataset: data.Dataset) -> None:
    first, second = (artefact.to_onnx(training.fit(dataset, replace(SMALL, seed=seed))) for seed in (1, 2))
    assert first != second


def test_noise_adds_copies_and_keeps_the_rows(dataset: data.Dataset) -> None:
    noisy = training.augment(dataset, Hyperparameters(noise_copies=2, noise_scale=0.1))
    assert len(noisy) == 3 * len(dataset)
    assert np.array_equal(noisy.features[: len(dataset)], dataset.features)
    assert training.augment(dataset, Hyperparameters(noise_copies=0)) is dataset


class Spy(RandomForestClassifier):  # type: ignore[misc]
    """A forest that remembers which rows it was trained on and which it was measured with."""

    trained: ClassVar[list[Any]] = []
    measured: ClassVar[list[Any]] = []

    def fit(self, features: Any, labels: Any) -> Any:
        self.trained.append(features.copy())
        return super().fit(features, labels)

    def predict_proba(self, features: Any) -> Any:
        self.measured.append(features.copy())
        return super().predict_proba(features)


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> type[Spy]:
    monkeypatch.setattr(training, "RandomForestClassifier", Spy)
    Spy.trained.clear()
    Spy.measured.clear()
    return Spy


def test_noise_touches_training_folds_only(dataset: data.Dataset, spy: type[Spy]) -> None:
    numbered = dataset.features.copy()
    numbered[:, 0] = np.arange(len(dataset))  # tells the rows apart, and noise from none
    dataset = replace(dataset, features=numbered)
    training.cross_validate(dataset, Hyperparameters(n_estimators=2, folds=5, noise_copies=2, noise_scale=0.1))

    measured = np.concatenate(spy.measured)
    assert np.array_equal(measured[measured[:, 0].argsort()], numbered)  # each row once, as it is in the data
    for trained, held_back in zip(spy.trained, spy.measured, strict=True):
        rows = len(dataset) - len(held_back)
        clean, copies = trained[:rows], trained[rows:].reshape(2, rows, 4)
        assert not set(held_back[:, 0]) & set(clean[:, 0])
        # The copies are those of the fold's own rows, with noise as wide as the fold's own deviation says.
        assert (copies != clean).all()
        noise = (copies - clean) / clean.std(axis=0)
        assert np.allclose(noise.std(axis=(0, 1)), 0.1, rtol=0.2)


def test_the_held_out_rows_are_measured_as_they_are_and_never_trained_on(
    dataset: data.Dataset, spy: type[Spy], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "connect", lambda: None)
    log_run = mock.MagicMock()
    monkeypatch.setattr(tracking, "log_run", log_run)
    pipeline.train(dataset, Hyperparameters(n_estimators=2, folds=2, noise_copies=1))
    training_rows, held_out = dataset.split()
    assert np.array_equal(spy.measured[-1], held_out.features)
    assert [part.digest for part in log_run.call_args.args[:2]] == [training_rows.digest, held_out.digest]
    secret = {row.tobytes() for row in held_out.features}
    assert not [1 for rows in spy.trained for row in rows if row.tobytes() in secret]


def test_cross_validation_reports(dataset: data.Dataset) -> None:
    metrics = training.cross_validate(dataset, Hyperparameters())
    assert set(metrics) == {"cv_accuracy_mean", "cv_accuracy_std", "cv_macro_f1_mean", "cv_log_loss_mean"}
    assert metrics["cv_accuracy_mean"] > 0.9


def test_the_defaults_are_those_that_the_issue_names() -> None:
    forest = {"n_estimators": 50, "max_depth": 5, "min_samples_split": 10, "min_samples_leaf": 5, "criterion": "gini"}
    assert forest.items() <= asdict(Hyperparameters()).items()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--n-estimators", 0),
        ("--max-depth", -1),
        ("--min-samples-split", 1),
        ("--min-samples-leaf", 0),
        ("--noise-scale", -0.1),
        ("--noise-scale", math.nan),
        ("--noise-scale", math.inf),
        ("--noise-copies", -1),
        ("--folds", 1),
        ("--seed", -1),
        ("--seed", 2**32),
    ],
)
def test_an_impossible_hyperparameter_is_refused(option: str, value: float) -> None:
    with pytest.raises(IrisError, match=f"{option} {value}: must be at least"):
        Hyperparameters(**{option[2:].replace("-", "_"): value})  # type: ignore[arg-type]


def test_too_many_folds_are_refused(dataset: data.Dataset) -> None:
    with pytest.raises(IrisError, match="--folds 51: the rarest species has only 50 rows"):
        training.cross_validate(dataset, Hyperparameters(folds=51))


def test_a_species_without_rows_is_refused(dataset: data.Dataset) -> None:
    with pytest.raises(IrisError, match="no row to train on for virginica"):
        training.fit(dataset.take(dataset.labels < 2), Hyperparameters())


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


def test_the_rows_compared_come_to_each_split_on_its_threshold_and_beside(dataset: data.Dataset) -> None:
    forest = training.fit(dataset, replace(SMALL, max_depth=20, min_samples_split=2, min_samples_leaf=1))
    rows = artefact.check_rows(forest, dataset, seed=0)
    assert rows.shape == (artefact.CHECK_ROWS, 4) == (100_000, 4)
    for estimator in forest.estimators_:
        tree = estimator.tree_
        visits = tree.decision_path(rows).tocsc()
        for split in np.flatnonzero(tree.children_left != -1):
            there = rows[visits.indices[visits.indptr[split] : visits.indptr[split + 1]], tree.feature[split]]
            nearest = np.float32(tree.threshold[split])
            beside = [np.nextafter(nearest, np.float32(side)) for side in (-np.inf, np.inf)]
            assert np.isin([nearest, *beside], there).all()


def compare(dataset: data.Dataset, forest: RandomForestClassifier, folder: Path) -> int:
    artefact.write(folder, artefact.to_onnx(forest), artefact.metadata(dataset, SMALL, {}))
    seal(folder)
    return artefact.check(forest, Model.load(folder), dataset, seed=0)


def test_an_export_that_rounds_thresholds_to_the_nearest_is_found_out(
    dataset: data.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forest = training.fit(dataset, SMALL)
    assert compare(dataset, forest, tmp_path) == len(dataset) + artefact.CHECK_ROWS
    monkeypatch.setattr(artefact, "_thresholds", lambda thresholds: thresholds.astype(np.float32))
    with pytest.raises(IrisError, match="differ from scikit-learn's"):
        compare(dataset, forest, tmp_path)


def test_leaves_off_the_grid_are_found_out(
    dataset: data.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "_snap_leaves", lambda _: None)
    with pytest.raises(IrisError, match="differ from scikit-learn's"):
        compare(dataset, training.fit(dataset, SMALL), tmp_path)


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


def test_a_folder_of_another_kind_of_model_is_refused(model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes((model_folder / "model.onnx").read_bytes())
    (tmp_path / "model.json").write_text(json.dumps({"classes": ["a"], "training": {}}))
    seal(tmp_path)
    with pytest.raises(IrisError, match=r'model\.json has no list "features"'):
        Model.load(tmp_path)
