# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""certbot_certificates: which names get, deploy or give up a certificate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.modelyard.mlops.plugins.module_utils.certbot import PROGRAM, kept
from ansible_collections.modelyard.mlops.plugins.modules import certbot_certificates
from ansible_collections.modelyard.mlops.plugins.modules.certbot_certificates import Plan
from ansible_collections.modelyard.mlops.tests.unit.plugins.running import run_module


def test_plan_compares_names() -> None:
    plan = Plan.make(wanted=["new", "kept", "lost"], keeps=["kept", "lost", "old"], deployed=["kept", "old"])
    assert plan == Plan(obtain=["new"], deploy=["lost"], remove=["old"])


def test_only_certificates_whose_renewal_calls_the_ingress_are_its_own(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "iris.example.org.conf", tmp_path / "mail.example.org.conf"
    ours.write_text(f"[renewalparams]\nrenew_hook = {PROGRAM} deploy\n")
    theirs.write_text("[renewalparams]\nrenew_hook = systemctl reload postfix\n")
    assert kept([str(theirs), str(ours)]) == ["iris.example.org"]


class Host:
    """A host on which certbot keeps and HAProxy has some certificates; `failing` is the command that fails."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.renewals, self.files = folder / "renewal", folder / "files"
        self.renewals.mkdir()
        self.files.mkdir()
        self.ran: list[str] = []
        self.failing = "nothing"
        monkeypatch.setattr(certbot_certificates, "RENEWALS", str(self.renewals))
        monkeypatch.setattr(certbot_certificates, "DEPLOYED", str(self.files))

    def keeps(self, name: str, hook: str = f"{PROGRAM} deploy") -> None:
        (self.renewals / f"{name}.conf").write_text(f"[renewalparams]\nrenew_hook = {hook}\n")
        (self.files / f"{name}.pem").touch()

    def __call__(self, command: list[str]) -> tuple[int, str, str]:
        words = " ".join(command)
        self.ran.append(words)
        return (1, "", "the reason\n") if self.failing in words else (0, "", "")

    def run(self, *names: str, **options: Any) -> dict[str, Any]:
        arguments = {"names": list(names), "email": "ops@example.org", **options}
        return run_module(certbot_certificates.main, arguments, self)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, monkeypatch)


def test_a_name_gets_its_certificate_and_haproxy_has_it_even_if_the_hook_was_silent(host: Host) -> None:
    said = host.run("new.example.org")
    assert said["obtained"] == ["new.example.org"]
    assert "--cert-name=new.example.org --domain=new.example.org" in host.ran[0]
    assert host.ran[1] == f"{PROGRAM} deploy"


def test_what_is_kept_and_used_costs_no_command(host: Host) -> None:
    host.keeps("iris.example.org")
    assert host.run("iris.example.org")["changed"] is False
    assert host.ran == []


def test_a_name_that_code_has_no_more_goes_from_haproxy_first(host: Host) -> None:
    host.keeps("old.example.org")
    assert host.run()["removed"] == ["old.example.org"]
    assert [command.split()[0] for command in host.ran] == [PROGRAM, "certbot"]


def test_a_preview_says_what_would_happen_and_runs_nothing(host: Host) -> None:
    host.keeps("old.example.org")
    said = host.run("new.example.org", _ansible_check_mode=True, _ansible_diff=True)
    assert said["diff"] == {"before": "old.example.org\n", "after": "new.example.org\n"}
    assert (said["changed"], host.ran) == (True, [])


def test_somebody_elses_certificate_is_left_alone(host: Host) -> None:
    host.keeps("mail.example.org", hook="systemctl reload postfix")
    said = host.run("mail.example.org")
    assert said["failed"]
    assert "certbot keeps mail.example.org for somebody else" in said["msg"]


def test_a_certificate_wants_an_address_to_write_to(host: Host) -> None:
    assert host.run("new.example.org", email="")["msg"] == "email: needed to get a certificate for new.example.org"


@pytest.mark.parametrize(
    ("failing", "words"),
    [
        ("certonly", "certbot got no certificate for new.example.org"),
        (f"{PROGRAM} deploy", "certbot got no certificate for new.example.org"),
        (f"{PROGRAM} remove", "the certificate of old.example.org is still in HAProxy"),
        ("certbot delete", "certbot still keeps old.example.org"),
    ],
)
def test_a_failure_says_what_could_not_be_done_and_why(failing: str, words: str, host: Host) -> None:
    host.keeps("old.example.org")
    host.failing = failing
    said = host.run(*["new.example.org"] if "new" in words else [])
    assert words in said["msg"]
    assert said["msg"].endswith("the reason")
