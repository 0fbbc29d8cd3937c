# SPDX-License-Identifier: Apache-2.0
"""What MLflow is told and asked: runs, registered versions, aliases."""

from __future__ import annotations

import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import mlflow
import mlflow.onnx
import mlflow.sklearn
import numpy as np
import onnx
from mlflow.data.code_dataset_source import CodeDatasetSource
from mlflow.data.numpy_dataset import from_numpy
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models.signature import ModelSignature
from mlflow.types import Schema, TensorSpec
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import confusion_matrix

from iris_model import IrisError, artefact, pictures
from iris_model.data import FEATURES, SPECIES, Dataset
from iris_model.model import Model, seal
from iris_model.training import Hyperparameters, Metrics

CHAMPION = "champion"
CHALLENGER = "challenger"
#: The tag of a version that pins `checksums.json`, and through it every file.
CHECKSUMS_TAG = "modelyard.checksums"
# Standard output belongs to the result.
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")

_SIGNATURE = ModelSignature(
    inputs=Schema([TensorSpec(np.dtype(np.float32), (-1, len(FEATURES)), "features")]),
    outputs=Schema(
        [
            TensorSpec(np.dtype(np.int64), (-1,), "labels"),
            TensorSpec(np.dtype(np.float32), (-1, len(SPECIES)), "probabilities"),
        ]
    ),
)


@dataclass(frozen=True)
class Trained:
    """A finished training run.

    Attributes:
        run_id: the run in MLflow.
        model_id: the logged model (`m-...`) whose artifacts are the folder that serves.
        digest: SHA-256 of its `checksums.json`.
        metrics: what the run logged.
        model: the loaded ONNX model.
    """

    run_id: str
    model_id: str
    digest: str
    metrics: Metrics
    model: Model


def log_run(
    dataset: Dataset,
    held_out: Dataset,
    parameters: Hyperparameters,
    forest: RandomForestClassifier,
    metrics: Metrics,
) -> Trained:
    """Log one training as a run: parameters, metrics, data, pictures, the scikit-learn model and the ONNX that serves.

    Raises:
        IrisError: MLflow does not answer, or the ONNX model is not equal to the forest.
    """
    try:
        mlflow.set_experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", "iris"))
        with mlflow.start_run(tags=_run_tags()) as run:
            mlflow.log_params(asdict(parameters))
            mlflow.log_metrics(metrics)
            for context, rows in (("training", dataset), ("held-out", held_out)):
                mlflow.log_input(
                    from_numpy(
                        rows.features,
                        targets=rows.labels,
                        name="iris",
                        source=CodeDatasetSource(tags={"source": rows.source}),
                        digest=rows.digest[:36],
                    ),
                    context=context,
                )
            counts = confusion_matrix(held_out.labels, forest.predict(held_out.features), labels=range(len(SPECIES)))
            mlflow.log_text(pictures.confusion_matrix(counts, SPECIES), "confusion_matrix.svg")
            mlflow.log_text(
                pictures.feature_importance(forest.feature_importances_, FEATURES), "feature_importance.svg"
            )
            mlflow.sklearn.log_model(
                forest,
                name="sklearn",
                serialization_format="skops",
                skops_trusted_types=["sklearn.tree._tree.Tree"],
                pip_requirements=_requirements("scikit-learn", "skops", "numpy"),
            )
            with tempfile.TemporaryDirectory() as scratch:
                folder = Path(scratch) / "model"
                digest = _write_model(folder, forest, dataset, parameters, metrics)
                model = Model.load(folder)
                mlflow.log_metric("onnx_checked_rows", artefact.check(forest, model, dataset, parameters.seed))
                model_id = _upload(folder, run.info.experiment_id, run.info.run_id)
    except MlflowException as error:
        raise IrisError(f"MLflow at {mlflow.get_tracking_uri()}: {error}") from error
    return Trained(run.info.run_id, model_id, digest, metrics, model)


def _run_tags() -> dict[str, str]:
    """Return what the environment says about where this code comes from."""
    names = {"GIT_COMMIT": "mlflow.source.git.commit", "IMAGE_KEY": "modelyard.image_key"}
    return {tag: value for variable, tag in names.items() if (value := os.environ.get(variable))}


def _requirements(*packages: str) -> list[str]:
    """Return exact requirements as installed here; given, so that MLflow does not import the model to guess them."""
    from importlib.metadata import version

    return [f"{package}=={version(package)}" for package in packages]


def _write_model(
    folder: Path, forest: RandomForestClassifier, dataset: Dataset, parameters: Hyperparameters, metrics: Metrics
) -> str:
    """Write the folder that serves, readable by MLflow's ONNX flavour too, and return the digest of its checksums."""
    graph: onnx.ModelProto = artefact.to_onnx(forest)
    mlflow.onnx.save_model(
        graph,
        str(folder),
        signature=_SIGNATURE,
        input_example=dataset.features[:2],
        pip_requirements=_requirements("onnx", "onnxruntime", "numpy"),
        save_as_external_data=False,
    )
    artefact.write(folder, graph, artefact.metadata(dataset, parameters, metrics))
    return seal(folder)


def _upload(folder: Path, experiment_id: str, run_id: str) -> str:
    """Store the folder as a logged model of the run, and return its ID."""
    client = mlflow.MlflowClient()
    logged = client.create_logged_model(experiment_id, name="model", source_run_id=run_id)
    client.log_model_artifacts(logged.model_id, str(folder))
    client.finalize_logged_model(logged.model_id, "READY")
    return str(logged.model_id)


def register(name: str, trained: Trained) -> ModelVersion:
    """Register a run's model as the next version of `name`, tagged with its digest."""
    client = mlflow.MlflowClient()
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise IrisError(f"model {name} cannot be registered: {error}") from error
    try:
        return client.create_model_version(
            name,
            source=f"models:/{trained.model_id}",
            run_id=trained.run_id,
            model_id=trained.model_id,
            tags={CHECKSUMS_TAG: trained.digest},
        )
    except MlflowException as error:
        raise IrisError(f"no version of {name} can be registered for run {trained.run_id}: {error}") from error


def champion(name: str) -> ModelVersion | None:
    """Return the version that the alias names, None while there is none."""
    try:
        return mlflow.MlflowClient().get_model_version_by_alias(name, CHAMPION)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise IrisError(f"MLflow at {mlflow.get_tracking_uri()}: {error}") from error


def download(uri: str, folder: Path) -> Model:
    """Fetch the model that an MLflow URI names into a folder, and load it.

    Args:
        uri: `models:/NAME@ALIAS`, `models:/NAME/VERSION` or `runs:/RUN_ID/model`.
        folder: an existing, empty folder.

    Raises:
        IrisError: there is no such model, or it is damaged.
    """
    try:
        return Model.load(Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(folder))))
    except (MlflowException, OSError) as error:
        raise IrisError(f"{uri} cannot be fetched from MLflow at {mlflow.get_tracking_uri()}: {error}") from error
