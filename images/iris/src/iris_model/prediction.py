# SPDX-License-Identifier: Apache-2.0
"""Predictions for rows of a file, by one or several models, written side by side as CSV."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from iris_model import IrisError
from iris_model.data import Samples, write_csv
from iris_model.model import Model


@dataclass(frozen=True)
class Row:
    """One answer, or why there is none.

    Attributes:
        model: the URI or folder that was asked.
        row: number of the row, from 1; a header is not counted.
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
    """Return the model in a folder, or that an MLflow URI (`models:/...`, `runs:/...`) names.

    Raises:
        IrisError: there is no such model, or it is damaged.
    """
    if ":/" not in uri:
        return Model.load(Path(uri))
    try:
        from iris_model import tracking
    except ImportError as error:
        raise IrisError(f"{uri} needs MLflow's client, which is not installed here ({error})") from error
    with tempfile.TemporaryDirectory() as folder:
        return tracking.download(uri, Path(folder))


def predict(uris: Iterable[str], samples: Samples) -> Iterator[Row]:
    """Give one Row for each model and sample; a model that cannot be loaded gives rows that say so."""
    for uri in uris:
        try:
            model = load(uri)
        except IrisError as error:
            yield from (Row(uri, row, error=str(error)) for row in range(1, len(samples.features) + 1))
            continue
        labels, probabilities = model.predict(samples.features)
        for index, label in enumerate(labels.tolist()):
            if error_of_row := samples.errors.get(index):
                yield Row(uri, index + 1, error=error_of_row)
            else:
                probability = round(float(probabilities[index, label]), 6)
                yield Row(uri, index + 1, label, model.classes[label], probability)


def write(rows: Iterable[Row], path: Path) -> None:
    """Write rows as CSV with a header.

    Raises:
        IrisError: the file cannot be written.
    """
    write_csv(path, [field.name for field in fields(Row)], map(astuple, rows))


def summary(rows: Iterable[Row]) -> list[str]:
    """Return a line for each model: how many rows it takes for which species."""
    counts: dict[str, Counter[str]] = {}
    for row in rows:
        counts.setdefault(row.model, Counter())[row.species or "failed"] += 1
    return [
        f"{model}: {', '.join(f'{n} {what}' for what, n in sorted(found.items()))}" for model, found in counts.items()
    ]
