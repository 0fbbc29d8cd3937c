# SPDX-License-Identifier: Apache-2.0
"""A release over three hosts, forth and back. The tests are one story: each begins where the one before it ended."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import testinfra
from testinfra.host import Host

from ansible_collections.modelyard.mlops.extensions.molecule.shared.playbook import CONVERGE, INVENTORY, play

NAMES = ("a", "b", "c")


def on(name: str) -> Host:
    return testinfra.get_host(f"ansible://{name}?ansible_inventory={INVENTORY}")


def deliver(*arguments: str, **variables: Any) -> tuple[int, str]:
    return play(CONVERGE, *arguments, **variables)


def roll_back(**variables: Any) -> tuple[int, str]:
    return play("modelyard.mlops.rollback", app="shop", **variables)


def versions() -> dict[str, str]:
    """What each host's users get."""
    found = {}
    for name in NAMES:
        connection = http.client.HTTPConnection(on(name).ansible.get_variables()["ansible_host"], timeout=10)
        connection.request("GET", "/basket")
        found[name] = str(json.loads(connection.getresponse().read())["version"])
    return found


def everywhere(version: str) -> dict[str, str]:
    return dict.fromkeys(NAMES, version)


def ledgers() -> dict[str, Any]:
    found = {}
    for name in NAMES:
        with on(name).sudo():
            found[name] = json.loads(on(name).file("/var/lib/modelyard/apps/shop/ledger.json").content_string)
    return found


def history(name: str) -> list[tuple[str, int, str]]:
    return [(line["action"], line["release"], line["outcome"]) for line in ledgers()[name]["history"]]


def test_an_app_that_is_not_ours_serves_on_all_hosts() -> None:
    assert versions() == everywhere("1")
    assert len({line["delivery"] for ledger in ledgers().values() for line in ledger["history"]}) == 1


def test_when_the_second_host_fails_the_first_goes_back_and_the_third_never_hears_of_it() -> None:
    code, output = deliver(version="2", sick=["b"])
    assert code != 0
    assert versions() == everywhere("1")
    assert history("a")[1:] == [("deploy", 2, "served"), ("undo", 1, "served")]
    assert history("b")[1:] == [("deploy", 2, "refused")]
    assert history("c")[1:] == []
    assert "the shop is closed for ever" in output
    assert "it failed on b: what it had switched here was taken back" in output
    assert "it failed on b before" in output


def test_the_same_delivery_may_be_tried_again_on_all_hosts() -> None:
    code, output = deliver(version="2")
    assert code == 0, output
    assert versions() == everywhere("2")
    assert {name: ledger["active"]["release"] for name, ledger in ledgers().items()} == {"a": 3, "b": 3, "c": 2}


def test_a_canary_that_fails_is_the_only_host_that_is_touched() -> None:
    before = {name: history(name) for name in ("b", "c")}
    code, _output = deliver(version="3", sick=["a"], app_max_fail_percentage=50)
    assert code != 0
    assert versions() == everywhere("2")
    assert {name: history(name) for name in ("b", "c")} == before


def test_as_many_may_fail_as_are_allowed_and_the_rest_goes_on() -> None:
    code, output = deliver(version="3", sick=["b"], app_max_fail_percentage=34)
    assert code != 0
    assert "the shop is closed for ever" in output
    assert versions() == {"a": "3", "b": "2", "c": "3"}


def test_a_rollback_leaves_a_host_that_serves_the_one_before_already() -> None:
    code, output = roll_back()
    assert code == 0, output
    assert versions() == everywhere("2")
    assert "shop: serves release 3 (molecule-shop:2) already" in output
    assert history("b")[-1][0] == "deploy"


def test_a_host_alone_takes_only_itself_back() -> None:
    before = {name: history(name) for name in ("a", "c")}
    code, _output = deliver("--limit", "b", version="3", sick=["b"])
    assert code != 0
    assert versions() == everywhere("2")
    assert {name: history(name) for name in ("a", "c")} == before


def test_a_number_that_means_something_else_on_each_host_is_refused() -> None:
    code, output = roll_back(release=3)
    assert code != 0
    assert "Add -e release_of=HOST" in output
    assert versions() == everywhere("2")


def test_a_number_with_its_host_means_the_same_release_on_all() -> None:
    code, output = roll_back(release=2, release_of="c")
    assert code == 0, output
    assert versions() == everywhere("2")
    code, output = roll_back(release=1)
    assert code == 0, output
    assert versions() == everywhere("1")


def test_status_is_one_table() -> None:
    code, output = play("modelyard.mlops.status")
    assert code == 0
    assert "HOST APP RELEASE SINCE BY COMMIT IMAGE MODEL SLOT a shop 1 20" in output
    for name in NAMES:
        assert f"{name} shop 1 20" in output
    assert "molecule c1 molecule-shop:1 - blue" in output or "molecule c1 molecule-shop:1 - green" in output
    assert "deploy refused molecule c2 the container has stopped, exit code 3" in output


def test_a_host_that_is_lost_counts_as_one_that_failed() -> None:
    with unreachable("b"):
        code, output = deliver(version="3", app_deploy_force=True)
    assert code != 0
    assert "the host was lost on the way" in output
    assert versions() == everywhere("1")
    assert history("a")[-1][0] == "undo"


@contextlib.contextmanager
def unreachable(name: str) -> Iterator[None]:
    """Take a host's SSH away; it can only be given back from outside."""
    mark = hashlib.sha1(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"].encode(), usedforsecurity=False).hexdigest()[:8]
    inside = ["docker", "exec", f"molecule-app_deploy_fleet-{mark}-{name}", "sh", "-c"]
    # Ansible keeps connections open, and each has a process of its own: sshd, or since Debian 13 sshd-session.
    subprocess.run([*inside, "systemctl stop ssh; pkill sshd"], check=False)
    try:
        yield
    finally:
        subprocess.run([*inside, "systemctl start ssh"], check=True)
