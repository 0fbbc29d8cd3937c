# SPDX-License-Identifier: Apache-2.0
"""What a query is, and that a refused one is always told what is wrong with it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iris_model.data import FEATURES
from iris_model.serving.validation import Parser, Problem

LARGEST = float(np.finfo(np.float32).max)
parse = Parser(list(FEATURES))

numbers = st.one_of(st.floats(-LARGEST, LARGEST), st.integers(-(10**30), 10**30))
anything = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers(-(10**400), 10**400) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=6,
)
rows = st.lists(st.lists(numbers | anything, min_size=3, max_size=5) | anything, max_size=3)


@given(st.lists(st.lists(numbers, min_size=4, max_size=4), min_size=1, max_size=5), st.booleans())
def test_rows_of_numbers_are_a_query(features: list[list[float]], probabilities: bool) -> None:
    query = parse(json.dumps({"features": features, "probabilities": probabilities}).encode())
    assert query.features.tolist() == np.array(features, dtype=np.float64).astype(np.float32).tolist()
    assert query.probabilities is probabilities


@given(rows)
def test_what_is_refused_has_a_place_and_what_is_accepted_has_none(features: list[Any]) -> None:
    body = json.dumps({"features": features}).encode()
    if _is_query(features):
        assert parse(body).features.shape == (len(features), 4)
        return
    with pytest.raises(Problem) as refused:
        parse(body)
    assert refused.value.status == 422
    assert "features" in refused.value.detail


@given(anything)
def test_no_document_is_more_than_refused(document: Any) -> None:
    with pytest.raises(Problem) as refused:
        parse(json.dumps(document).encode())
    assert refused.value.status == 400
    assert "cannot be read" not in refused.value.detail


@pytest.mark.parametrize(
    "body", [b"", b"\xff", b"\xef\xbb\xbf{}", b"[" * 100_000, b'{"features": [[01, 2, 3, 4]]}', b"{} x"]
)
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(Problem, match="not JSON"):
        parse(body)


def _is_query(features: list[Any]) -> bool:
    return bool(features) and all(
        isinstance(row, list) and len(row) == len(FEATURES) and all(map(_is_number, row)) for row in features
    )


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= LARGEST  # false of NaN too
