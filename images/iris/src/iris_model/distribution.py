# SPDX-License-Identifier: Apache-2.0
"""How a feature's values are distributed, which training stores, and how far two distributions are apart.

A bin is `(edge, next edge]`, the first and the last one open. Between the deciles of the training rows each bin holds
about a tenth of them; where many rows share a value, deciles coincide and bins are fewer and fuller.
"""

from __future__ import annotations

from typing import TypedDict

import numpy as np
from numpy.typing import NDArray


class Bins(TypedDict):
    """One feature's distribution.

    Attributes:
        edges: ascending, in the feature's unit; one less than there are bins.
        rows: how many rows fell into each bin.
    """

    edges: list[float]
    rows: list[int]


def describe(values: NDArray[np.float32]) -> Bins:
    """Return the distribution of values of shape (n,), n > 0, over the bins between their deciles."""
    deciles = np.quantile(values.astype(np.float64), np.linspace(0.1, 0.9, 9))
    edges: list[float] = np.unique(deciles).tolist()
    return {"edges": edges, "rows": count(values, edges).tolist()}


def count(values: NDArray[np.float32], edges: list[float]) -> NDArray[np.int64]:
    """Return how many of the values, shape (n,), fall into each bin, shape (len(edges) + 1,)."""
    bins = np.searchsorted(edges, values.astype(np.float64), side="left")
    return np.bincount(bins, minlength=len(edges) + 1)


def stability_index(expected: NDArray[np.int64], observed: NDArray[np.int64]) -> float:
    """Return the population stability index of two histograms over the same bins, shape (bins,) each; in no unit.

    It is the sum over the bins of (o - e) * ln(o / e), of the shares o and e; 0 when they are equal. Half a row is
    added to each bin on both sides, so that an empty bin gives a large number and not an infinite one.
    """
    shares = [(rows + 0.5) / (rows.sum() + 0.5 * len(rows)) for rows in (np.asarray(expected), np.asarray(observed))]
    return float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())
