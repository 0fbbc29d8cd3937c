# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from delivery.errors import DeliveryError
from delivery.yard import ROOT, Yard


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    for environment in ("rehearsal", "production"):
        (tmp_path / "terraform/environments" / environment).mkdir(parents=True)
    return tmp_path


def test_an_unknown_environment_is_refused_with_the_known_ones(clone: Path) -> None:
    with pytest.raises(DeliveryError, match=r"ENV=staging is not.*production, rehearsal"):
        Yard.named("staging", root=clone)


@pytest.mark.parametrize("name", ["Upper", "-dash", "with space", "x" * 22, "a/b"])
def test_a_name_that_cannot_name_resources_is_refused(clone: Path, name: str) -> None:
    with pytest.raises(DeliveryError, match="YARD="):
        Yard.named("rehearsal", name, root=clone)


def test_two_yards_of_one_environment_share_nothing(clone: Path) -> None:
    one, other = (Yard.named("rehearsal", name, root=clone) for name in ("one", "other"))
    assert one.state != other.state
    assert one.inventory == other.inventory


def test_a_second_run_in_the_same_yard_is_told_who_holds_it(clone: Path) -> None:
    yard = Yard.named("rehearsal", root=clone)
    holder = (
        "import sys; from pathlib import Path; from delivery.yard import Yard\n"
        "with Yard.named('rehearsal', root=Path(sys.argv[1])).locked('up'):\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(clone)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": str(ROOT / "playbooks")},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(DeliveryError, match=rf"busy: make up, process {process.pid}, since"), yard.locked("down"):
            pass
        process.kill()
        process.wait()
        with yard.locked("down"):
            assert "make down" in (yard.state / "lock").read_text()


def test_images_of_a_tag_are_a_yards_own_while_no_other_has_it(clone: Path) -> None:
    one, other = (Yard.named("rehearsal", name, root=clone) for name in ("one", "other"))
    for tag in ("aaa", "bbb", "aaa"):
        one.note_tag(tag)
    assert one.tags() == ["aaa", "bbb"]
    with other.locked("up"):
        other.note_tag("bbb")
    assert one.tags() == ["aaa"]


def test_a_commit_is_needed(clone: Path) -> None:
    with pytest.raises(DeliveryError, match="no git clone"):
        Yard.named("rehearsal", root=clone).commit()
