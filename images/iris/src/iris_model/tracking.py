# SPDX-License-Identifier: Apache-2.0
"""What MLflow is told and asked: runs, registered versions, aliases."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import unquote

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
from sqlalchemy.exc import SQLAlchemyError

from iris_model import IrisError, artefact, pictures
from iris_model.data import FEATURES, SPECIES, Dataset
from iris_model.model import Model, seal
from iris_model.training import Hyperparameters, Metrics

CHAMPION = "champion"
CHALLENGER = "challenger"
#: The tag of a version that pins `checksums.json`, and through it every file.
CHECKSUMS_TAG = "modelyard.checksums"
#: Characters of a data set's digest that MLflow keeps.
DIGEST_LENGTH = 36
# Standard output belongs to the result.
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
# Long enough for a server that starts again (12 s), and not the four minutes that MLflow would take to give up.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")

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


@contextmanager
def answering(failure: str) -> Iterator[None]:
    """Turn whatever goes wrong with MLflow inside into one line: what failed, where MLflow is, and what it says.

    Raises:
        IrisError: MLflow does not answer, or refuses.
    """
    try:
        _check_folder()
        yield
    except (MlflowException, SQLAlchemyError, ModuleNotFoundError, OSError) as error:
        raise IrisError(f"{failure}: MLflow at {_address()} {_complaint(error)}") from error


def _check_folder() -> None:
    """Refuse a folder in which no store can be kept: MLflow would try for minutes.

    Raises:
        PermissionError: it cannot be written to.
    """
    scheme, _, path = mlflow.get_tracking_uri().partition(":///")
    folder = Path(unquote(path)).parent
    if scheme == "sqlite" and folder.exists() and not os.access(folder, os.W_OK):
        raise PermissionError(f"{folder} cannot be written to: go to another folder, or set MLFLOW_TRACKING_URI")


def _address() -> str:
    """Return where MLflow is, without a password."""
    return re.sub(r"//[^/@]*@", "//", mlflow.get_tracking_uri(), count=1)


def _complaint(error: Exception) -> str:
    """Return what an exception says, in one line."""
    if isinstance(error.__context__, OSError):  # as all exceptions of requests are
        reason = str(error.__context__).rpartition(": ")[2].strip("'\")")
        return f"does not answer ({reason}); start it, or set MLFLOW_TRACKING_URI to one that runs"
    return f"says: {' '.join(str(error).split()):.300}"


def connect() -> None:
    """Have the experiment, so that a store which cannot be used is found out before anything is trained.

    Raises:
        IrisError: MLflow does not answer, or refuses.
    """
    with answering("no run can be logged"):
        mlflow.set_experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME") or "iris")


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
    with answering("the run cannot be logged"), mlflow.start_run(tags=_run_tags()) as run:
        mlflow.log_params(asdict(parameters))
        mlflow.log_metrics(metrics)
        _log_dataset("training", dataset)
        _log_dataset("held-out", held_out)
        _log_pictures(forest, held_out)
        _log_forest(forest)
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "model"
            digest = _write_model(folder, forest, dataset, parameters, metrics)
            model = Model.load(folder)
            mlflow.log_metric("onnx_checked_rows", artefact.check(forest, model, dataset, parameters.seed))
            model_id = _upload(folder, run.info.experiment_id, run.info.run_id)
    return Trained(run.info.run_id, model_id, digest, metrics, model)


def _log_dataset(context: str, rows: Dataset) -> None:
    """Log where rows came from and which they are."""
    source = CodeDatasetSource(tags={"source": rows.source})
    digest = rows.digest[:DIGEST_LENGTH]
    logged = from_numpy(rows.features, targets=rows.labels, name="iris", source=source, digest=digest)
    try:
        mlflow.log_input(logged, context=context)
    except MlflowException:
        # The store looks, then inserts: of two runs that log the same rows at the same moment, one is refused for
        # what the other has just made, and finds it there now.
        mlflow.log_input(logged, context=context)


def _log_pictures(forest: RandomForestClassifier, held_out: Dataset) -> None:
    """Log how the held-out rows were taken, and which features decide."""
    counts = confusion_matrix(held_out.labels, forest.predict(held_out.features), labels=range(len(SPECIES)))
    mlflow.log_text(pictures.confusion_matrix(counts, SPECIES), "confusion_matrix.svg")
    mlflow.log_text(pictures.feature_importance(forest.feature_importances_, FEATURES), "feature_importance.svg")


def _log_forest(forest: RandomForestClassifier) -> None:
    """Log the scikit-learn model, for people who want to look into it; it is not pickled either."""
    mlflow.sklearn.log_model(
        forest,
        name="sklearn",
        serialization_format="skops",
        skops_trusted_types=["sklearn.tree._tree.Tree"],
        pip_requirements=_requirements("scikit-learn", "skops", "numpy"),
    )


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
    """Register a run's model as the next version of `name`, tagged with its digest.

    Raises:
        IrisError: MLflow does not answer, or refuses.
    """
    client = mlflow.MlflowClient()
    with answering(f"no version of {name} can be registered for run {trained.run_id}"):
        try:
            client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        return client.create_model_version(
            name,
            source=f"models:/{trained.model_id}",
            run_id=trained.run_id,
            model_id=trained.model_id,
            tags={CHECKSUMS_TAG: trained.digest},
        )


def champion(name: str) -> ModelVersion | None:
    """Return the version that the alias names, None while there is none.

    Raises:
        IrisError: MLflow does not answer.
    """
    with answering(f"the champion of {name} cannot be looked up"):
        try:
            return mlflow.MlflowClient().get_model_version_by_alias(name, CHAMPION)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise


def download(uri: str, folder: Path) -> Model:
    """Fetch the model that an MLflow URI names into a folder, and load it.

    Args:
        uri: `models:/NAME@ALIAS`, `models:/NAME/VERSION` or `runs:/RUN_ID/model`.
        folder: an existing, empty folder.

    Raises:
        IrisError: there is no such model, or it is damaged.
    """
    with answering(f"{uri} cannot be fetched"):
        path = mlflow.artifacts.download_artifacts(uri, dst_path=str(folder))
    return Model.load(Path(path))
