# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""owned: plan, diff, apply and revert on real folders."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.modelyard.mlops.plugins.module_utils.owned import (
    MISSING_ID,
    ConfigError,
    DesiredFile,
    Tree,
    apply,
    diff,
    plan,
    relative_path,
    revert,
)


def desired(text: str, mode: int = 0o640, secret: bool = False) -> DesiredFile:
    return DesiredFile(text.encode(), mode, secret)


def snapshot(root: Path) -> dict[str, tuple[int, str]]:
    """Every path below root with its mode and its content or target."""
    state = {}
    for path in sorted(root.rglob("*")):
        text = os.readlink(path) if path.is_symlink() else path.read_text() if path.is_file() else "folder"
        state[str(path.relative_to(root))] = (path.lstat().st_mode & 0o7777, text)
    return state


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with a file of ours, files of an owned folder, and files of somebody else."""
    root = tmp_path / "etc" / "service"
    (root / "rules" / "old").mkdir(parents=True)
    (root / "main.yml").write_text("old\n")
    (root / "rules" / "keep.yml").write_text("keep\n")
    (root / "rules" / "old" / "gone.yml").write_text("gone\n")
    (root / "theirs.yml").write_text("theirs\n")
    for path in root.rglob("*.yml"):
        path.chmod(0o640)
    return root


def tree(root: Path, files: dict[str, DesiredFile], **options: object) -> Tree:
    return Tree(root=str(root), files=files, **options)  # type: ignore[arg-type]


def test_the_tree_becomes_what_is_asked_and_only_that(root: Path) -> None:
    wanted = tree(root, {"main.yml": desired("new\n"), "rules/keep.yml": desired("keep\n")}, owned=("rules",))
    apply(plan(wanted))
    state = snapshot(root)
    assert state["main.yml"] == (0o640, "new\n")
    assert state["theirs.yml"] == (0o640, "theirs\n")
    assert sorted(state) == ["main.yml", "rules", "rules/keep.yml", "theirs.yml"]
    assert plan(wanted) == []


def test_a_plan_changes_nothing(root: Path) -> None:
    before = snapshot(root)
    diff(plan(tree(root, {"main.yml": desired("new\n"), "rules/a.yml": desired("a\n")}, owned=("rules",))))
    assert snapshot(root) == before


def test_revert_takes_everything_back(root: Path) -> None:
    before = snapshot(root)
    wanted = tree(
        root,
        {"main.yml": desired("new\n", 0o600), "rules/a/b.yml": desired("b\n"), "new/c.yml": desired("c\n")},
        owned=("rules", "targets"),
    )
    changes = plan(wanted)
    apply(changes)
    assert snapshot(root) != before
    revert(changes)
    assert snapshot(root) == before


@pytest.mark.parametrize("done", range(8))
def test_revert_of_a_half_applied_plan(root: Path, done: int) -> None:
    before = snapshot(root)
    changes = plan(tree(root, {"main.yml": desired("new\n"), "rules/a/b.yml": desired("b\n")}, owned=("rules",)))
    for change in changes[:done]:
        apply([change])
    revert(changes)
    assert snapshot(root) == before


def test_a_missing_root_is_made_and_taken_back_with_its_parents(tmp_path: Path) -> None:
    wanted = tree(tmp_path / "a" / "b", {"c/d.yml": desired("d\n")}, directory_mode=0o750)
    changes = plan(wanted)
    apply(changes)
    assert (tmp_path / "a" / "b" / "c").stat().st_mode & 0o7777 == 0o750
    assert plan(wanted) == []
    revert(changes)
    assert list(tmp_path.iterdir()) == []


def test_mode_alone_is_a_change(root: Path) -> None:
    wanted = tree(root, {"main.yml": desired("old\n", 0o600)}, directory_mode=0o700)
    changes = plan(wanted)
    assert [change.path for change in changes] == [str(root), str(root / "main.yml")]
    assert "mode: 0640" in diff(changes)[1]["before"]
    apply(changes)
    assert plan(wanted) == []


def test_without_directory_mode_existing_folders_stay_as_they_are(root: Path) -> None:
    root.chmod(0o711)
    assert plan(tree(root, {"main.yml": desired("old\n")})) == []


def test_an_owner_that_does_not_exist_yet_is_a_planned_change(root: Path) -> None:
    changes = plan(tree(root, {"main.yml": desired("old\n")}, gid=MISSING_ID))
    assert "gid: not created yet" in diff(changes)[0]["after"]


def test_an_owned_folder_is_not_emptied_by_accident(root: Path) -> None:
    with pytest.raises(ConfigError, match=r"rules holds 2 file\(s\).*allow_empty"):
        plan(tree(root, {}, owned=("rules",)))
    apply(plan(tree(root, {}, owned=("rules",), allow_empty=True)))
    assert list((root / "rules").iterdir()) == []


def test_the_diff_shows_contents_and_deletions(root: Path) -> None:
    files = {"main.yml": desired("new\n"), "rules/keep.yml": desired("keep\n")}
    shown = diff(plan(tree(root, files, owned=("rules",))))
    assert {"before": "old\n", "after": "new\n"}.items() <= shown[0].items()
    gone = next(entry for entry in shown if entry["before_header"].endswith("gone.yml"))
    assert (gone["before"], gone["after"]) == ("gone\n", "")


def test_the_diff_never_shows_a_secret(root: Path) -> None:
    (root / "rules" / "token").write_text("former-secret")
    (root / "rules" / "token").chmod(0o600)
    (root / "main.yml").chmod(0o600)
    files = {"main.yml": desired("public\n"), "rules/keep.yml": desired("new-secret", 0o600, secret=True)}
    text = str(diff(plan(tree(root, files, owned=("rules",)))))
    assert "secret changed" in text
    assert "secret removed" in text
    assert "former-secret" not in text
    assert "new-secret" not in text
    assert "old\\n" not in text


def test_a_link_is_replaced_and_its_target_untouched(root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.yml"
    outside.write_text("outside\n")
    (root / "main.yml").unlink()
    (root / "main.yml").symlink_to(outside)
    (root / "rules" / "folder").symlink_to(tmp_path)
    before = snapshot(root)
    changes = plan(tree(root, {"main.yml": desired("new\n"), "rules/keep.yml": desired("keep\n")}, owned=("rules",)))
    apply(changes)
    assert outside.read_text() == "outside\n"
    assert not (root / "main.yml").is_symlink()
    assert not os.path.lexists(root / "rules" / "folder")
    revert(changes)
    assert snapshot(root) == before


def test_a_linked_folder_is_never_entered(root: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (root / "targets").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="targets is a link where a folder is needed"):
        plan(tree(root, {"targets/a.yml": desired("a\n")}))


def test_what_cannot_be_restored_is_not_touched(root: Path) -> None:
    os.mkfifo(root / "rules" / "pipe")
    with pytest.raises(ConfigError, match="pipe is neither a file"):
        plan(tree(root, {"rules/keep.yml": desired("keep\n")}, owned=("rules",)))


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../x", "a/../b", "a//b", "./a", "a/", "a\0b"])
def test_paths_stay_inside_root(path: str) -> None:
    with pytest.raises(ConfigError, match="files: "):
        relative_path("files", path)


def test_collisions_are_refused(root: Path) -> None:
    with pytest.raises(ConfigError, match="as a file and"):
        plan(tree(root, {"a": desired(""), "a/b": desired("")}))
    with pytest.raises(ConfigError, match="owned folder"):
        plan(tree(root, {"a": desired("")}, owned=("a",)))
    with pytest.raises(ConfigError, match="is a folder where a file is needed"):
        plan(tree(root, {"rules": desired("")}))
