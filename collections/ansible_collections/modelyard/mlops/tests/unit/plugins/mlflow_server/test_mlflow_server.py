# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""The container says all that is needed of the server in it, and nothing that is secret."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.modelyard.mlops.plugins.module_utils.container import SPEC_LABEL
from ansible_collections.modelyard.mlops.plugins.module_utils.mlflow_database import Postgresql, Sqlite
from ansible_collections.modelyard.mlops.plugins.module_utils.mlflow_server import (
    SecretFolders,
    Server,
    ServerError,
    check,
    describe,
    secret_files,
    upgrade_needed,
)

SECRET = "s3cr:t\\"


def options(**changes: Any) -> dict[str, Any]:
    """What the module hands over; dicts are merged."""
    defaults: dict[str, Any] = {
        "image": "mlflow:1",
        "data": "/var/lib/modelyard/mlflow",
        "uid": 10001,
        "port": 5000,
        "prefix": "/mlflow",
        "allowed_hosts": ["ml.example.com"],
        "workers": 1,
        "memory": "1g",
        "keep": 7,
        "postgresql": {
            "host": "",
            "port": 5432,
            "database": "mlflow",
            "user": "mlflow",
            "password": "",
            "sslmode": "require",
            "ca_path": "",
        },
        "s3": {
            "bucket": "",
            "prefix": "",
            "region": "",
            "endpoint_url": "",
            "access_key_id": "",
            "secret_access_key": "",
        },
    }
    return {**defaults, **{k: {**defaults[k], **v} if isinstance(v, dict) else v for k, v in changes.items()}}


def environment(given: dict[str, Any], folder: str = "") -> dict[str, str]:
    """The environment of the container."""
    return describe(given, "image", folder).env


def test_sqlite_and_a_folder_are_the_default() -> None:
    env = environment(options())
    assert env["MLFLOW_BACKEND_STORE_URI"] == "sqlite:////data/mlflow.db"
    assert env["MLFLOW_ARTIFACTS_DESTINATION"] == "/data/artifacts"
    assert env["MLFLOW_SERVER_ALLOWED_HOSTS"] == "localhost:*,127.0.0.1:*,ml.example.com"
    assert env["MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"] == "https://ml.example.com"
    assert env["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"


@pytest.mark.parametrize(
    ("postgresql", "uri"),
    [
        ({"host": "db"}, "postgresql+psycopg2://mlflow@db:5432/mlflow?sslmode=require"),
        ({"host": "db", "user": "m@x", "port": 1}, "postgresql+psycopg2://m%40x@db:1/mlflow?sslmode=require"),
        ({"host": "/run/pg"}, "postgresql+psycopg2://mlflow@/mlflow?host=%2Frun%2Fpostgresql&port=5432"),
        (
            {"host": "db", "sslmode": "verify-full", "ca_path": "/etc/ca.pem"},
            "postgresql+psycopg2://mlflow@db:5432/mlflow?sslmode=verify-full&sslrootcert=%2Frun%2Fpostgresql-ca.pem",
        ),
    ],
)
def test_postgresql_is_an_address_without_a_password(postgresql: dict[str, Any], uri: str) -> None:
    given = options(postgresql={**postgresql, "password": SECRET})
    assert environment(given, "/secrets")["MLFLOW_BACKEND_STORE_URI"] == uri
    assert environment(given, "/secrets")["PGPASSFILE"] == "/run/secrets/mlflow/pgpass"
    assert SECRET not in describe(given, "image", "/secrets").text()


def test_s3_takes_its_keys_from_a_file() -> None:
    s3 = {"bucket": "models", "prefix": "/a/", "access_key_id": "me", "secret_access_key": SECRET, "region": "eu"}
    env = environment(options(s3=s3), "/secrets")
    assert env["MLFLOW_ARTIFACTS_DESTINATION"] == "s3://models/a"
    assert env["AWS_SHARED_CREDENTIALS_FILE"] == "/run/secrets/mlflow/aws"
    assert "MLFLOW_S3_ENDPOINT_URL" not in env
    assert SECRET not in json.dumps(env)
    assert secret_files(options(s3=s3)) == {
        "aws": f"[default]\naws_access_key_id = me\naws_secret_access_key = {SECRET}\n"
    }


def test_s3_without_keys_is_the_instances_role() -> None:
    given = options(s3={"bucket": "models"})
    assert secret_files(given) == {}
    assert "AWS_SHARED_CREDENTIALS_FILE" not in environment(given)


def test_the_file_of_passwords_is_as_libpq_reads_it() -> None:
    given = options(postgresql={"host": "db", "password": SECRET})
    assert secret_files(given) == {"pgpass": "*:*:*:mlflow:s3cr\\:t\\\\\n"}


@pytest.mark.parametrize(
    ("wrong", "variable"),
    [
        ({"prefix": "mlflow"}, "mlflow_prefix"),
        ({"prefix": "/mlflow/"}, "mlflow_prefix"),
        ({"workers": 0}, "mlflow_workers"),
        ({"memory": "512"}, "mlflow_memory"),
        ({"image": "mlflow"}, "mlflow_image"),
        ({"image": "mlflow:latest"}, "mlflow_image"),
        ({"postgresql": {"password": SECRET}}, "mlflow_postgresql"),
        ({"s3": {"access_key_id": "me"}}, "mlflow_s3"),
        ({"s3": {"bucket": "models", "access_key_id": "me"}}, "mlflow_s3"),
    ],
)
def test_what_cannot_work_is_refused(wrong: dict[str, Any], variable: str) -> None:
    check(options())
    with pytest.raises(ServerError, match=f"^{variable}: ") as refused:
        check(options(**wrong))
    assert SECRET not in str(refused.value)


def server(folder: str = "", **changes: Any) -> Server:
    """The server in a container that runs."""
    text = describe(options(**changes), "image", folder).text()
    return Server.of_container({"Config": {"Labels": {SPEC_LABEL: text}}})


def test_a_container_says_where_its_data_is() -> None:
    found = server()
    assert isinstance(found.database(), Sqlite)
    assert vars(found.database())["_path"] == "/var/lib/modelyard/mlflow/mlflow.db"
    assert (found.data, found.owner) == ("/var/lib/modelyard/mlflow", 10001)
    assert found.artifacts == "/var/lib/modelyard/mlflow/artifacts"
    assert found.verify(5).url.startswith("http://127.0.0.1:5000/mlflow/api/2.0/")


def test_a_container_says_how_the_host_reaches_postgresql() -> None:
    found = server(
        "/etc/modelyard/mlflow/secrets-1",
        postgresql={"host": "/run/pg", "password": SECRET, "user": "m@x"},
        s3={"bucket": "b"},
    )
    database = found.database()
    assert isinstance(database, Postgresql)
    assert vars(database)["_environment"] == {
        "PGHOST": "/run/pg",
        "PGPORT": "5432",
        "PGUSER": "m@x",
        "PGDATABASE": "mlflow",
        "PGSSLMODE": "prefer",
        "PGPASSFILE": "/etc/modelyard/mlflow/secrets-1/pgpass",
    }
    assert found.artifacts == ""


def test_a_container_can_be_made_again() -> None:
    made = describe(options(postgresql={"host": "db", "password": SECRET}), "image", "/secrets")
    assert Server(made.body()).spec().text() == made.text()
    assert Server(made.body()).spec("other").image == "other"


def test_another_container_is_none_of_ours() -> None:
    for found in (None, {"Config": {"Labels": None}}):
        with pytest.raises(ServerError, match="let the role mlflow make the server first"):
            Server.of_container(found)


def test_a_command_runs_as_the_server_does() -> None:
    body = server().once("mlflow", "db", "upgrade", "x", network="none").body()
    assert (body["Entrypoint"], body["Cmd"]) == (["mlflow"], ["db", "upgrade", "x"])
    assert body["User"] == "10001:10001"
    assert body["HostConfig"]["PortBindings"] == {}
    assert body["HostConfig"]["RestartPolicy"] == {"Name": "no"}


@pytest.mark.parametrize(
    ("revision", "needed"),
    [("new", False), ("old", True), ("", True)],
)
def test_only_an_older_schema_is_upgraded(revision: str, needed: bool) -> None:
    assert upgrade_needed(revision, {"head": "new", "known": ["old", "new"]}) is needed


def test_an_image_older_than_the_schema_is_refused() -> None:
    with pytest.raises(ServerError, match=r"mlflow_image: .* revision newer, which this image's MLflow does not know"):
        upgrade_needed("newer", {"head": "new", "known": ["old", "new"]})


def test_each_version_of_secrets_has_a_folder(tmp_path: Path) -> None:
    folders = SecretFolders(str(tmp_path / "mlflow"), os.getuid())
    assert folders.write({}) == ""
    assert not (tmp_path / "mlflow").exists()
    first = folders.write({"pgpass": "one"})
    assert folders.write({"pgpass": "one"}) == first
    second = folders.write({"pgpass": "two"})
    assert Path(first, "pgpass").read_text() == "one", "what runs keeps what it began with"
    assert (Path(second).stat().st_mode & 0o777, Path(second, "pgpass").stat().st_mode & 0o777) == (0o700, 0o400)
    folders.prune(second)
    assert not Path(first).exists()
    folders.prune("")
    assert os.listdir(tmp_path / "mlflow") == []
