# SPDX-License-Identifier: Apache-2.0
"""What the inventory's variables come to, as Ansible sees them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from delivery.yard import ROOT

NAMES = {"mlflow": "modelyard/mlflow:abc", "training": "modelyard/iris-train:abc"}
KEYS = "{{ {'mlflow': mlflow_image_key, 'training': training_run_jobs[0].image_key} }}"


@pytest.mark.parametrize("transferred", [{}, {what: f"sha256:{what}" for what in NAMES}])
def test_an_image_that_was_transferred_is_known_by_its_key(tmp_path: Path, transferred: dict[str, str]) -> None:
    facts = {"image_transfer_results": {NAMES[what]: {"key": key} for what, key in transferred.items()}}
    assert _evaluate(tmp_path, KEYS, facts if transferred else {}) == {**dict.fromkeys(NAMES, ""), **transferred}


def test_with_session_manager_ssh_asks_for_a_session_with_the_instance(tmp_path: Path) -> None:
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars/all").symlink_to(ROOT / "playbooks/inventory/production/group_vars/all")
    (tmp_path / "hosts").write_text("yard-1 ansible_host=192.0.2.1 aws_instance_id=i-0123456789abcdef0\n")
    aws = tmp_path / "aws"
    aws.write_text('#!/bin/sh\necho "$@" > "$MODELYARD_STATE/asked"\n')
    aws.chmod(0o755)
    done = _ansible(
        tmp_path,
        *("-m", "ansible.builtin.ping", "-e", '{"modelyard_session_manager": true}'),
        PATH=f"{tmp_path}:{os.environ['PATH']}",
        MODELYARD_STATE=str(tmp_path),
    )
    assert "UNREACHABLE" in done.stdout
    assert (tmp_path / "asked").read_text().split() == [
        *("ssm", "start-session", "--target", "i-0123456789abcdef0"),
        *("--document-name", "AWS-StartSSHSession", "--parameters", "portNumber=22"),
    ]


def _evaluate(folder: Path, expression: str, facts: dict[str, Any]) -> Any:
    """Return what an expression is for a host that has everything."""
    (folder / "group_vars").mkdir()
    (folder / "group_vars/all.yml").symlink_to(ROOT / "playbooks/inventory/common.yml")
    (folder / "hosts").write_text("".join(f"[{group}]\nyard-1\n" for group in ("tracking", "training", "app")))
    done = _ansible(folder, "-m", "ansible.builtin.debug", "-a", f"msg={expression}", "-e", json.dumps(facts))
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.partition("=>")[2])["msg"]


def _ansible(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    settings = {
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
        "MODELYARD_COMMIT": "abc",
    }
    return subprocess.run(
        [str(Path(sys.executable).with_name("ansible")), "yard-1", "-i", str(folder / "hosts"), *arguments],
        env={**os.environ, **settings, **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
