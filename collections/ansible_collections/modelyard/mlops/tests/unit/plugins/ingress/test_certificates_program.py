# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""The program on the host that keeps the ingress' certificates; real ones are replaced in the molecule scenario."""

from __future__ import annotations

import importlib.util
import subprocess
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SOURCE = Path(__file__).parents[4] / "roles/ingress/files/certificates.py"


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The program, with its folders elsewhere."""
    specification = importlib.util.spec_from_file_location("certificates", SOURCE)
    assert specification
    assert specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    folders = (tmp_path / "certificates", tmp_path / "certificates/modelyard")
    folders[1].mkdir(parents=True)
    monkeypatch.setattr(module, "FOLDERS", folders)
    monkeypatch.setattr(module, "FIGURES", tmp_path / "no exporter/ingress.prom")
    monkeypatch.setattr(module, "SELF_SIGNED", tmp_path / "self-signed.pem")
    return module


class Haproxy:
    """A running process that has read some files."""

    def __init__(self, used: dict[Path, str] | None) -> None:
        self.used = used
        self.reloads = 0

    def certificates(self) -> set[Path] | None:
        return None if self.used is None else set(self.used)

    def fingerprint(self, path: Path) -> str:
        assert self.used is not None
        return self.used[path]

    def replace(self, path: Path, pem: str) -> None:
        assert self.used is not None
        self.used[path] = pem

    def reload(self) -> None:
        self.reloads += 1


def pem(path: Path) -> str:
    """A certificate and its key."""
    key, certificate = path.with_suffix(".k"), path.with_suffix(".c")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-subj", "/CN=x", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return key.read_text() + certificate.read_text()


def keep(program: ModuleType, used: dict[Path, str] | None) -> Haproxy:
    haproxy = Haproxy(used)
    program.keep(haproxy)
    return haproxy


def test_host_gets_a_certificate_of_its_own_once(program: ModuleType) -> None:
    keep(program, None)
    first = program.SELF_SIGNED.read_text()
    program.check(program.SELF_SIGNED)
    assert program.SELF_SIGNED.stat().st_mode & 0o777 == 0o600
    keep(program, None)
    assert program.SELF_SIGNED.read_text() == first


def test_certificate_that_ends_soon_is_renewed(program: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(program, None)
    first = program.SELF_SIGNED.read_text()
    monkeypatch.setattr(program, "RENEW_DAYS", program.DAYS + 1)
    keep(program, None)
    assert program.SELF_SIGNED.read_text() != first


def test_changed_file_is_replaced_and_the_same_is_not(program: ModuleType, tmp_path: Path) -> None:
    keep(program, None)
    path = program.FOLDERS[0] / "x.pem"
    path.write_text(pem(tmp_path / "x"))
    same = program.fingerprint(program.SELF_SIGNED.read_text())
    haproxy = keep(program, {program.SELF_SIGNED: same, path: "another"})
    assert haproxy.used == {program.SELF_SIGNED: same, path: path.read_text()}
    assert haproxy.reloads == 0


def test_new_and_gone_files_are_a_reload(program: ModuleType, tmp_path: Path) -> None:
    keep(program, None)
    same = program.fingerprint(program.SELF_SIGNED.read_text())
    path = program.FOLDERS[1] / "x.pem"
    others = tmp_path / "elsewhere.pem"
    assert keep(program, {program.SELF_SIGNED: same, path: "x"}).reloads == 1
    assert keep(program, {program.SELF_SIGNED: same, others: "x"}).reloads == 0
    path.write_text(pem(tmp_path / "x"))
    assert keep(program, {program.SELF_SIGNED: same}).reloads == 1


def test_bad_file_is_named_and_stops_neither_the_good_ones_nor_the_service(program: ModuleType, tmp_path: Path) -> None:
    keep(program, None)
    bad, good = program.FOLDERS[0] / "a.pem", program.FOLDERS[0] / "b.pem"
    good.write_text(pem(tmp_path / "b"))
    bad.write_text(
        good.read_text().partition("-----BEGIN CERTIFICATE")[0] + pem(tmp_path / "c").partition("KEY-----\n")[2]
    )
    haproxy = Haproxy({program.SELF_SIGNED: program.fingerprint(program.SELF_SIGNED.read_text()), good: "another"})
    with pytest.raises(program.CertificateError, match=r"a\.pem: certificate, chain and key must be in one PEM file"):
        program.keep(haproxy)
    assert haproxy.used
    assert haproxy.used[good] == good.read_text()
    assert haproxy.reloads == 0


def test_certbots_two_files_become_one(program: ModuleType, tmp_path: Path) -> None:
    lineage = tmp_path / "live/x.example.org"
    lineage.mkdir(parents=True)
    key, _unused, certificate = pem(tmp_path / "x").partition("-----BEGIN CERTIFICATE")
    (lineage / "privkey.pem").write_text(key)
    (lineage / "fullchain.pem").write_text("-----BEGIN CERTIFICATE" + certificate)
    program.take_over(lineage)
    program.check(program.FOLDERS[0] / "x.example.org.pem")


def test_node_exporter_shows_when_certificates_end(
    program: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "FIGURES", tmp_path / "ingress.prom")
    (program.FOLDERS[0] / "bad.pem").write_text("none")
    keep(program, None)
    name, value = (tmp_path / "ingress.prom").read_text().splitlines()[-1].split()
    assert name == 'modelyard_certificate_end_timestamp_seconds{file="self-signed.pem"}'
    assert program.DAYS - 1 < (int(value) - time.time()) / 86400 <= program.DAYS
    assert (tmp_path / "ingress.prom").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("arguments", [[], ["delete"]])
def test_unknown_verb_is_refused(program: ModuleType, arguments: list[Any]) -> None:
    with pytest.raises(program.CertificateError, match="not a verb"):
        program.main(arguments)
