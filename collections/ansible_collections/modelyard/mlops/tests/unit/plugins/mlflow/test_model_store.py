# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""ModelStore: fetched whole and checked, or not there at all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ansible_collections.modelyard.mlops.plugins.module_utils.mlflow_client import MlflowClient, MlflowError
from ansible_collections.modelyard.mlops.plugins.module_utils.model_store import ModelError, ModelStore, safe_path

from .fakes import FakeMlflow


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(str(tmp_path / "models"), "iris")


def fetch(store: ModelStore, server: FakeMlflow) -> tuple[Path, str]:
    client = MlflowClient(server.uri)
    version = client.aliased("iris", "champion")
    digest, _unused = store.fetch(client, version)
    return Path(store.path(version)), digest


def known(store: ModelStore, server: FakeMlflow) -> str | None:
    return store.digest(MlflowClient(server.uri).aliased("iris", "champion"))


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_sealed_files_arrive_and_nothing_else(store: ModelStore, server: FakeMlflow) -> None:
    folder, digest = fetch(store, server)
    assert folder.name == "2"
    assert content(folder) == {path: server.files[path] for path in ("model.onnx", "meta/model.json", "checksums.json")}
    assert digest == server.tags["modelyard.checksums"]
    assert known(store, server) == digest
    assert "model.pkl" not in server.downloads()
    assert {path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_dir()} == {0o755}


def test_a_model_without_checksums_gets_them(store: ModelStore, server: FakeMlflow) -> None:
    del server.files["checksums.json"]
    server.tags = {}
    folder, digest = fetch(store, server)
    checksums = json.loads((folder / "checksums.json").read_text())
    assert checksums == {path: hashlib.sha256(data).hexdigest() for path, data in server.files.items()}
    assert known(store, server) == digest


def _corrupt(server: FakeMlflow) -> None:
    server.files["model.onnx"] = b"WEIGHTS" * 1000


def _reseal(server: FakeMlflow) -> None:
    server.tags["modelyard.checksums"] = "0" * 64


def _unseal(server: FakeMlflow) -> None:
    del server.files["checksums.json"]


def _lose(server: FakeMlflow) -> None:
    del server.files["model.onnx"]


def _truncate(server: FakeMlflow) -> None:
    server.truncated = {"model.onnx"}


def _climb(server: FakeMlflow) -> None:
    server.files["../../../escaped"] = b""


def _climb_by_checksums(server: FakeMlflow) -> None:
    server.files["checksums.json"] = json.dumps({"../escaped": "0" * 64}).encode()


def _garble(server: FakeMlflow) -> None:
    server.files["checksums.json"] = b"[1]"


def _empty(server: FakeMlflow) -> None:
    server.files, server.tags = {}, {}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_corrupt, "model.onnx has the SHA-256 .* it is corrupt"),
        (_reseal, "checksums.json has the SHA-256 .* was registered"),
        (_unseal, "has the tag modelyard.checksums, and no file checksums.json"),
        (_lose, "lacks files that its checksums.json names: model.onnx"),
        (_truncate, "model.onnx"),
        (_climb, r"names a file '\.\./\.\./\.\./escaped'.*refused"),
        (_climb_by_checksums, r"names a file '\.\./escaped'.*refused"),
        (_garble, "checksums.json is not a list of paths"),
        (_empty, "has no files at"),
    ],
)
def test_what_is_damaged_is_never_left_in_place(
    store: ModelStore, server: FakeMlflow, tmp_path: Path, damage: Callable[[FakeMlflow], None], message: str
) -> None:
    damage(server)
    with pytest.raises((ModelError, MlflowError), match=message):
        fetch(store, server)
    assert [path.name for path in (tmp_path / "models/iris").iterdir()] == [".lock"]
    assert not list(tmp_path.rglob("escaped"))


def test_a_failed_fetch_keeps_what_was_there(store: ModelStore, server: FakeMlflow) -> None:
    folder, digest = fetch(store, server)
    server.truncated = {"model.onnx"}
    with pytest.raises(MlflowError):
        fetch(store, server)
    assert known(store, server) == digest
    assert (folder / "model.onnx").read_bytes() == server.files["model.onnx"]


def test_altered_files_are_not_taken_for_the_version(store: ModelStore, server: FakeMlflow) -> None:
    folder, _unused = fetch(store, server)
    (folder / "model.onnx").write_bytes(b"altered")
    assert known(store, server) is None
    fetch(store, server)
    assert (folder / "model.onnx").read_bytes() == server.files["model.onnx"]


def test_the_same_number_from_a_registry_built_anew_is_another_version(store: ModelStore, server: FakeMlflow) -> None:
    fetch(store, server)
    server.run_id = "another"
    assert known(store, server) is None


def test_a_folder_without_its_record_was_never_finished(store: ModelStore, server: FakeMlflow) -> None:
    folder, _unused = fetch(store, server)
    folder.with_name("2.json").unlink()
    assert known(store, server) is None


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../a", "a/../../b", "a//b", "./a", "a\\b", "a\0"])
def test_paths_that_leave_the_folder_are_refused(path: str) -> None:
    with pytest.raises(ModelError, match="refused"):
        safe_path(path)


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden", "a b"])
def test_names_that_are_no_folder_are_refused(name: str) -> None:
    with pytest.raises(ModelError, match="name:"):
        ModelStore("/models", name)
