# SPDX-License-Identifier: Apache-2.0
"""Predictions for rows of a file, by one or several models, written side by side as CSV."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path

from iris_model import IrisError
from iris_model.data import Features
from iris_model.model import Model

OUTPUT = Path("model_predictions.csv")


@dataclass(frozen=True)
class Row:
    """One answer, or why there is none.

    Attributes:
        model: the URI or folder that was asked.
        row: number of the row, from 1.
        prediction: the label.
        species: the label's name.
        probability: what the model gives that label.
        error: why there is no answer, otherwise empty.
    """

    model: str
    row: int
    prediction: int | None = None
    species: str = ""
    probability: float | None = None
    error: str = ""


def load(uri: str) -> Model:
    """Return the model in a folder, or that an MLflow URI (`models:/...`, `runs:/...`) names."""
    if ":/" not in uri:
        return Model.load(Path(uri))
    try:
        from iris_model import tracking
    except ImportError as error:
        raise IrisError(f"{uri} needs MLflow's client, which is not installed here ({error})") from error
    with tempfile.TemporaryDirectory() as folder:
        return tracking.download(uri, Path(folder))


def predict(uris: Iterable[str], features: Features) -> Iterator[Row]:
    """Give one Row for each model and row; a model that cannot be loaded gives rows that say so."""
    for uri in uris:
        try:
            model = load(uri)
        except IrisError as error:
            yield from (Row(uri, row, error=str(error)) for row in range(1, len(features) + 1))
            continue
        labels, probabilities = model.predict(features)
        for row, label in enumerate(labels.tolist(), 1):
            yield Row(uri, row, label, model.classes[label], round(float(probabilities[row - 1, label]), 6))


def write(rows: Iterable[Row], path: Path) -> None:
    """Write rows as CSV with a header."""
    names = [field.name for field in fields(Row)]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        writer.writerows([getattr(row, name) for name in names] for row in rows)
