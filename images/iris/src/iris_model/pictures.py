# SPDX-License-Identifier: Apache-2.0
"""Pictures of a training run as SVG, which MLflow shows as they are.

Written by hand, since two tables of rectangles are not worth a plotting library in the training image.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

_CELL = 90
_BAR = 26
_LEFT = 120


def confusion_matrix(counts: NDArray[np.int64], names: Sequence[str]) -> str:
    """Return a picture of how many rows of each species were taken for which.

    Args:
        counts: shape (n, n); row: what it is, column: what was predicted.
        names: of the n species.
    """
    top = 70
    parts = [_text(20, 20, "held-out rows: actual (down), predicted (across)", "start")]
    for row, name in enumerate(names):
        middle = (row + 0.5) * _CELL
        parts.append(_text(_LEFT + middle, top - 10, name, "middle"))
        parts.append(_text(_LEFT - 10, top + middle + 5, name, "end"))
        share = counts[row] / max(1, counts[row].sum())
        for column in range(len(names)):
            x, y = _LEFT + column * _CELL, top + row * _CELL
            parts.append(_rectangle(x, y, _CELL, _CELL, float(share[column])))
            colour = "white" if share[column] > 0.5 else "black"
            parts.append(_text(x + _CELL / 2, y + _CELL / 2 + 5, str(counts[row, column]), "middle", colour))
    return _svg("Confusion matrix", _LEFT + len(names) * _CELL + 20, top + len(names) * _CELL + 20, parts)


def feature_importance(shares: NDArray[np.float64], names: Sequence[str]) -> str:
    """Return a picture of how much each feature contributes, the largest first.

    Args:
        shares: shape (n,), adding up to 1: the mean decrease in impurity.
        names: of the n features.
    """
    top, width = 40, 300
    parts = [_text(_LEFT, 20, "mean decrease in impurity", "start")]
    for place, feature in enumerate(np.argsort(-shares, kind="stable")):
        y = top + place * (_BAR + 8)
        length = width * float(shares[feature])
        parts.append(_text(_LEFT - 10, y + _BAR / 2 + 5, names[feature], "end"))
        parts.append(_rectangle(_LEFT, y, length, _BAR, 0.7))
        parts.append(_text(_LEFT + length + 8, y + _BAR / 2 + 5, f"{shares[feature]:.3f}", "start"))
    return _svg("Feature importance", _LEFT + width + 80, top + len(names) * (_BAR + 8) + 10, parts)


def _svg(title: str, width: float, height: float, parts: list[str]) -> str:
    """Return a document on white, so that it can be read on a dark page too."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{width:g}" height="{height:g}" '
        f'viewBox="0 0 {width:g} {height:g}" font-family="sans-serif" font-size="14">\n'
        f'<title>{escape(title)}</title>\n<rect width="100%" height="100%" fill="white"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _text(x: float, y: float, text: str, anchor: str, colour: str = "black") -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'


def _rectangle(x: float, y: float, width: float, height: float, shade: float) -> str:
    """Return a rectangle, shade from 0 (white) to 1 (dark blue)."""
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" stroke="#888" '
        f'fill="#08306b" fill-opacity="{shade:.3f}"/>'
    )
