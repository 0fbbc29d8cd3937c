# SPDX-License-Identifier: Apache-2.0
"""Files that cannot be read are refused, all at once and by name, before anything is changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from delivery import sources
from delivery.errors import DeliveryError
from delivery.yard import ROOT

RULES = "collections/ansible_collections/modelyard/mlops/roles/prometheus/files/rules/hosts.yml"
DASHBOARD = "collections/ansible_collections/modelyard/mlops/roles/grafana/files/dashboards/hosts.json"


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def test_every_broken_file_is_named_with_its_line(tmp_path: Path) -> None:
    write(tmp_path, {"playbooks/site.yml": "---\n- name: [\n", DASHBOARD: '{\n"a": }', RULES: "groups: []\n"})
    with pytest.raises(DeliveryError) as caught:
        sources.check(tmp_path)
    told = str(caught.value)
    assert "playbooks/site.yml: line 3: " in told
    assert f"{DASHBOARD}: line 2: Expecting value" in told
    assert RULES not in told


def test_a_vault_and_several_documents_can_be_read(tmp_path: Path) -> None:
    write(tmp_path, {"playbooks/a.yml": "key: !vault |\n  text\nlist: !unsafe [a]\n---\nb: 1\n"})
    sources.check(tmp_path)


def test_this_commit_can_be_read() -> None:
    sources.check(ROOT)
