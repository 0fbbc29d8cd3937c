# SPDX-License-Identifier: Apache-2.0
"""The data set: its columns, its CSV form, and which of its rows no model may ever be trained on."""

from __future__ import annotations

import csv
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from iris_model import IrisError

#: Centimetres, in the order in which a row of features is given everywhere.
FEATURES = ("sepal_length", "sepal_width", "petal_length", "petal_width")
#: A label is an index into this.
SPECIES = ("setosa", "versicolor", "virginica")
#: One row in this many is held out.
HOLD_OUT_EVERY = 5

Features: TypeAlias = NDArray[np.float32]
Labels: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True)
class Dataset:
    """Labelled rows.

    Attributes:
        features: shape (n, 4), centimetres.
        labels: shape (n,), indices into SPECIES.
        source: where the rows came from, for people.
    """

    features: Features
    labels: Labels
    source: str

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.labels)

    @property
    def digest(self) -> str:
        """SHA-256 of the rows in their order, 64 hex digits."""
        content = hashlib.sha256(self.features.astype("<f4").tobytes())
        content.update(self.labels.astype("<i8").tobytes())
        return content.hexdigest()

    def take(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> Dataset:
        """Return the rows that a mask of shape (n,) or a list of indices selects."""
        return Dataset(self.features[rows], self.labels[rows], self.source)

    def split(self) -> tuple[Dataset, Dataset]:
        """Return the rows to train on, and those held out.

        The side of a row follows from its own numbers, so it is the same in every later run and for equal rows: a
        champion of last month was not trained on the rows that it is measured on today, even when the data has grown.
        """
        held_out = np.array(
            [hashlib.sha256(row.astype("<f4").tobytes()).digest()[0] % HOLD_OUT_EVERY == 0 for row in self.features]
        )
        return self.take(~held_out), self.take(held_out)


def builtin() -> Dataset:
    """Return Fisher's 150 rows as scikit-learn ships them."""
    from sklearn.datasets import load_iris

    bunch = load_iris()
    return Dataset(bunch.data.astype(np.float32), bunch.target.astype(np.int64), "scikit-learn")


def load(path: Path | None) -> Dataset:
    """Return the rows of a CSV file with the header FEATURES + species, or without a path the built-in ones.

    Raises:
        IrisError: the file cannot be read, or a cell is not what it must be; the text names row and column.
    """
    if path is None:
        return builtin()
    rows = _cells(path)
    header, body = rows[0], rows[1:]
    if header != [*FEATURES, "species"]:
        raise IrisError(f"{path}: the header must be {','.join(FEATURES)},species, found {','.join(header)}")
    if not body:
        raise IrisError(f"{path}: no rows under the header")
    features = np.array([_features(path, line, cells[:-1]) for line, cells in enumerate(body, 2)], dtype=np.float32)
    labels = np.array([_label(path, line, cells[-1]) for line, cells in enumerate(body, 2)], dtype=np.int64)
    return Dataset(features, labels, str(path))


def load_features(path: Path) -> Features:
    """Return the feature columns of a CSV file, shape (n, 4); a species column may be there and is not read."""
    rows = _cells(path)
    header, body = rows[0], rows[1:]
    if header[: len(FEATURES)] != list(FEATURES):
        raise IrisError(f"{path}: the header must begin with {','.join(FEATURES)}, found {','.join(header)}")
    return np.array([_features(path, line, cells[: len(FEATURES)]) for line, cells in enumerate(body, 2)], np.float32)


def export(dataset: Dataset, path: Path) -> None:
    """Write the rows as CSV with a header; `load` gives the same rows back."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*FEATURES, "species"])
        for row, label in zip(dataset.features, dataset.labels, strict=True):
            writer.writerow([*(str(value) for value in row), SPECIES[label]])


def parse_sample(text: str) -> Features:
    """Return the row that `6.1,3.5,2.4,0.2` means, shape (1, 4)."""
    return np.array([_features("--sample", 1, text.split(","))], dtype=np.float32)


def _cells(path: Path) -> list[list[str]]:
    """Return the non-empty lines of a CSV file, each as long as the first."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [[cell.strip() for cell in row] for row in csv.reader(file) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise IrisError(f"{path}: cannot be read as CSV: {error}") from error
    if not rows:
        raise IrisError(f"{path}: is empty; the header {','.join(FEATURES)},species and rows are needed")
    for line, row in enumerate(rows, 1):
        if len(row) != len(rows[0]):
            raise IrisError(f"{path}: row {line}: {len(row)} cells where the header has {len(rows[0])}")
    return rows


def _features(where: Path | str, line: int, cells: Sequence[str]) -> list[float]:
    """Return the numbers of one row."""
    if len(cells) != len(FEATURES):
        raise IrisError(f"{where}: row {line}: {len(FEATURES)} numbers are needed, found {len(cells)}")
    return [_number(where, line, column, cell) for column, cell in zip(FEATURES, cells, strict=True)]


def _number(where: Path | str, line: int, column: str, cell: str) -> float:
    """Return the number in a cell, if it is one that a model can be given."""
    try:
        value = float(cell)
    except ValueError:
        found = repr(cell) if cell else "nothing"
        raise IrisError(f"{where}: row {line}, column {column}: a number is needed, found {found}") from None
    if not math.isfinite(value) or abs(value) > float(np.finfo(np.float32).max):
        raise IrisError(f"{where}: row {line}, column {column}: a finite number is needed, found {cell!r}")
    return value


def _label(where: Path, line: int, cell: str) -> int:
    """Return the label of a species."""
    if cell not in SPECIES:
        raise IrisError(f"{where}: row {line}, column species: one of {', '.join(SPECIES)} is needed, found {cell!r}")
    return SPECIES.index(cell)
