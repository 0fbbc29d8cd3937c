# SPDX-License-Identifier: Apache-2.0
"""The pictures are well-formed SVG and show the numbers they were given."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np

from iris_model import pictures

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def rectangles(svg: str) -> list[dict[str, str]]:
    return [element.attrib for element in ElementTree.fromstring(svg).iter(f"{SVG}rect")][1:]  # without the background


def test_a_confusion_matrix_shows_each_count_and_shades_it_by_its_share_of_the_row() -> None:
    svg = pictures.confusion_matrix(np.array([[3, 1], [0, 0]]), ["<a>", "b"])
    assert [text for text in texts(svg) if text.isdigit()] == ["3", "1", "0", "0"]
    assert texts(svg).count("<a>") == 2
    assert [cell["fill-opacity"] for cell in rectangles(svg)] == ["0.750", "0.250", "0.000", "0.000"]


def test_importances_are_bars_with_the_largest_first() -> None:
    svg = pictures.feature_importance(np.array([0.25, 0.75]), ["a", "b"])
    assert texts(svg)[1:] == ["b", "0.750", "a", "0.250"]
    assert [bar["width"] for bar in rectangles(svg)] == ["225", "75"]
