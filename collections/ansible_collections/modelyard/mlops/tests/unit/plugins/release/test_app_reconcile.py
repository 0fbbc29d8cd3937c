# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""app_reconcile: an app that code no longer names leaves no figures, also when it never came to serve."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.modelyard.mlops.plugins.module_utils import textfile
from ansible_collections.modelyard.mlops.plugins.modules import app_reconcile


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
    with patch_module_args({"apps": ["demo"], "_ansible_check_mode": check}), pytest.raises(SystemExit) as end:
        app_reconcile.main()
    assert end.value.code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == left


@pytest.mark.parametrize(("allowed", "code"), [(False, 1), (True, 0)])
def test_empty_list_removes_all_only_when_that_is_meant(
    allowed: bool, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(app_reconcile, "known_apps", list)
    monkeypatch.setattr(app_reconcile, "apps_on_host", lambda *_: {"demo"})
    arguments = {"apps": [], "allow_empty": allowed, "_ansible_check_mode": True}
    with patch_module_args(arguments), pytest.raises(SystemExit) as end:
        app_reconcile.main()
    assert end.value.code == code
    said = json.loads(capsys.readouterr().out)
    assert said["removed"] == ["demo"] if allowed else "demo would go" in said["msg"]
