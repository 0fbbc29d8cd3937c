# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""textfile: what node_exporter reads is whole, in its format, and written only when it changes."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.modelyard.mlops.plugins.module_utils.textfile import Metric, publish, render, withdraw


def test_metrics_are_in_the_text_format() -> None:
    metrics = [
        Metric("a", "gauge", "First.", [({"x": "1"}, 2), ({"x": 'quote " slash \\ line \n'}, True)]),
        Metric("without_samples", "gauge", "Left out."),
    ]
    assert render(metrics).splitlines() == [
        "# HELP a First.",
        "# TYPE a gauge",
        'a{x="1"} 2.0',
        r'a{x="quote \" slash \\ line \n"} 1.0',
    ]


def test_what_is_shown_is_not_written_again(tmp_path: Path) -> None:
    assert publish("a", "one\n", str(tmp_path)) == ""
    before = (tmp_path / "a.prom").stat()
    assert publish("a", "one\n", str(tmp_path)) == ""
    assert (tmp_path / "a.prom").stat().st_mtime_ns == before.st_mtime_ns
    assert publish("a", "two\n", str(tmp_path)) == ""
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.prom", "two\n")]


def test_without_a_node_exporter_nothing_is_written(tmp_path: Path) -> None:
    assert publish("a", "one\n", str(tmp_path / "none")) == ""
    assert list(tmp_path.iterdir()) == []


def test_a_figure_that_cannot_be_written_is_told_and_fails_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.prom").mkdir()
    assert "a.prom are not up to date" in publish("a", "one\n", str(tmp_path))
    assert "a.prom are still there" in withdraw("a", str(tmp_path))


def test_figures_can_be_withdrawn_twice(tmp_path: Path) -> None:
    publish("a", "one\n", str(tmp_path))
    assert withdraw("a", str(tmp_path)) == withdraw("a", str(tmp_path)) == ""
    assert list(tmp_path.iterdir()) == []
