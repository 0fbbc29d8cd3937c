# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""Values are written so that a person reads them at a glance."""

from __future__ import annotations

import math

import pytest

from ansible_collections.modelyard.mlops.dashboards.units import shown, step


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0123, "s", "12.3 ms"),
        (90, "s", "1.5 min"),
        (0, "s", "0 s"),
        (0.056, "percentunit", "5.6%"),
        (3 * 2**20, "bytes", "3 MiB"),
        (0, "Bps", "0 B/s"),
        (12.34, "reqps", "12.3 req/s"),
        (2000, "short", "2 K"),
        (2000, "none", "2000"),
        (0.00012, "none", "0.0001"),
        (1, "bool_yes_no", "Yes"),
        (math.nan, "s", "nan"),
    ],
)
def test_a_value_has_its_unit(value: float, unit: str, text: str) -> None:
    assert shown(value, unit) == text


def test_an_unknown_unit_is_an_error() -> None:
    with pytest.raises(KeyError):
        shown(1, "furlong")


@pytest.mark.parametrize(("value", "unit", "one"), [(7200, "s", 3600), (0.3, "percentunit", 0.01), (5, "short", 1)])
def test_an_axis_counts_in_what_its_texts_count_in(value: float, unit: str, one: float) -> None:
    assert step(value, unit) == one
