# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""app_release: however a run ends, node_exporter then shows what the ledger says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.modelyard.mlops.plugins.module_utils import textfile
from ansible_collections.modelyard.mlops.plugins.module_utils.release_flow import Refused
from ansible_collections.modelyard.mlops.plugins.modules import app_release
from ansible_collections.modelyard.mlops.plugins.modules.app_release import App

from .fakes import DELIVERY, PORTS, Host


@pytest.fixture
def figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that node_exporter reads."""
    folder = tmp_path / "textfile"
    folder.mkdir()
    monkeypatch.setattr(textfile, "FOLDER", str(folder))
    return folder / "modelyard_app_demo.prom"


def app(host: Host, monkeypatch: pytest.MonkeyPatch, image: int, check: bool = False, **changes: Any) -> App:
    """A run of the module on a host of fakes."""
    fakes: dict[str, Any] = {"AppStore": host.store, "Engine": None, "Runtime": None, "SlotMap": None}
    fakes |= {"Router": host.router, "Slots": host.slots}
    for name, fake in fakes.items():
        monkeypatch.setattr(app_release, name, lambda *_, fake=fake: fake)
    monkeypatch.setattr(app_release, "ask", host.ask)
    monkeypatch.setattr(app_release, "time", host.clock)
    monkeypatch.setattr(App, "_prepare", lambda *_: None)
    options: dict[str, Any] = {
        "name": "demo",
        "state": "present",
        "image": f"app:{image}",
        "image_key": f"sha256:{image:064}",
    }
    options |= {"model": None, "env": {}, "secrets": {}, "user": "", "memory": "1m", "pids": 1, "grace": 5}
    options |= {"port": 8080, "slots": PORTS, "release": None, "delivery": "", "by": "me", "commit": "abc"}
    options |= {"force": False}
    return App({**options, **DELIVERY, "break_lock": False, **changes}, check)


def test_each_run_that_deploys_is_shown(host: Host, figures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app(host, monkeypatch, 1).run()
    assert 'outcome="served"} 1.0' in figures.read_text()
    host.slots.broken.add(2)
    with pytest.raises(Refused):
        app(host, monkeypatch, 2).run()
    assert 'release="2",action="deploy",outcome="refused"} 1.0' in figures.read_text()
    assert 'modelyard_release_info{app="demo",release="1"' in figures.read_text()


def test_a_run_that_finds_all_as_wanted_writes_nothing(
    host: Host, figures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app(host, monkeypatch, 1).run()
    before = figures.stat()
    assert not app(host, monkeypatch, 1).run()["changed"]
    assert figures.stat() == before
    figures.unlink()
    assert not app(host, monkeypatch, 1).run()["changed"]
    assert figures.exists(), "a node_exporter that came later is told as well"


def test_a_preview_shows_nothing(host: Host, figures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert app(host, monkeypatch, 1, check=True).run()["changed"]
    assert not figures.exists()


def test_figures_that_cannot_be_written_fail_no_deployment(
    host: Host, figures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures.mkdir()
    run = app(host, monkeypatch, 1)
    assert run.run()["changed"]
    assert "are not up to date" in run.warning


def undo(host: Host, monkeypatch: pytest.MonkeyPatch, delivery: str) -> dict[str, Any]:
    return app(host, monkeypatch, 0, state="rolled_back", delivery=delivery).run()


@pytest.mark.usefixtures("figures")
def test_what_a_delivery_brought_is_taken_back_once_and_may_be_tried_again(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    app(host, monkeypatch, 1).run()
    app(host, monkeypatch, 2, delivery="monday").run()
    assert undo(host, monkeypatch, "monday")["action"] == "undo"
    assert (host.serving(), host.store.ledger().held) == (1, [])
    assert undo(host, monkeypatch, "monday")["action"] == "none"
    assert app(host, monkeypatch, 2, delivery="tuesday").run()["action"] == "deploy"
    assert host.serving() == 3


@pytest.mark.usefixtures("figures")
def test_what_a_delivery_did_not_bring_stays(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    assert undo(host, monkeypatch, "tuesday")["action"] == "none"
    app(host, monkeypatch, 1, delivery="monday").run()
    app(host, monkeypatch, 1, delivery="tuesday").run()
    assert undo(host, monkeypatch, "tuesday")["action"] == "none"
    assert "first release" in undo(host, monkeypatch, "monday")["reason"]
    assert host.serving() == 1
