# SPDX-License-Identifier: Apache-2.0
"""On PostgreSQL and S3: secrets are closed, and a database that was spoilt or changed is put back."""

from __future__ import annotations

import json
import typing as t
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import pytest
from moto.server import ThreadedMotoServer
from testinfra.host import Host

from ansible_collections.modelyard.mlops.extensions.molecule.shared.playbook import CANARY

from .conftest import Play
from .server import BACKUPS, ask, champion, inspect

CONVERGE = str(Path(__file__).parents[1] / "converge.yml")
KEYS = {"aws_access_key_id": "molecule", "aws_secret_access_key": f"key of {CANARY}", "region_name": "eu-central-1"}


@pytest.fixture
def bucket(postgresql: Host) -> Iterator[str]:
    """S3, emulated where the container of the host looks for it; yields the address."""
    (endpoint,) = (
        value
        for name, _unused, value in (one.partition("=") for one in inspect(postgresql)["Config"]["Env"])
        if name == "MLFLOW_S3_ENDPOINT_URL"
    )
    address = urlsplit(endpoint)
    assert address.hostname
    assert address.port
    server = ThreadedMotoServer(address.hostname, address.port, verbose=False)
    server.start()
    try:
        s3 = boto3.client("s3", endpoint_url=endpoint, **KEYS)
        s3.create_bucket(
            Bucket="molecule-models", CreateBucketConfiguration={"LocationConstraint": KEYS["region_name"]}
        )
        yield endpoint
    finally:
        server.stop()


def post(host: Host, path: str, **body: str) -> t.Any:
    """Ask the API to write; returns its answer."""
    status, text = ask(
        host, f"/api/2.0/mlflow/{path}", "Content-Type=application/json", method="POST", body=json.dumps(body)
    )
    assert status == 200, text
    return json.loads(text)


def tables(host: Host) -> set[str]:
    """The tables of the database."""
    question = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
    with host.sudo("postgres"):
        return set(host.check_output("psql --port=5433 --tuples-only --no-align --command=%s models", question).split())


def test_it_keeps_everything_in_postgresql(postgresql: Host) -> None:
    assert ask(postgresql, "/api/2.0/mlflow/experiments/search?max_results=1")[0] == 200
    assert "registered_model_aliases" in tables(postgresql)
    with postgresql.sudo():
        assert not postgresql.file("/var/lib/modelyard/mlflow/mlflow.db").exists


def test_secrets_are_files_for_the_server_alone(postgresql: Host) -> None:
    with postgresql.sudo():
        (folder,) = postgresql.file("/etc/modelyard/mlflow").listdir()
        for name in ("pgpass", "aws"):
            file = postgresql.file(f"/etc/modelyard/mlflow/{folder}/{name}")
            assert (file.uid, file.mode) == (10001, 0o400)
            assert CANARY in file.content_string
        assert postgresql.file("/etc/modelyard/mlflow").mode == 0o700


def test_artifacts_are_in_the_bucket(postgresql: Host, bucket: str) -> None:
    path = "/api/2.0/mlflow-artifacts/artifacts/1/model/model.onnx"
    assert ask(postgresql, path, method="PUT", body="a model")[0] == 200
    assert ask(postgresql, path) == (200, "a model")
    stored = boto3.client("s3", endpoint_url=bucket, **KEYS).get_object(
        Bucket="molecule-models", Key="mlflow/1/model/model.onnx"
    )
    assert stored["Body"].read() == b"a model"


def test_a_server_that_does_not_work_on_its_upgrade_leaves_the_former_database(postgresql: Host, play: Play) -> None:
    post(postgresql, "registered-models/create", name="iris")
    run = post(postgresql, "runs/create", experiment_id="0")["run"]["info"]
    source = f"{run['artifact_uri']}/model"
    post(postgresql, "model-versions/create", name="iris", run_id=run["run_id"], source=source)
    post(postgresql, "registered-models/alias", name="iris", alias="champion", version="1")
    container = inspect(postgresql)
    done = play(CONVERGE, "postgresql", mlflow_image="{{ tomorrow }}")
    assert "container modelyard-mlflow" in done["msg"], done["output"]
    assert CANARY not in done["output"]
    after = inspect(postgresql)
    assert (after["Id"], after["State"]["Running"]) == (container["Id"], True)
    assert "from_tomorrow" not in tables(postgresql)
    play(CONVERGE, "postgresql")
    assert champion(postgresql) == "1"
    with postgresql.sudo():
        assert [name for name in postgresql.file(BACKUPS).listdir() if name.endswith("-before-upgrade.tar.gz")] != []


def test_a_database_is_restored(postgresql: Host, play: Play) -> None:
    saved = play("modelyard.mlops.backup", "postgresql", mlflow_hosts="postgresql")
    assert (saved["artifacts"], saved["files"]) == (False, 1)
    with postgresql.sudo("postgres"):
        postgresql.check_output("psql --port=5433 --quiet --command='DROP OWNED BY modeller' models")
    assert tables(postgresql) == set()
    # With the image that runs anyway; another one has no place in this story.
    restored = play(
        "modelyard.mlops.restore",
        "postgresql",
        mlflow_hosts="postgresql",
        mlflow_restore_backup=saved["name"],
        mlflow_restore_image="{{ today }}",
    )
    assert restored["files"] == 1, restored["output"]
    assert champion(postgresql) == "1"
