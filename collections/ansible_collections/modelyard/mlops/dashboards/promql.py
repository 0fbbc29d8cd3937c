# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""What a query speaks of."""

from __future__ import annotations

import re

_WORDS = {"and", "bool", "by", "group_left", "group_right", "ignoring", "offset", "on", "or", "unless", "without"}
_LABELS = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)")


def metric_names(expression: str) -> set[str]:
    """Return the metrics that a query names."""
    for nothing in (r'"(?:[^"\\]|\\.)*"', r"\{[^}]*\}", r"\[[^]]*\]", _LABELS):
        expression = re.sub(nothing, " ", expression)
    words = re.findall(r"(?<![\w.:])[a-zA-Z_:][\w:]*(?!\w)(?!\s*\()", expression)
    return set(words) - _WORDS
