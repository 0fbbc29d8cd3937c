# SPDX-License-Identifier: Apache-2.0
"""What the tests share: a small forest, its folder, and a store of MLflow's in a file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from iris_model import artefact, data, model, training

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")


@pytest.fixture(scope="session")
def dataset() -> data.Dataset:
    return data.builtin()


@pytest.fixture(scope="session")
def parameters() -> training.Hyperparameters:
    return training.Hyperparameters(n_estimators=7, folds=3)


@pytest.fixture(scope="session")
def model_folder(
    dataset: data.Dataset, parameters: training.Hyperparameters, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return a sealed model folder without what MLflow adds to it."""
    folder = tmp_path_factory.mktemp("model")
    forest = training.fit(dataset, parameters)
    artefact.write(folder, artefact.to_onnx(forest), artefact.metadata(dataset, parameters, {}))
    model.seal(folder)
    return folder


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a folder with an empty MLflow store which is the one that the package uses."""
    import mlflow

    folder = tmp_path_factory.mktemp("store")
    before, os.environ["MLFLOW_TRACKING_URI"] = Path.cwd(), f"sqlite:///{folder}/mlflow.db"
    os.chdir(folder)  # the artifacts' default place is under the current folder
    mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
    yield folder
    os.chdir(before)
    del os.environ["MLFLOW_TRACKING_URI"]
