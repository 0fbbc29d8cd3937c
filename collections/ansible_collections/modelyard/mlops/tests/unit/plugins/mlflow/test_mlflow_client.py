# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""MlflowClient: what it asks, and what it says when the answer is of no use."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.modelyard.mlops.plugins.module_utils.mlflow_client import (
    MlflowClient,
    MlflowError,
    MlflowMissing,
    MlflowUnreachable,
    RemoteFile,
)

from .fakes import ROOT, FakeMlflow


def test_an_alias_and_a_number_resolve_to_the_same_version(server: FakeMlflow) -> None:
    client = MlflowClient(server.uri)
    version = client.aliased("iris", "champion")
    assert version == client.version("iris", "2")
    assert (version.version, version.run_id, version.artifact_path) == ("2", "run", ROOT)
    assert version.tags == server.tags


def test_files_are_found_in_folders_too(server: FakeMlflow) -> None:
    client = MlflowClient(server.uri + "/")
    files = client.files(client.aliased("iris", "champion"))
    assert [file.path for file in files] == ["checksums.json", "meta/model.json", "model.onnx", "model.pkl"]
    assert files[2] == RemoteFile("model.onnx", 7000)


def test_an_alias_that_points_nowhere_names_what_there_is(server: FakeMlflow) -> None:
    with pytest.raises(MlflowMissing, match=r"'winner' points nowhere.*Versions: 1, 2, 10; aliases: champion -> 2"):
        MlflowClient(server.uri).aliased("iris", "winner")


def test_a_version_that_does_not_exist_names_what_there_is(server: FakeMlflow) -> None:
    with pytest.raises(MlflowMissing, match=r"no version 7 of 'iris'.*Versions: 1, 2, 10"):
        MlflowClient(server.uri).version("iris", "7")


def test_a_model_that_does_not_exist_is_named(server: FakeMlflow) -> None:
    with pytest.raises(MlflowMissing, match="no model 'rose' at all"):
        MlflowClient(server.uri).aliased("rose", "champion")


def test_no_server_is_unreachable(server: FakeMlflow) -> None:
    server.close()
    with pytest.raises(MlflowUnreachable, match="no MLflow server answers at"):
        MlflowClient(server.uri).aliased("iris", "champion")


def test_a_missing_prefix_is_guessed(server: FakeMlflow) -> None:
    with pytest.raises(MlflowError, match="its prefix is missing in the address"):
        MlflowClient(server.uri.removesuffix("/mlflow")).aliased("iris", "champion")


def test_a_login_is_sent_and_asked_for(server: FakeMlflow) -> None:
    server.login = "deploy:secret"
    assert MlflowClient(server.uri, "deploy", "secret").aliased("iris", "champion").version == "2"
    with pytest.raises(MlflowError, match=r"wants a login.*Check username and password") as failure:
        MlflowClient(server.uri, "deploy", "wrong-secret").aliased("iris", "champion")
    assert "wrong-secret" not in str(failure.value)


def test_a_redirect_is_not_followed_with_the_login(server: FakeMlflow) -> None:
    server.redirect = "https://elsewhere.example.com/mlflow"
    with pytest.raises(MlflowError, match=r"redirects to https://elsewhere\.example\.com"):
        MlflowClient(server.uri, "deploy", "secret").aliased("iris", "champion")


def test_files_that_the_server_does_not_serve_are_refused(server: FakeMlflow) -> None:
    server.location = "s3://bucket/1/run"
    with pytest.raises(MlflowError, match=r"s3://bucket/1/run.*--serve-artifacts"):
        MlflowClient(server.uri).aliased("iris", "champion")


@pytest.mark.parametrize("uri", ["", "mlflow.example.com", "file:///etc/passwd"])
def test_only_http_is_spoken(uri: str) -> None:
    with pytest.raises(MlflowError, match="must begin with http"):
        MlflowClient(uri)


def test_unreadable_certificates_are_named(tmp_path: Path) -> None:
    with pytest.raises(MlflowError, match=r"ca_path: .*missing\.pem"):
        MlflowClient("https://ml.example.com", ca_path=str(tmp_path / "missing.pem"))
