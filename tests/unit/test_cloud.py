# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import boto3.session
import pytest

from delivery.errors import DeliveryError
from rehearsal import cloud


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    cloud.stop(tmp_path)


def test_one_cloud_a_state_folder_until_it_is_stopped(state: Path) -> None:
    first = cloud.start(state)
    assert cloud.start(state) == first == cloud.running(state)
    ec2 = boto3.client(
        "ec2",
        endpoint_url=first.url,
        region_name=cloud.REGION,
        aws_access_key_id="rehearsal",
        aws_secret_access_key="rehearsal",
    )
    # What terraform/modules/yard looks for by default.
    name = [{"Name": "name", "Values": ["debian-12-amd64-*"]}]
    assert len(ec2.describe_images(Owners=["136693071363"], Filters=name)["Images"]) == 1

    assert cloud.stop(state)
    assert cloud.running(state) is None
    assert not cloud.stop(state)


def test_a_cloud_that_was_killed_is_started_anew(state: Path) -> None:
    first = cloud.start(state)
    os.kill(first.pid, 9)
    second = cloud.start(state)
    assert second.pid != first.pid
    assert cloud.running(state) == second


def test_a_process_that_took_over_the_number_is_left_alone(state: Path) -> None:
    record = {"pid": os.getpid(), "port": 1, "started": 1}
    (state / "cloud.json").write_text(json.dumps(record))
    assert cloud.running(state) is None
    assert not cloud.stop(state)


@pytest.mark.parametrize("record", ["", "{}", '{"pid": 1'])
def test_a_broken_record_is_no_cloud(state: Path, record: str) -> None:
    (state / "cloud.json").write_text(record)
    assert cloud.running(state) is None


def test_a_cloud_that_does_not_come_up_says_why(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = state / "python"
    broken.write_text("#!/bin/sh\necho No module named moto >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken))
    with pytest.raises(DeliveryError, match=r"did not come up(?s:.*)No module named moto"):
        cloud.start(state)
    assert cloud.running(state) is None


def test_nothing_of_the_callers_aws_wins_over_the_cloud(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = {"AWS_PROFILE": "work", "AWS_SESSION_TOKEN": "token", "AWS_ACCESS_KEY_ID": "AKIAREAL", "NO_PROXY": "intra"}
    for name, value in mine.items():
        monkeypatch.setenv(name, value)
    environment = cloud.environment(cloud.Cloud(pid=1, port=4566, started=1))
    assert "AWS_PROFILE" not in os.environ
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    session = boto3.session.Session()
    credentials = session.get_credentials()
    assert credentials is not None
    assert (credentials.access_key, credentials.token or "") == ("rehearsal", "")
    assert session.client("sts").meta.endpoint_url == "http://127.0.0.1:4566"
    assert environment["NO_PROXY"] == "intra,127.0.0.1"
