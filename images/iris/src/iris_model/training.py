# SPDX-License-Identifier: Apache-2.0
"""Training: hyperparameters, noise augmentation, cross-validation. The same seed gives the same model, bit for bit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import accuracy_score, f1_score, log_loss
from sklearn.model_selection import StratifiedKFold

from iris_model import IrisError
from iris_model.data import SPECIES, Dataset

Metrics = dict[str, float]

#: What each number must at least be.
_LEAST = {
    "n_estimators": 1,
    "max_depth": 1,
    "min_samples_split": 2,
    "min_samples_leaf": 1,
    "noise_scale": 0,
    "noise_copies": 0,
    "folds": 2,
    "seed": 0,
}
#: And what it must stay below: as many seeds as there are.
_BELOW = 2**32


@dataclass(frozen=True)
class Hyperparameters:
    """What decides about a model, apart from the data.

    Attributes:
        n_estimators: trees; this one and the next four are RandomForestClassifier's own.
        noise_scale: standard deviation of the added noise, as a share of each feature's own.
        noise_copies: noisy copies of each training row; 0 switches augmentation off.
        folds: parts of the cross-validation.
    """

    n_estimators: int = 50
    max_depth: int = 5
    min_samples_split: int = 10
    min_samples_leaf: int = 5
    criterion: Literal["gini", "entropy", "log_loss"] = "gini"
    noise_scale: float = 0.05
    noise_copies: int = 1
    folds: int = 5
    seed: int = 42

    def __post_init__(self) -> None:
        """Refuse what no model can be trained with.

        Raises:
            IrisError: a number is out of its range; the text names its option.
        """
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if not least <= value < _BELOW:
                option = "--" + name.replace("_", "-")
                raise IrisError(f"{option} {value}: must be at least {least} and below {_BELOW}")


def augment(dataset: Dataset, parameters: Hyperparameters) -> Dataset:
    """Return the rows followed by their noisy copies. For rows to train on only: never for what is measured."""
    if parameters.noise_copies == 0 or parameters.noise_scale == 0:
        return dataset
    random = np.random.default_rng(parameters.seed)
    scale = parameters.noise_scale * dataset.features.std(axis=0)
    copies = [
        (dataset.features + random.normal(0.0, scale, dataset.features.shape)).astype(np.float32)
        for _ in range(parameters.noise_copies)
    ]
    return Dataset(
        np.concatenate([dataset.features, *copies]),
        np.tile(dataset.labels, 1 + parameters.noise_copies),
        dataset.source,
    )


def fit(dataset: Dataset, parameters: Hyperparameters) -> RandomForestClassifier:
    """Train a forest on augmented rows.

    Raises:
        IrisError: a species has no row.
    """
    if missing := [name for label, name in enumerate(SPECIES) if label not in dataset.labels]:
        raise IrisError(f"{dataset.source}: no row to train on for {', '.join(missing)}")
    rows = augment(dataset, parameters)
    forest = RandomForestClassifier(
        n_estimators=parameters.n_estimators,
        max_depth=parameters.max_depth,
        min_samples_split=parameters.min_samples_split,
        min_samples_leaf=parameters.min_samples_leaf,
        criterion=parameters.criterion,
        random_state=parameters.seed,
    )
    forest.fit(rows.features, rows.labels)
    _snap_leaves(forest)
    return forest


def _snap_leaves(forest: RandomForestClassifier) -> None:
    """Round the leaves' probabilities to a binary grid so coarse that adding up all trees is exact, even in float32.

    Then scikit-learn (which adds in float64) and ONNX (float32) come to the same sums and break ties the same way,
    for every input there is. Of 50 trees it moves a probability by at most 2 millionths.
    """
    grid = 2.0 ** (24 - math.ceil(math.log2(len(forest.estimators_))))
    for estimator in forest.estimators_:
        leaves = estimator.tree_.value[:, 0, :]
        steps = np.round(leaves * grid)
        rows = np.arange(len(steps))
        steps[rows, leaves.argmax(axis=1)] += grid - steps.sum(axis=1)
        leaves[...] = steps / grid


def measure(labels: NDArray[np.int64], predicted: NDArray[np.int64], probabilities: NDArray[np.float32]) -> Metrics:
    """Return accuracy, macro F1 and log loss (natural logarithm) of predictions for n rows.

    Args:
        labels: shape (n,), what the rows are.
        predicted: shape (n,), what they were taken for.
        probabilities: shape (n, classes), of each row adding up to about 1.
    """
    classes = list(range(len(SPECIES)))
    exact = probabilities.astype(np.float64)
    exact /= exact.sum(axis=1, keepdims=True)
    return {
        "accuracy": float(accuracy_score(labels, predicted)),
        "macro_f1": float(f1_score(labels, predicted, labels=classes, average="macro", zero_division=0.0)),
        "log_loss": float(log_loss(labels, exact, labels=classes)),
    }


def cross_validate(dataset: Dataset, parameters: Hyperparameters) -> Metrics:
    """Return the mean of each metric over stratified folds, and accuracy's standard deviation.

    Raises:
        IrisError: a species has fewer rows than there are folds.
    """
    fewest = int(np.bincount(dataset.labels, minlength=len(SPECIES)).min())
    if parameters.folds > fewest:
        raise IrisError(f"--folds {parameters.folds}: the rarest species has only {fewest} rows in {dataset.source}")
    folds = StratifiedKFold(parameters.folds, shuffle=True, random_state=parameters.seed)
    results = []
    for train, test in folds.split(dataset.features, dataset.labels):
        forest, measured = fit(dataset.take(train), parameters), dataset.take(test)
        probabilities = forest.predict_proba(measured.features)
        results.append(measure(measured.labels, probabilities.argmax(axis=1), probabilities))
    summary = {f"cv_{name}_mean": float(np.mean([result[name] for result in results])) for name in results[0]}
    summary["cv_accuracy_std"] = float(np.std([result["accuracy"] for result in results]))
    return summary
