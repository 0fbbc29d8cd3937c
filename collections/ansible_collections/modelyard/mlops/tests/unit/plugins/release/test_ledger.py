# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""ledger: what is written is there, private where it must be, and pruned where it may be."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from ansible_collections.modelyard.mlops.plugins.module_utils.ledger import (
    HISTORY_LIMIT,
    Active,
    AppStore,
    Attempt,
    Ledger,
)
from ansible_collections.modelyard.mlops.plugins.module_utils.release import ReleaseError, seal
from ansible_collections.modelyard.mlops.plugins.module_utils.release_lock import Lock, LockError

from .fakes import Host, release


def attempt(number: int, outcome: str = "served", started: str = "") -> Attempt:
    return Attempt("deploy", number, started or str(number), "later", "me", "abc", outcome)


def mode(path: str | Path) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


def test_ledger_and_release_come_back_as_written(host: Host) -> None:
    ledger = Ledger(Active(2, "blue", "today"), [1], [attempt(1), attempt(2)])
    host.store.save(ledger)
    host.store.add(release(2), {})
    assert host.store.ledger() == ledger
    assert host.store.release(2) == release(2)


def test_a_ledger_of_before_there_were_counts_is_read(host: Host) -> None:
    host.store.save(Ledger(history=[attempt(1)]))
    path = Path(host.store.folder) / "ledger.json"
    value = json.loads(path.read_text())
    del value["forgotten"]
    path.write_text(json.dumps(value))
    assert host.store.ledger().outcomes() == {"served": 1}


def test_damaged_ledger_is_named(host: Host) -> None:
    host.store.save(Ledger())
    path = Path(host.store.folder, "ledger.json")
    path.write_text("{", encoding="utf-8")
    with pytest.raises(ReleaseError, match=r"ledger\.json is damaged"):
        host.store.ledger()


def test_secrets_are_files_that_only_root_reaches(host: Host, tmp_path: Path) -> None:
    host.store.add(release(1, secrets=seal({"TOKEN": "hush"}, b"key")), {"TOKEN": "hush"})
    path = Path(host.store.secrets_folder(1), "TOKEN")
    assert path.read_text(encoding="utf-8") == "hush"
    assert mode(path) == 0o400
    assert mode(tmp_path / "config" / "apps") == 0o700
    written = [file.read_bytes() for file in (tmp_path / "state").rglob("*") if file.is_file()]
    assert written
    assert not any(b"hush" in content for content in written)


def test_fingerprint_key_is_made_once(host: Host) -> None:
    assert host.store.fingerprint_key(create=False) == b""
    key = host.store.fingerprint_key(create=True)
    assert len(key) == 64
    assert host.store.fingerprint_key(create=True) == key


def test_same_attempt_twice_is_one() -> None:
    ledger = Ledger()
    ledger.add(attempt(1))
    ledger.add(attempt(1))
    assert len(ledger.history) == 1


def test_history_does_not_grow_for_ever() -> None:
    ledger = Ledger()
    for number in range(HISTORY_LIMIT + 5):
        ledger.add(attempt(number))
    assert [ledger.history[0].release, len(ledger.history)] == [5, HISTORY_LIMIT]


def test_prune_keeps_what_a_rollback_needs(host: Host, tmp_path: Path) -> None:
    models = tmp_path / "state" / "models" / "iris"
    for number in range(1, 6):
        path = models / str(min(number, 4))
        path.mkdir(parents=True, exist_ok=True)
        model = {"name": "iris", "version": path.name, "path": str(path)}
        host.store.add(release(number, model=model), {})
    foreign = tmp_path / "elsewhere"
    foreign.mkdir()
    host.store.add(release(6, model={"name": "x", "version": "1", "path": str(foreign)}), {})
    history = [attempt(1), attempt(2), attempt(3), attempt(4), attempt(5), attempt(6, "refused")]
    host.store.save(Ledger(Active(4, "blue", "today"), [2], history))
    assert host.store.prune(keep=1) == [1, 3, 6]
    assert host.store.numbers() == [2, 4, 5]
    assert sorted(path.name for path in models.iterdir()) == ["2", "4"]
    assert foreign.is_dir(), "only what mlflow_model fetched is deleted"


def test_unknown_release_is_refused_with_those_that_are_kept(host: Host) -> None:
    host.store.add(release(3), {})
    with pytest.raises(ReleaseError, match=r"no release 9 on this host; kept are: 3"):
        host.store.release(9)


class TestLock:
    def test_second_run_is_told_who_has_it(self, host: Host) -> None:
        Lock(host.store).acquire("ada", 60)
        with pytest.raises(LockError, match=rf"deployed by ada \(process {os.getpid()}\) since 20.*at the latest"):
            Lock(host.store).acquire("bob", 60)

    def test_run_that_should_be_over_is_named_as_hanging(self, host: Host) -> None:
        Lock(host.store).acquire("ada", -1)
        with pytest.raises(LockError, match="seems to hang: set break_lock"):
            Lock(host.store).acquire("bob", 60)

    def test_released_lock_is_free(self, host: Host) -> None:
        lock = Lock(host.store)
        lock.acquire("ada", 60)
        lock.release()
        Lock(host.store).acquire("bob", 60)

    def test_lock_of_a_dead_process_is_free(self, host: Host) -> None:
        Path(host.store.folder).mkdir(parents=True)
        left = {"owner": "ada", "pid": 1, "since": "2020", "expires": "2999"}
        Path(host.store.folder, "lock").write_text(json.dumps(left), encoding="utf-8")
        Lock(host.store).acquire("bob", 60)

    def test_broken_lock_stops_its_former_owner(self, host: Host) -> None:
        first, second = Lock(host.store), Lock(host.store)
        first.acquire("ada", 60)
        second.acquire("bob", 60, break_it=True)
        second.check()
        with pytest.raises(LockError, match="was broken by another run"):
            first.check()


def test_model_of_another_app_is_not_pruned(tmp_path: Path) -> None:
    path = tmp_path / "models" / "iris" / "1"
    path.mkdir(parents=True)
    model = {"name": "iris", "version": "1", "path": str(path)}
    stores = [AppStore(name, str(tmp_path), str(tmp_path / "config")) for name in ("one", "two")]
    for store in stores:
        store.add(release(1, model=model), {})
        store.save(Ledger())
    stores[0].prune(keep=1)
    assert path.is_dir(), "the other app still needs it"
