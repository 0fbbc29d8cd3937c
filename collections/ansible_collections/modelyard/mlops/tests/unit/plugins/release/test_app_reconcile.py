# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""app_reconcile: an app that code no longer names leaves no figures, also when it never came to serve."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.modelyard.mlops.plugins.module_utils import textfile
from ansible_collections.modelyard.mlops.plugins.module_utils.engine import EngineUnreachable
from ansible_collections.modelyard.mlops.plugins.module_utils.haproxy import HaproxyError
from ansible_collections.modelyard.mlops.plugins.module_utils.release_lock import Lock
from ansible_collections.modelyard.mlops.plugins.module_utils.release_slots import APP_LABEL
from ansible_collections.modelyard.mlops.plugins.modules import app_reconcile
from ansible_collections.modelyard.mlops.tests.unit.plugins.running import run_module

from .fakes import Host, release


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


class Engine:
    """An engine with a container of `demo`; away when told so."""

    def __init__(self, away: bool = False) -> None:
        self.away = away

    def get(self, *_: Any, **__: Any) -> list[dict[str, Any]]:
        if self.away:
            raise EngineUnreachable("the engine does not answer")
        return [{"Labels": {APP_LABEL: "demo"}}]


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A host that has releases of `kept`, a route of `routed`, and what its engine says."""
    stores = {"kept": [1], "routed": []}
    monkeypatch.setattr(app_reconcile, "known_apps", lambda: list(stores))
    monkeypatch.setattr(app_reconcile, "AppStore", lambda name: SimpleNamespace(numbers=lambda: stores[name]))
    ingress = SimpleNamespace(apps=lambda: {"routed"})
    monkeypatch.setattr(app_reconcile, "Router", lambda *_: ingress)
    found = SimpleNamespace(engine=Engine(), ingress=ingress)
    monkeypatch.setattr(app_reconcile, "Engine", lambda: found.engine)
    return found


@pytest.mark.usefixtures("host")
def test_what_is_known_runs_or_has_a_route_is_an_app_of_this_host() -> None:
    said = run_module(app_reconcile.main, {"apps": ["kept"], "_ansible_check_mode": True})
    assert said["removed"] == ["demo", "routed"]
    assert said["diff"] == {"before": "demo\nkept\nrouted\n", "after": "kept\n"}


def test_preview_does_without_engine_or_ingress_and_the_run_says_which_is_missing(host: SimpleNamespace) -> None:
    def closed() -> set[str]:
        raise HaproxyError("HAProxy does not answer")

    for part, name, broken in ((host, "engine", Engine(away=True)), (host.ingress, "apps", closed)):
        setattr(part, name, broken)
        said = run_module(app_reconcile.main, {"apps": ["kept"], "_ansible_check_mode": True})
        assert not said.get("failed")
        said = run_module(app_reconcile.main, {"apps": ["kept"]})
        assert said["failed"]
        assert "does not answer" in said["msg"]


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A host on which release 1 of `demo` serves."""
    served = Host(tmp_path)
    served.deliver(release(1))
    monkeypatch.setattr(app_reconcile, "known_apps", lambda: ["demo"])
    monkeypatch.setattr(app_reconcile, "withdraw_figures", lambda name: f"no figures of {name}: read-only")
    monkeypatch.setattr(app_reconcile, "AppStore", lambda _name: served.store)
    monkeypatch.setattr(app_reconcile, "Engine", Engine)
    monkeypatch.setattr(app_reconcile, "Router", lambda *_: served.router)
    monkeypatch.setattr(app_reconcile, "Slots", lambda *_: served.slots)
    monkeypatch.setattr(app_reconcile, "time", served.clock)
    return served


@pytest.mark.parametrize("check", [True, False])
def test_app_that_is_not_named_goes_and_what_could_not_be_withdrawn_is_said(served: Host, check: bool) -> None:
    said = run_module(app_reconcile.main, {"apps": ["other"], "by": "me", "_ansible_check_mode": check})
    assert (said["changed"], said["removed"], said["diff"]["after"]) == (True, ["demo"], "")
    assert served.serving() == (1 if check else 0)
    assert served.store.numbers() == ([1] if check else [])
    assert said["warnings"] == ([] if check else ["no figures of demo: read-only"])
    assert not Lock(served.store).holder()


def test_app_that_is_being_deployed_stays_until_the_lock_is_broken(served: Host) -> None:
    other = Lock(served.store)
    other.acquire("anna", 60)
    said = run_module(app_reconcile.main, {"apps": ["other"]})
    assert said["failed"]
    assert "demo is being deployed by anna" in said["msg"]
    assert served.serving() == 1
    assert run_module(app_reconcile.main, {"apps": ["other"], "break_lock": True})["removed"] == ["demo"]
    assert served.serving() == 0
    other.release()
