# SPDX-License-Identifier: Apache-2.0
"""The small rooms of the delivery: images, secrets, playbook output, collections, the summary."""

from __future__ import annotations

import json
import os
import subprocess
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from delivery import collections, engine, images, secrets, site, summary
from delivery.errors import DeliveryError
from delivery.yard import ROOT, Yard
from rehearsal import bodies


def _tree(root: Path) -> Path:
    (root / "src").mkdir(parents=True)
    (root / "Dockerfile").write_text("FROM scratch\n")
    (root / "src/serve.py").write_text("print()\n")
    return root


def test_the_same_sources_have_the_same_digest_wherever_they_lie(tmp_path: Path) -> None:
    one, other = _tree(tmp_path / "one"), _tree(tmp_path / "other")
    (other / "src/__pycache__").mkdir()
    (other / "src/__pycache__/serve.pyc").write_bytes(b"left behind")
    assert images.source_digest(one, "base") == images.source_digest(other, "base")


@pytest.mark.parametrize("change", ["content", "mode", "name", "base"])
def test_every_change_of_the_sources_changes_the_digest(tmp_path: Path, change: str) -> None:
    folder = _tree(tmp_path / "folder")
    before = images.source_digest(folder, "base")
    file = folder / "src/serve.py"
    match change:
        case "content":
            file.write_text("print(1)\n")
        case "mode":
            file.chmod(0o755)
        case "name":
            file.rename(folder / "src/other.py")
    assert images.source_digest(folder, "new base" if change == "base" else "base") != before


def test_what_is_no_part_of_an_image_does_not_change_its_digest(tmp_path: Path) -> None:
    folder = _tree(tmp_path / "folder")
    before = images.source_digest(folder, "base", without=["serving"])
    (folder / "src/serving").mkdir()
    (folder / "src/serving/page.html").write_text("new\n")
    assert images.source_digest(folder, "base", without=["serving"]) == before
    assert images.source_digest(folder, "base") != before


def test_secrets_are_made_once_are_private_and_survive(tmp_path: Path) -> None:
    path = tmp_path / "secrets.yml"
    path.write_text("mine: kept\n")
    assert secrets.ensure(path)
    made = yaml.safe_load(path.read_text())
    assert path.stat().st_mode & 0o777 == 0o600
    assert made["mine"] == "kept"
    assert all(len(made[name]) >= 24 for name in secrets.MAKERS)
    assert len({made[name] for name in secrets.MAKERS}) == len(secrets.MAKERS)
    assert made["modelyard_tracking_certificate"].count("-----BEGIN") == 2
    assert not secrets.ensure(path)
    assert yaml.safe_load(path.read_text()) == made


def test_the_inventory_asks_for_the_secrets_that_are_made() -> None:
    inventory = yaml.safe_load((ROOT / "playbooks/inventory/common.yml").read_text())
    assert set(inventory["modelyard_secrets"]) == set(secrets.MAKERS)
    assert inventory["modelyard_tracking_name"] == secrets.TRACKING


def test_the_reason_of_a_failure_is_told_once() -> None:
    lines = [
        "TASK [Deploy] ***",
        "[ERROR]: Task failed: Module failed: iris: release 6 was refused",
        "worker 9 serves iris",
        "Origin: /somewhere/deploy.yml:95:7",
        "",
        "95     - name: Deploy",
        "TASK [See that it serves] ***",
        "[ERROR]: Task failed: Action failed: iris: release 6 was refused",
        "worker 9 serves iris",
        "Origin: /somewhere/deploy.yml:99:7",
        "PLAY RECAP ****",
    ]
    assert site.reasons(lines) == ["iris: release 6 was refused", "worker 9 serves iris"]


def test_the_recap_of_a_playbook_is_read() -> None:
    lines = [
        "TASK [docker : Install] ***",
        "changed: [yard-1]",
        "PLAY RECAP ****",
        "yard-1                     : ok=42   changed=3    unreachable=0    failed=0    skipped=9    rescued=0 ",
        "yard-2                     : ok=40   changed=0    unreachable=0    failed=0    skipped=9    rescued=0 ",
    ]
    assert site.recap(lines) == {"yard-1": site.Recap(42, 3), "yard-2": site.Recap(40, 0)}
    assert site.progress(lines[0]) == "docker : Install"
    assert site.progress(lines[1]) is None


@pytest.mark.parametrize(
    "line",
    [
        "yard-1: modelyard/mlflow:36ae29f24568: 5.6 MB of 103.5 MB, 17.9 MB/s, 5 s left",
        "[yard-1] training iris: 10 s: training on 117 rows of scikit-learn, 33 held out",
    ],
)
def test_a_long_task_shows_how_far_it_got(line: str) -> None:
    assert site.progress(line) == line


def _wheel(path: Path, version: str) -> Path:
    with zipfile.ZipFile(path / "ansible-12.0.0-py3-none-any.whl", "w") as archive:
        for name in ("ansible/posix", "community/other"):
            folder = f"ansible_collections/{name}/"
            archive.writestr(folder + "MANIFEST.json", json.dumps({"collection_info": {"version": version}}))
            archive.writestr(folder + "plugins/modules/x.py", "")
    return path / "ansible-12.0.0-py3-none-any.whl"


def test_only_the_wanted_collections_come_out_of_the_wheel(tmp_path: Path) -> None:
    wanted = {"ansible.posix": "2.1.0"}
    assert collections.missing(wanted, tmp_path) == wanted
    collections.unpack(_wheel(tmp_path, "2.1.0"), wanted, tmp_path)
    assert collections.missing(wanted, tmp_path) == {}
    assert not (tmp_path / "ansible_collections/community").exists()


def test_a_wheel_with_another_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DeliveryError, match=r"ansible.posix 2.1.0, .* holds 1.0.0"):
        collections.unpack(_wheel(tmp_path, "1.0.0"), {"ansible.posix": "2.1.0"}, tmp_path)


def test_no_builder_is_said_clearly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = tmp_path / "docker"
    client.write_text('#!/bin/sh\n[ "$1" = version ] && { echo \'"28.0.1"\'; exit 0; }\nexit 1\n')
    client.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    monkeypatch.setattr(Path, "exists", lambda self: str(self) == str(client))
    with pytest.raises(DeliveryError, match="BuildKit"):
        engine.builder()


def test_a_dead_daemon_is_told_from_a_living_one() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        pid = str(process.pid)
        assert engine._runs(pid, "sleep")
        assert not engine._runs(pid, "dockerd")
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert not engine._runs(pid, "sleep"), "it waits to be reaped"
    assert not engine._runs(pid, "sleep")


def test_a_network_that_is_taken_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = [
        SimpleNamespace(attrs={"IPAM": {"Config": [{"Subnet": "10.77.0.0/23"}]}}),
        SimpleNamespace(attrs={"IPAM": {"Config": None}}),
        SimpleNamespace(attrs={"IPAM": {"Config": [{"Subnet": "fd00::/64"}]}}),
    ]
    client = SimpleNamespace(networks=SimpleNamespace(list=lambda: taken))
    monkeypatch.setattr("docker.from_env", lambda: client)
    assert bodies.free_network() == "10.77.2.0/24"
    with pytest.raises(DeliveryError, match=r"10\.77\.0\.0/23"):
        bodies.free_network("10.77.0.0/23")


def test_the_summary_says_where_what_and_how_long(tmp_path: Path) -> None:
    yard = Yard("rehearsal", "one", tmp_path)
    places = site.Places(*["10.77.0.4"] * 3)
    text = summary.text(yard, places, summary.Served("iris", "3", "7", 0.9533, grafana=False), {"site": 61.4}, 0)
    for expected in (
        "iris version 3 serves as release 7, accuracy 0.953",
        "curl -X POST http://10.77.0.4/predict",
        str(yard.secrets),
        str(yard.log),
        "site 61",
        "no server",
        "0 tasks changed",
        "make down YARD=one",
    ):
        assert expected in text
