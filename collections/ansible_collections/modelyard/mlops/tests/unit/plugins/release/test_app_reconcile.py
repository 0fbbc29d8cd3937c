# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""app_reconcile: an app that code no longer names leaves no figures, also when it never came to serve."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.modelyard.mlops.plugins.module_utils import textfile
from ansible_collections.modelyard.mlops.plugins.modules import app_reconcile
from ansible_collections.modelyard.mlops.tests.unit.plugins.running import run_module


@pytest.mark.parametrize(
    ("check", "left"),
    [(False, ["modelyard_app_demo.prom"]), (True, ["modelyard_app_demo.prom", "modelyard_app_refused.prom"])],
)
def test_figures_of_an_app_that_is_not_named_go(
    check: bool, left: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(textfile, "FOLDER", str(tmp_path))
    monkeypatch.setattr(app_reconcile, "known_apps", lambda: ["demo", "refused", "without-figures"])
    monkeypatch.setattr(app_reconcile, "apps_on_host", lambda *_: {"demo"})
    for name in ("demo", "refused"):
        (tmp_path / f"modelyard_app_{name}.prom").touch()
    said = run_module(app_reconcile.main, {"apps": ["demo"], "_ansible_check_mode": check})
    assert not said.get("failed")
    assert sorted(path.name for path in tmp_path.iterdir()) == left


@pytest.mark.parametrize("allowed", [False, True])
def test_empty_list_removes_all_only_when_that_is_meant(allowed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_reconcile, "known_apps", list)
    monkeypatch.setattr(app_reconcile, "apps_on_host", lambda *_: {"demo"})
    arguments = {"apps": [], "allow_empty": allowed, "_ansible_check_mode": True}
    said = run_module(app_reconcile.main, arguments)
    assert said.get("failed", False) is not allowed
    assert said["removed"] == ["demo"] if allowed else "demo would go" in said["msg"]
