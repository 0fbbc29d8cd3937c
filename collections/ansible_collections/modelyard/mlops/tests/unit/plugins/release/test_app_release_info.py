# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""app_release_info: what serves, and whether a deployment is under way or died."""

from __future__ import annotations

from ansible_collections.modelyard.mlops.plugins.module_utils.ledger import Journal
from ansible_collections.modelyard.mlops.plugins.module_utils.release_lock import Lock
from ansible_collections.modelyard.mlops.plugins.modules.app_release_info import read

from .fakes import Host, release


def test_app_that_was_never_here(host: Host) -> None:
    info = read(host.store, 10)
    assert (info["active"], info["history"], info["unfinished"], info["deploying"]) == (None, [], None, "")


def test_release_that_serves_and_the_latest_deployments(serving: Host) -> None:
    for number in (2, 3):
        serving.deliver(release(number))
    info = read(serving.store, 2)
    assert (info["active"]["number"], info["active"]["slot"]) == (3, "blue")
    assert [attempt["release"] for attempt in info["history"]] == [3, 2]
    assert [kept["number"] for kept in info["releases"]] == [3, 2]


def test_deployment_under_way_has_somebody_who_does_it(serving: Host) -> None:
    serving.store.write_journal(Journal("deploy", 2, "green", "blue", "ada", "", "today", "gate"))
    assert read(serving.store, 10)["deploying"] == ""
    lock = Lock(serving.store)
    lock.acquire("ada", 60)
    assert read(serving.store, 10)["deploying"].startswith("ada (process ")
    lock.release()
    assert read(serving.store, 10)["deploying"] == ""
