# SPDX-License-Identifier: Apache-2.0
"""From the body of a request to an array of features, or to a Problem that says where it is wrong."""

from __future__ import annotations

import json
import math
from itertools import chain
from typing import Any, NamedTuple, NoReturn

import numpy as np
import orjson
from numpy.typing import NDArray

#: Rows that one request may bring, and bytes that its body may have.
MAX_ROWS = 10_000
MAX_BODY = 2 * 1024 * 1024

_KEYS = frozenset({"features", "probabilities"})
_FLOAT32_MAX = float(np.finfo(np.float32).max)


class Problem(Exception):
    """An answer in the form of RFC 9457.

    Attributes:
        status: the HTTP status.
        where: further members of the answer, such as row and column.
    """

    def __init__(self, status: int, detail: str, **where: int | str) -> None:
        """Make a problem with a sentence for people and, where it has a place, that place."""
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.where = where


class Query(NamedTuple):
    """What a client asks.

    Attributes:
        features: shape (n, columns).
        probabilities: whether the probability of each class is to be answered too.
    """

    features: NDArray[np.float32]
    probabilities: bool


def parse(body: bytes, names: list[str]) -> Query:
    """Return what `{"features": [[...], ...], "probabilities": false}` asks; the second key may be left out.

    Args:
        body: the request's body, UTF-8.
        names: the features' names, in the order of a row's numbers.

    Raises:
        Problem: 400 for what is not that object, 413 for too large a body or too many rows, 422 for features which are
            not rows of numbers.
    """
    if len(body) > MAX_BODY:
        raise Problem(413, f"the body is too large; it may have {MAX_BODY} bytes")
    document = _load(body)
    if not isinstance(document, dict) or "features" not in document:
        raise Problem(400, 'the body must be an object with the key "features"')
    if unknown := sorted(document.keys() - _KEYS):
        raise Problem(400, f'the keys are "features" and "probabilities", found {unknown[0]!r:.60}')
    probabilities = document.get("probabilities", False)
    if not isinstance(probabilities, bool):
        raise Problem(400, '"probabilities" must be true or false')
    rows = document["features"]
    if not isinstance(rows, list) or not rows:
        raise Problem(422, f'"features" must be a list of rows, each a list of {len(names)} numbers')
    if len(rows) > MAX_ROWS:
        raise Problem(413, f"{len(rows)} rows are too many; a request may bring {MAX_ROWS}")
    return Query(_array(rows, names), probabilities)


def _load(body: bytes) -> Any:
    """Return the document in a body. What orjson refuses, Python's own parser may still read: NaN and Infinity are no
    JSON, and neither fits 1e999 a double, but with them read it can be said in which row and column they are.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        try:
            return json.loads(body.decode())
        except (ValueError, RecursionError) as error:
            raise Problem(400, f"the body is not JSON: {error}") from None


def _array(rows: list[Any], names: list[str]) -> NDArray[np.float32]:
    """Return rows as an array. The checks run in C over all values; only where one fails is the place looked for."""
    if set(map(type, rows)) != {list} or set(map(len, rows)) != {len(names)}:
        _locate(rows, names)
    values = list(chain.from_iterable(rows))
    if not set(map(type, values)) <= {int, float}:
        _locate(rows, names)
    if not _surely_fit(values) and any(map(_fault, values)):
        _locate(rows, names)
    return np.array(values, dtype=np.float32).reshape(len(rows), len(names))


def _surely_fit(values: list[float]) -> bool:
    """Return whether all numbers fit float32 as far as their sum tells: none can be larger, and NaN makes it false.

    NumPy could say so too, but what it needs for that slows down the model, which runs next, by 10 µs.
    """
    try:
        return sum(map(abs, values)) <= _FLOAT32_MAX
    except OverflowError:  # an integer beyond what a double can be
        return False


def _locate(rows: list[Any], names: list[str]) -> NoReturn:
    """Raise the Problem of the first wrong place."""
    for row, values in enumerate(rows):
        if not isinstance(values, list):
            raise Problem(422, f"features[{row}] must be a list of {len(names)} numbers", row=row)
        if len(values) != len(names):
            raise Problem(422, f"features[{row}] must have {len(names)} numbers, found {len(values)}", row=row)
        for column, value in enumerate(values):
            found = _fault(value)
            if found:
                detail = f"features[{row}][{column}] ({names[column]}) must be a number, found {found}"
                raise Problem(422, detail, row=row, column=column, feature=names[column])
    raise AssertionError("no fault in rows that were refused")


def _fault(value: object) -> str:
    """Return what is wrong with a value, nothing if it is a number that fits."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if not isinstance(value, int | float):
        return "a string" if isinstance(value, str) else "a list or an object"
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "infinity"
    return "" if abs(value) <= _FLOAT32_MAX else "one that is too large"
