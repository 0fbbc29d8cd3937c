# SPDX-License-Identifier: Apache-2.0
"""What MLflow is told and asked: runs, registered versions, aliases. The only module that imports it."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
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
#: The tag that says why a version did or did not become champion. It is the last that a pipeline writes.
DECISION_TAG = "modelyard.decision"
#: Seconds after which a pipeline no longer waits for another that has registered an earlier version and not decided.
PATIENCE = 300.0

log = logging.getLogger("iris_model")

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


@contextmanager
def turn(version: ModelVersion) -> Iterator[None]:
    """Hold the right to decide about the champion: pipelines get it one after the other, in their versions' order.

    MLflow has neither locks nor a compare-and-set of aliases, but it numbers versions without a gap or a duplicate. So
    the number is a ticket: a version's turn comes when every earlier one has its decision, and ends with its own. The
    champion read within a turn is what every earlier pipeline has left.

    A pipeline that was killed in between never decides. After PATIENCE seconds the next one writes so on its version
    and goes ahead; `assign` then refuses the other, should it only have been slow. What remains is a pipeline stalled
    for that long right between `assign`'s last look and its write: its alias would then be the last word.

    Raises:
        IrisError: MLflow does not answer. Whatever ends a turn early is written as the version's decision.
    """
    try:
        for earlier in _undecided_before(version):
            _await_decision(earlier, version)
        yield
    except BaseException as error:
        _interrupt(version, f"interrupted: {str(error) or type(error).__name__}")
        if isinstance(error, MlflowException):
            raise IrisError(f"MLflow at {mlflow.get_tracking_uri()}: {error}") from error
        raise


def _interrupt(version: ModelVersion, reason: str) -> None:
    """End a version's turn without a decision, if MLflow still answers; if not, the next one has to lose patience."""
    try:
        if not _decided(version):
            mlflow.MlflowClient().set_model_version_tag(version.name, version.version, DECISION_TAG, reason[:500])
    except MlflowException as error:
        log.warning("version %s stays undecided: %s", version.version, error)


def _undecided_before(version: ModelVersion) -> list[ModelVersion]:
    """Return the pipelines' versions that are still to be decided, oldest first. What people registered has no turn."""
    found = mlflow.MlflowClient().search_model_versions(f"name='{version.name}'", max_results=10_000)
    undecided = [
        other
        for other in found
        if int(other.version) < int(version.version) and CHECKSUMS_TAG in other.tags and DECISION_TAG not in other.tags
    ]
    return sorted(undecided, key=lambda other: int(other.version))


def _await_decision(earlier: ModelVersion, version: ModelVersion) -> None:
    """Wait until an earlier version is decided, or write on it that it was given up."""
    client = mlflow.MlflowClient()
    log.info("version %s waits for the decision about version %s", version.version, earlier.version)
    deadline = time.monotonic() + PATIENCE
    while not _decided(earlier):
        if time.monotonic() > deadline:
            reason = f"given up: undecided for {PATIENCE:.0f} s, version {version.version} went ahead"
            client.set_model_version_tag(earlier.name, earlier.version, DECISION_TAG, reason)
            log.warning("version %s %s", earlier.version, reason)
            return
        time.sleep(0.2)


def _decided(version: ModelVersion) -> bool:
    """Return whether a version has a decision now, or is no longer there."""
    try:
        return DECISION_TAG in mlflow.MlflowClient().get_model_version(version.name, version.version).tags
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return True
        raise


def champion(name: str) -> ModelVersion | None:
    """Return the version that the alias names, None while there is none."""
    try:
        return mlflow.MlflowClient().get_model_version_by_alias(name, CHAMPION)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise IrisError(f"MLflow at {mlflow.get_tracking_uri()}: {error}") from error


def assign(version: ModelVersion, alias: str, reason: str) -> None:
    """Move an alias to a version and write the reason on it, which ends the version's turn.

    Raises:
        IrisError: another pipeline has given this one up meanwhile; no alias is moved.
    """
    client = mlflow.MlflowClient()
    if decision := client.get_model_version(version.name, version.version).tags.get(DECISION_TAG):
        raise IrisError(f"version {version.version} of {version.name} is not made {alias}, it was {decision}")
    client.set_registered_model_alias(version.name, alias, version.version)
    client.set_model_version_tag(version.name, version.version, DECISION_TAG, reason)


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
