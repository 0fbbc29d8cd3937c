# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""certbot_certificates: which names get, deploy or give up a certificate."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.modelyard.mlops.plugins.module_utils.certbot import PROGRAM, kept
from ansible_collections.modelyard.mlops.plugins.modules.certbot_certificates import Plan


def test_plan_compares_names() -> None:
    plan = Plan.make(wanted=["new", "kept", "lost"], keeps=["kept", "lost", "old"], deployed=["kept", "old"])
    assert plan == Plan(obtain=["new"], deploy=["lost"], remove=["old"])


def test_only_certificates_whose_renewal_calls_the_ingress_are_its_own(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "iris.example.org.conf", tmp_path / "mail.example.org.conf"
    ours.write_text(f"[renewalparams]\nrenew_hook = {PROGRAM} deploy\n")
    theirs.write_text("[renewalparams]\nrenew_hook = systemctl reload postfix\n")
    assert kept([str(theirs), str(ours)]) == ["iris.example.org"]
