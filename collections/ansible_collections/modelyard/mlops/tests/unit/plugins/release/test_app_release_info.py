# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""app_release_info: what runs, what is under way, what died, and what it cost."""

from __future__ import annotations

from ansible_collections.modelyard.mlops.plugins.module_utils.ledger import Attempt, Journal
from ansible_collections.modelyard.mlops.plugins.module_utils.release_lock import Lock
from ansible_collections.modelyard.mlops.plugins.modules.app_release_info import read, tell

from .fakes import Host, release


def lines(host: Host) -> list[str]:
    return tell(read(host.store, 10))


def test_app_that_was_never_here(host: Host) -> None:
    assert lines(host) == ["demo: nothing serves"]


def test_release_that_serves_and_those_before_it(serving: Host) -> None:
    serving.deliver(release(2))
    first, *history = lines(serving)
    assert first.startswith("demo: release 2 (app:2) serves from the green slot since 20")
    assert first.endswith("by me from commit abc")
    assert [line.split("  ")[2] for line in history] == [
        f"deploy of release {number} served, by me from commit abc" for number in (2, 1)
    ]


def test_downtime_and_the_first_line_of_a_reason_are_told(serving: Host) -> None:
    ledger = serving.store.ledger()
    ledger.add(Attempt("deploy", 2, "today", "later", "ada", "", "refused", "no model\nmore", 3.5))
    serving.store.save(ledger)
    assert lines(serving)[1] == "  today  deploy of release 2 refused, by ada, nothing served for 3.5 s: no model"


def test_deployment_under_way_and_one_that_died_are_told_apart(serving: Host) -> None:
    serving.store.write_journal(Journal("deploy", 2, "green", "blue", "ada", "", "today", "gate"))
    assert lines(serving)[1] == "  the deploy of release 2 died at the step gate: the next run ends it"
    lock = Lock(serving.store)
    lock.acquire("ada", 60)
    assert lines(serving)[1].startswith("  the deploy of release 2 is at the step gate, by ada (process ")
    lock.release()
    assert "died" in lines(serving)[1]
