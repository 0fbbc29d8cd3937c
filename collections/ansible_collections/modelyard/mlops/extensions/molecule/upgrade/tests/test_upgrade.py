# SPDX-License-Identifier: Apache-2.0
"""This release takes over what the previous one left: nothing recorded is lost, and no request on the way.

The tests are one story: each begins where the one before it ended.
"""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest
from testinfra.host import Host

from ansible_collections.modelyard.mlops.extensions.molecule.shared.playbook import converge, play
from ansible_collections.modelyard.mlops.extensions.molecule.shared.traffic import Traffic

# What is in these folders is there as it was, whatever else an upgrade adds.
RECORDS = "/var/lib/modelyard/models /var/lib/modelyard/training /srv/mlflow/artifacts"
MODEL = "http://127.0.0.1:5005/models/api/2.0/mlflow/model-versions/get?name=iris&version=1"
ASK = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).read().decode())"


def records(host: Host) -> set[str]:
    """The files of models, trainings and artifacts, each with its SHA-256; and what MLflow says of the model."""
    with host.sudo():
        files = host.check_output(f"find {RECORDS} -type f -exec sha256sum {{}} +").splitlines()
    assert len(files) > 3
    return {*files, host.check_output("python3 -c %s %s", ASK, MODEL)}


def history(host: Host) -> list[dict[str, Any]]:
    with host.sudo():
        ledger = json.loads(host.file("/var/lib/modelyard/apps/demo/ledger.json").content_string)
    return [line for line in ledger["history"] if line["outcome"]]


def container(host: Host, name: str) -> dict[str, Any]:
    with host.sudo():
        found: list[dict[str, Any]] = json.loads(host.check_output("docker inspect %s", name))
    return found[0]


@pytest.fixture(scope="module")
def address(host: Host) -> str:
    return str(host.ansible.get_variables()["ansible_host"])


def test_an_upgrade_keeps_what_is_recorded_and_loses_no_request(host: Host, address: str) -> None:
    before, releases = records(host), history(host)
    with Traffic(address) as traffic:
        time.sleep(1)
        converge()
        time.sleep(1)
    print(f"{traffic.sent} requests; {dict(traffic.answers)}")
    assert traffic.lost == []
    assert traffic.sent > 500
    assert before <= records(host)
    assert history(host)[:1] == releases
    assert [(line["release"], line["outcome"]) for line in history(host)] == [(1, "served"), (2, "served")]
    assert {"1", "2"} <= traffic.answers.keys()


def test_what_was_set_is_so_still(host: Host) -> None:
    server = container(host, "modelyard-mlflow")
    assert server["Config"]["User"] == "10005:10005"
    assert server["HostConfig"]["Memory"] == 1500 << 20
    assert (host.file("/srv/mlflow").uid, host.file("/srv/mlflow").mode) == (10005, 0o750)


@pytest.mark.usefixtures("host")
def test_a_second_run_changes_nothing() -> None:
    output = converge()
    assert re.search(r"host : ok=\d+ changed=0 ", output), output[-2000:]


def test_a_release_of_before_is_still_a_way_back(host: Host, address: str) -> None:
    with Traffic(address) as traffic:
        code, output = play("modelyard.mlops.rollback", app="demo", release=1)
    assert code == 0, output
    assert traffic.lost == []
    assert history(host)[-1]["release"] == 1
    assert traffic.answers["1"] > 0
