# SPDX-License-Identifier: Apache-2.0
"""Train a candidate, compare it with the champion on the same held-out rows now, and let the better one serve."""

from __future__ import annotations

import json
import logging
import math
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from mlflow.entities.model_registry import ModelVersion

from iris_model import IrisError, tracking, turns
from iris_model.data import Dataset
from iris_model.model import Model
from iris_model.training import Hyperparameters, Metrics, cross_validate, fit, measure

log = logging.getLogger("iris_model")


@dataclass(frozen=True)
class Rule:
    """When a candidate becomes champion.

    Attributes:
        metric: what is compared on the held-out rows; more is better.
        margin: how much more than the champion the candidate must reach; 0 means: not worse.
        minimum: what it must reach in any case.
    """

    metric: Literal["accuracy", "macro_f1"] = "accuracy"
    margin: float = 0.0
    minimum: float = 0.8

    def __post_init__(self) -> None:
        """Refuse what nothing can be compared with.

        Raises:
            IrisError: a number is none; the text names its option.
        """
        for name, value in (("margin", self.margin), ("minimum", self.minimum)):
            if not math.isfinite(value):
                raise IrisError(f"--{name} {value}: must be a number")

    def decide(self, candidate: Metrics, champion: Metrics | None) -> tuple[bool, str]:
        """Return whether the candidate becomes champion, and why in one sentence."""
        value = candidate[self.metric]
        if value < self.minimum:
            return False, f"{self.metric} {value:.4f} is below the minimum {self.minimum:.4f}"
        if champion is None:
            return True, f"{self.metric} {value:.4f}, and there was no champion"
        needed = champion[self.metric] + self.margin
        relation = "reaches" if value >= needed else "does not reach"
        return value >= needed, f"{self.metric} {value:.4f} {relation} the champion's {needed:.4f}"


@dataclass(frozen=True)
class Result:
    """What a pipeline ends with: the contract's `result.json`."""

    run_id: str
    model_name: str
    model_version: str
    promoted: bool
    reason: str
    metrics: Metrics

    def write(self, path: Path) -> None:
        """Write it as JSON, all or nothing: its being there says that the training has succeeded.

        Raises:
            IrisError: the file cannot be written.
        """
        unfinished = path.with_name(f".{path.name}.unfinished")
        try:
            unfinished.write_text(json.dumps(asdict(self), indent=2) + "\n", "utf-8")
            unfinished.replace(path)
        except OSError as error:
            raise IrisError(f"RESULT_FILE {path}: cannot be written: {error.strerror}") from error


def train(dataset: Dataset, parameters: Hyperparameters) -> tuple[tracking.Trained, Dataset]:
    """Train on the rows that are not held out and log the run; return it with the held-out rows.

    Raises:
        IrisError: MLflow does not answer, or the data is not usable.
    """
    tracking.connect()
    training, held_out = dataset.split()
    if len(held_out) == 0:
        raise IrisError(f"{dataset.source}: {len(dataset)} rows are too few to hold some out")
    log.info("training on %d rows of %s, %d held out", len(training), dataset.source, len(held_out))
    metrics = cross_validate(training, parameters)
    forest = fit(training, parameters)
    probabilities = forest.predict_proba(held_out.features)
    metrics |= measure(held_out.labels, probabilities.argmax(axis=1), probabilities)
    trained = tracking.log_run(training, held_out, parameters, forest, metrics)
    log.info(
        "run %s: cross-validated accuracy %.4f (deviation %.4f), held-out accuracy %.4f",
        trained.run_id,
        metrics["cv_accuracy_mean"],
        metrics["cv_accuracy_std"],
        metrics["accuracy"],
    )
    return trained, held_out


def run(dataset: Dataset, parameters: Hyperparameters, name: str, rule: Rule) -> Result:
    """Train, register a version, and make it champion if the rule says so, challenger otherwise.

    Several at once train side by side and decide one after the other (see turns).

    Raises:
        IrisError: MLflow does not answer, or the data or a parameter is not usable.
    """
    trained, held_out = train(dataset, parameters)
    candidate = _evaluate(trained.model, held_out)
    version = tracking.register(name, trained)
    with turns.turn(version):
        promoted, reason = _compare(candidate, tracking.champion(name), held_out, rule)
        turns.assign(version, tracking.CHAMPION if promoted else tracking.CHALLENGER, reason)
    log.info("%s version %s is %s: %s", name, version.version, "champion" if promoted else "challenger", reason)
    return Result(trained.run_id, name, str(version.version), promoted, reason, trained.metrics)


def _compare(candidate: Metrics, champion: ModelVersion | None, held_out: Dataset, rule: Rule) -> tuple[bool, str]:
    """Decide with the champion measured now. One that cannot be loaded keeps its place: a person has to look."""
    if champion is None:
        return rule.decide(candidate, None)
    with tempfile.TemporaryDirectory() as folder:
        try:
            model = tracking.download(f"models:/{champion.name}/{champion.version}", Path(folder))
        except IrisError as error:
            return False, f"champion version {champion.version} could not be compared: {error}"
        return rule.decide(candidate, _evaluate(model, held_out))


def _evaluate(model: Model, held_out: Dataset) -> Metrics:
    """Return a model's metrics on the held-out rows."""
    return measure(held_out.labels, *model.predict(held_out.features))


def result_file() -> Path | None:
    """Return where the contract wants the result, None outside of a training job.

    Raises:
        IrisError: nothing can be written there, which is better known before the training than after it.
    """
    if not (name := os.environ.get("RESULT_FILE")):
        return None
    path = Path(name)
    if not os.access(path.parent, os.W_OK):
        raise IrisError(f"RESULT_FILE {path}: there is no folder {path.parent} that can be written to")
    return path
