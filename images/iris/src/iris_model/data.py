# SPDX-License-Identifier: Apache-2.0
"""The data set: its columns, its CSV form, and which of its rows no model may ever be trained on."""

from __future__ import annotations

import csv
import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

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


class Samples(NamedTuple):
    """Rows to predict for.

    Attributes:
        features: shape (n, 4), centimetres; a row that cannot be read is all NaN.
        errors: why it cannot be read, by its index.
    """

    features: Features
    errors: dict[int, str]


class _Line(NamedTuple):
    """A line of a CSV file under the header, and where it is, for people."""

    where: str
    cells: list[str]


def load(path: Path | None) -> Dataset:
    """Return the rows of a CSV file with the header FEATURES + species, or without a path the built-in ones.

    Raises:
        IrisError: the file cannot be read, or a cell is not what it must be; the text names row and column.
    """
    if path is None:
        return builtin()
    header, lines = _read(path, [*FEATURES, "species"], and_no_more=True)
    features = np.array([_features(line, header) for line in lines], dtype=np.float32)
    labels = np.array([_label(line) for line in lines], dtype=np.int64)
    return Dataset(features, labels, str(path))


def load_samples(path: Path) -> Samples:
    """Return the rows of a CSV file whose header begins with FEATURES; what follows, such as a species, is not read.

    Raises:
        IrisError: the file cannot be read, or has another header or no rows. A row that is wrong is one of `errors`.
    """
    header, lines = _read(path, FEATURES, and_no_more=False)
    features = np.full((len(lines), len(FEATURES)), np.nan, dtype=np.float32)
    errors = {}
    for index, line in enumerate(lines):
        try:
            features[index] = _features(line, header)
        except IrisError as error:
            errors[index] = str(error)
    return Samples(features, errors)


def parse_sample(text: str) -> Samples:
    """Return the row that `6.1,3.5,2.4,0.2` means.

    Raises:
        IrisError: it is not four numbers.
    """
    line = _Line("--sample", [cell.strip() for cell in text.split(",")])
    return Samples(np.array([_features(line, FEATURES)], dtype=np.float32), {})


def export(dataset: Dataset, path: Path) -> None:
    """Write the rows as CSV with a header; `load` gives the same rows back.

    Raises:
        IrisError: the file cannot be written.
    """
    rows = zip(dataset.features, dataset.labels, strict=True)
    write_csv(path, [*FEATURES, "species"], ([*map(str, row), SPECIES[label]] for row, label in rows))


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Iterable[Any]]) -> None:
    """Write a CSV file.

    Raises:
        IrisError: the file cannot be written.
    """
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(header)
            writer.writerows(rows)
    except OSError as error:
        raise IrisError(f"{path}: cannot be written: {error.strerror}") from error


def _read(path: Path, columns: Sequence[str], *, and_no_more: bool) -> tuple[list[str], list[_Line]]:
    """Return the header of a CSV file, which must begin with the columns, and the lines with rows, at least one."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            found = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if row]
    except OSError as error:
        raise IrisError(f"{path}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise IrisError(f"{path}: is no CSV file in UTF-8: {error}") from error
    if not found:
        raise IrisError(f"{path}: is empty; the header {','.join(columns)} and rows are needed")
    (_, header), *body = found
    if (header if and_no_more else header[: len(columns)]) != list(columns):
        wanted = f"{'be' if and_no_more else 'begin with'} {','.join(columns)}"
        raise IrisError(f"{path}: the header must {wanted}, found {','.join(header)}")
    if not body:
        raise IrisError(f"{path}: no rows under the header")
    return header, [_Line(f"{path}: row {row} (line {number})", cells) for row, (number, cells) in enumerate(body, 1)]


def _features(line: _Line, header: Sequence[str]) -> list[float]:
    """Return the numbers that a line begins with."""
    if len(line.cells) != len(header):
        raise IrisError(f"{line.where}: {len(header)} values are needed, found {len(line.cells)}")
    return [_number(line, name, cell) for name, cell in zip(FEATURES, line.cells, strict=False)]


def _number(line: _Line, column: str, cell: str) -> float:
    """Return the number in a cell, if it is one that a model can be given."""
    try:
        if "_" in cell:  # 1_000 is a number to Python, and a slip of the pen to everybody else
            raise ValueError
        value = float(cell)
    except ValueError:
        raise IrisError(f"{line.where}, column {column}: a number is needed, found {_found(cell)}") from None
    if not math.isfinite(value) or abs(value) > float(np.finfo(np.float32).max):
        raise IrisError(f"{line.where}, column {column}: a finite number is needed, found {_found(cell)}")
    return value


def _label(line: _Line) -> int:
    """Return the label of the species that a line ends with."""
    cell = line.cells[-1]
    if cell not in SPECIES:
        raise IrisError(f"{line.where}, column species: one of {', '.join(SPECIES)} is needed, found {_found(cell)}")
    return SPECIES.index(cell)


def _found(cell: str) -> str:
    """Return a cell's content for a message."""
    return f"{cell!r:.60}" if cell else "nothing"
