# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest

from delivery import terraform_program
from delivery.errors import DeliveryError


def program(folder: Path, version: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "terraform"
    path.write_text(f'#!/bin/sh\necho \'{{"terraform_version": "{version}"}}\'\n')
    path.chmod(0o755)
    return path


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A release to be fetched, whose digest is the pinned one, and no Terraform on PATH."""
    archive = tmp_path / "release.zip"
    with zipfile.ZipFile(archive, "w") as writing:
        writing.writestr("LICENSE.txt", "words")
        writing.writestr("terraform", "#!/bin/sh\n")
    monkeypatch.setattr(terraform_program, "DOWNLOAD", archive.as_uri())
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    monkeypatch.setattr(terraform_program, "SHA256", dict.fromkeys(terraform_program.SHA256, digest))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    return archive


@pytest.mark.parametrize(("said", "read"), [("1.11.4", (1, 11)), ("1.9.8", (1, 9)), ("2.0.0-rc1", (2, 0)), ("?", (0,))])
def test_version(tmp_path: Path, said: str, read: tuple[int, ...]) -> None:
    assert terraform_program.version(program(tmp_path, said)) == read


def test_the_one_on_path_is_taken_when_it_is_new_enough(
    tmp_path: Path, release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = program(tmp_path / "bin", "1.10.0")
    monkeypatch.setenv("PATH", f"{there.parent}:/usr/bin:/bin")
    assert terraform_program.find(tmp_path / "tools") == there


def test_the_pinned_release_is_fetched_once_where_path_has_an_old_one(
    tmp_path: Path, release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = program(tmp_path / "bin", "1.9.8")
    monkeypatch.setenv("PATH", f"{old.parent}:/usr/bin:/bin")
    fetched = terraform_program.find(tmp_path / "tools")
    assert fetched.read_text() == "#!/bin/sh\n"
    assert fetched.stat().st_mode & 0o111
    release.unlink()
    assert terraform_program.find(tmp_path / "tools") == fetched


def test_a_release_with_another_digest_is_refused(tmp_path: Path, release: Path) -> None:
    release.write_bytes(release.read_bytes() + b"\0")
    with pytest.raises(DeliveryError, match="not the pinned release"):
        terraform_program.find(tmp_path / "tools")
    assert not list(tmp_path.glob("tools/**/terraform"))


def test_no_way_to_a_terraform_says_what_to_do(tmp_path: Path, release: Path) -> None:
    release.unlink()
    with pytest.raises(DeliveryError, match=r"no Terraform 1.10 or newer on PATH.*install Terraform"):
        terraform_program.find(tmp_path / "tools")


@pytest.mark.parametrize("packed", [False, True])
def test_a_mirror_is_one_that_has_the_locked_version_for_this_machine(tmp_path: Path, packed: bool) -> None:
    machine = terraform_program.machine()
    providers = tmp_path / "mirror/registry.example.com/hashicorp/aws"
    name = f"terraform-provider-aws_5.100.0_linux_{machine}.zip" if packed else f"5.100.0/linux_{machine}"
    (providers / name).mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    places = [tmp_path / "absent", tmp_path / "empty", tmp_path / "mirror"]
    assert terraform_program.mirror("5.100.0", places) == tmp_path / "mirror"
    assert terraform_program.mirror("5.99.1", places) is None


def test_the_callers_mirror_is_the_only_place() -> None:
    assert terraform_program.mirror_places({"MODELYARD_TF_MIRROR": "/srv/mirror"}) == [Path("/srv/mirror")]
