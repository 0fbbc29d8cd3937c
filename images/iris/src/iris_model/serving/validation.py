# SPDX-License-Identifier: Apache-2.0
"""From the body of a request to an array of features, or to a Problem that says where it is wrong."""

from __future__ import annotations

import json
import math
from itertools import chain
from typing import Annotated, Any, NamedTuple, NoReturn

import msgspec
import numpy as np
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


class Parser:
    """Reads `{"features": [[...], ...], "probabilities": false}`; the second key may be left out.

    What a query must be is a type here, which a decoder checks in C while it reads. Only a body that is refused is
    looked at once more, to say what is wrong with it, and where.
    """

    def __init__(self, names: list[str]) -> None:
        """Read queries for one model.

        Args:
            names: its features, in the order of a row's numbers.
        """
        self._names = names
        number = Annotated[float, msgspec.Meta(ge=-_FLOAT32_MAX, le=_FLOAT32_MAX)]
        row = Annotated[list[number], msgspec.Meta(min_length=len(names), max_length=len(names))]
        rows = Annotated[list[row], msgspec.Meta(min_length=1, max_length=MAX_ROWS)]
        form = msgspec.defstruct(
            "Form", [("features", rows), ("probabilities", bool, False)], forbid_unknown_fields=True, gc=False
        )
        self._decode = msgspec.json.Decoder(form).decode

    def __call__(self, body: bytes) -> Query:
        """Return what a request's body asks.

        Raises:
            Problem: 400 for what is not that object, 413 for too large a body or too many rows, 422 for features which
                are not rows of numbers.
        """
        if len(body) > MAX_BODY:
            raise Problem(413, f"the body is too large; it may have {MAX_BODY} bytes")
        try:
            form: Any = self._decode(body)
        except (ValueError, RecursionError) as error:
            _refuse(body, self._names, error)
        rows = form.features
        values = list(chain.from_iterable(rows))
        return Query(np.array(values, np.float32).reshape(len(rows), len(self._names)), form.probabilities)


def _refuse(body: bytes, names: list[str], error: Exception) -> NoReturn:
    """Raise the Problem of a body that the decoder has refused with an error."""
    try:
        # Python's own parser reads more than is JSON, NaN and Infinity, so it can be said in which row and column.
        document = json.loads(body.decode())
    except (ValueError, RecursionError) as found:
        raise Problem(400, f"the body is not JSON: {found}") from None
    if not isinstance(document, dict) or "features" not in document:
        raise Problem(400, 'the body must be an object with the key "features"')
    if unknown := sorted(document.keys() - _KEYS):
        raise Problem(400, f'the keys are "features" and "probabilities", found {unknown[0]!r:.60}')
    if not isinstance(document.get("probabilities", False), bool):
        raise Problem(400, '"probabilities" must be true or false')
    rows = document["features"]
    if not isinstance(rows, list) or not rows:
        raise Problem(422, f'"features" must be a list of rows, each a list of {len(names)} numbers')
    if len(rows) > MAX_ROWS:
        raise Problem(413, f"{len(rows)} rows are too many; a request may bring {MAX_ROWS}")
    _locate(rows, names)
    raise Problem(400, f"the body cannot be read: {error}")


def _locate(rows: list[Any], names: list[str]) -> None:
    """Raise the Problem of the first wrong place in rows."""
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
