# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""What a transaction asks of systemd, with a systemctl and a journalctl that answer as the test says."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.modelyard.mlops.plugins.module_utils.service_config import LAST_LINES, Systemd

PROGRAM = """#!/bin/sh
echo "$(basename "$0") $*" >>"{folder}/asked"
case "$*" in
  *LoadState*) cat "{folder}/load" ;;
  *ActiveState*) cat "{folder}/active" ;;
  *NRestarts*) cat "{folder}/restarts" ;;
  "is-enabled x.service") test -s "{folder}/boots" ;;
  "restart x.service" | "enable x.service") cat "{folder}/refusal" >&2; test ! -s "{folder}/refusal" ;;
  *--since*) cat "{folder}/journal" ;;
esac
"""


class World:
    """A machine's systemd: what its units are, and what was asked of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("systemctl", "journalctl"):
            (folder / name).write_text(PROGRAM.format(folder=folder))
            (folder / name).chmod(0o755)
        self.have(load="loaded", active="active", restarts="0", refusal="", journal="", boots="")

    def have(self, **state: str) -> None:
        for name, text in state.items():
            (self.folder / name).write_text(text)

    def asked(self) -> list[str]:
        return [line for line in (self.folder / "asked").read_text().splitlines() if " show " not in line]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return World(tmp_path)


@pytest.mark.parametrize(("load", "known"), [("loaded", True), ("masked", True), ("not-found", False)])
def test_a_unit_is_known_by_what_systemd_loaded(load: str, known: bool, world: World) -> None:
    world.have(load=load)
    assert Systemd("x").known() is known


@pytest.mark.parametrize(
    ("active", "restarts", "runs", "failed"),
    [("active", "0", True, False), ("activating", "1", True, False), ("failed", "", False, True)],
)
def test_a_unit_that_gave_up_has_failed(active: str, restarts: str, runs: bool, failed: bool, world: World) -> None:
    world.have(active=active, restarts=restarts)
    assert (Systemd("x").active(), Systemd("x").failed()) == (runs, failed)


def test_a_unit_is_made_to_run_after_a_boot(world: World) -> None:
    assert not Systemd("x").at_boot()
    assert Systemd("x").enable() is None
    world.have(boots="yes", refusal="Unit x.service is masked.")
    assert Systemd("x").at_boot()
    assert Systemd("x").enable() == "systemctl enable x.service failed: Unit x.service is masked."


def test_a_unit_that_starts_again_and_again_has_failed(world: World) -> None:
    world.have(active="activating", restarts="99")
    assert Systemd("x").failed()


def test_what_runs_is_reloaded(world: World) -> None:
    assert Systemd("x").tell("reload") is None
    assert world.asked() == ["systemctl daemon-reload", "systemctl reload x.service"]


def test_what_does_not_run_is_started_whatever_it_failed_of_before(world: World) -> None:
    world.have(active="failed")
    assert Systemd("x").tell("reload") is None
    assert world.asked()[1:] == ["systemctl reset-failed x.service", "systemctl restart x.service"]


def test_a_refusal_is_systemds_own_words(world: World) -> None:
    world.have(refusal="Unit x.service is masked.")
    assert Systemd("x").tell("restart") == "systemctl restart x.service failed: Unit x.service is masked."


def test_stopping_reads_the_units_first(world: World) -> None:
    Systemd("x.timer").stop()
    assert world.asked() == ["systemctl daemon-reload", "systemctl stop x.timer"]


def test_the_last_words_are_the_last(world: World) -> None:
    world.have(journal="".join(f"line {number}\n" for number in range(LAST_LINES + 5)))
    said = Systemd("x").journal(since=1.5).splitlines()
    assert (len(said), said[-1]) == (LAST_LINES, f"line {LAST_LINES + 4}")


def test_a_machine_without_systemd_has_no_units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    unit = Systemd("x")
    assert (unit.known(), unit.active(), unit.failed(), unit.journal(0)) == (False, False, False, "")
