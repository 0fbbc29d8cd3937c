# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""release_figures: Prometheus is told what the ledger says, whatever became of the deployments."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.modelyard.mlops.plugins.module_utils.ledger import HISTORY_LIMIT, Attempt, Ledger
from ansible_collections.modelyard.mlops.plugins.module_utils.release_figures import (
    OUTCOMES,
    figures,
    publish_figures,
    withdraw_figures,
)
from ansible_collections.modelyard.mlops.plugins.module_utils.release_flow import Refused

from .fakes import Host, release

MODEL = {"name": "iris", "version": "7", "digest": "", "path": "/models/iris/7"}


@pytest.fixture
def textfiles(tmp_path: Path) -> Path:
    folder = tmp_path / "textfile"
    folder.mkdir()
    return folder


def shown(host: Host, textfiles: Path) -> list[str]:
    assert publish_figures(host.store, str(textfiles)) == ""
    lines = (textfiles / "modelyard_app_demo.prom").read_text().splitlines()
    return [line for line in lines if not line.startswith("#")]


def counts(lines: list[str]) -> dict[str, int]:
    """The outcomes that there were."""
    totals = [line for line in lines if line.startswith("modelyard_deployments_total")]
    found = {line.split('outcome="')[1].split('"')[0]: int(float(line.split()[-1])) for line in totals}
    assert list(found) == list(OUTCOMES)
    return {outcome: count for outcome, count in found.items() if count}


def attempt(started: str, finished: str, action: str = "deploy", outcome: str = "served") -> Attempt:
    return Attempt(action, 1, started, finished, "me", "abc", outcome)


def test_the_serving_release_and_its_model_are_named(host: Host, textfiles: Path) -> None:
    host.deliver(release(1, model=MODEL))
    lines = shown(host, textfiles)
    assert (
        'modelyard_release_info{app="demo",release="1",slot="blue",image="app:1",model="iris",model_version="7",'
        'commit="abc"} 1.0'
    ) in lines
    assert 'modelyard_deployment_info{app="demo",release="1",action="deploy",outcome="served"} 1.0' in lines
    assert counts(lines) == {"served": 1}


def test_each_end_of_a_deployment_is_counted(serving: Host, textfiles: Path) -> None:
    serving.deliver(release(2))
    serving.slots.broken.add(3)
    serving.fails_later.add(4)
    for number, outcome in ((3, "refused"), (4, "returned")):
        with pytest.raises(Refused):
            serving.deliver(release(number))
        lines = shown(serving, textfiles)
        last = f'modelyard_deployment_info{{app="demo",release="{number}",action="deploy",outcome="{outcome}"}} 1.0'
        assert last in lines
        assert any(line.startswith('modelyard_release_info{app="demo",release="2"') for line in lines)
    serving.deliver(serving.store.release(1), "rollback")
    serving.deliver(serving.store.release(1), "restore")
    expected = {"served": 2, "restored": 1, "rolled_back": 1, "refused": 1, "returned": 1}
    assert counts(shown(serving, textfiles)) == expected


def test_duration_and_end_are_those_of_the_last_deployment() -> None:
    history = [
        attempt("2026-01-31T10:00:00.000Z", "2026-01-31T10:00:01.000Z"),
        attempt("2026-01-31T10:20:00.500Z", "2026-01-31T10:20:31.000Z"),
    ]
    lines = figures("demo", Ledger(history=history), None).splitlines()
    assert 'modelyard_deployment_duration_seconds{app="demo"} 30.5' in lines
    assert 'modelyard_deployment_downtime_seconds{app="demo"} 0.0' in lines
    assert 'modelyard_deployment_finished_timestamp_seconds{app="demo"} 1769854831.0' in lines


def test_counts_do_not_fall_when_the_history_is_cut(host: Host, textfiles: Path) -> None:
    ledger = Ledger()
    for number in range(HISTORY_LIMIT + 5):
        ledger.add(attempt(f"2026-01-31T10:00:00.{number:03}Z", "2026-01-31T11:00:00.000Z"))
    ledger.add(attempt("2026-02-01T10:00:00.000Z", "2026-02-01T11:00:00.000Z", outcome="refused"))
    host.store.save(ledger)
    assert len(host.store.ledger().history) == HISTORY_LIMIT
    assert counts(shown(host, textfiles)) == {"served": HISTORY_LIMIT + 5, "refused": 1}


def test_a_run_without_a_deployment_writes_nothing(serving: Host, textfiles: Path) -> None:
    shown(serving, textfiles)
    before = (textfiles / "modelyard_app_demo.prom").stat()
    shown(serving, textfiles)
    assert (textfiles / "modelyard_app_demo.prom").stat().st_mtime_ns == before.st_mtime_ns


def test_an_app_that_is_removed_is_shown_no_more(serving: Host, textfiles: Path) -> None:
    shown(serving, textfiles)
    assert withdraw_figures("demo", str(textfiles)) == ""
    assert list(textfiles.iterdir()) == []


def test_a_damaged_ledger_is_told_and_fails_nothing(serving: Host, textfiles: Path) -> None:
    (Path(serving.store.folder) / "ledger.json").write_text("{")
    assert "the figures of demo are not up to date" in publish_figures(serving.store, str(textfiles))
