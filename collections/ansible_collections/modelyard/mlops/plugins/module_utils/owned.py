# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""What a folder on a host should hold, compared with what it holds.

A plan is a list of changes, and a change is nothing but a path with its state before and after. Applying a plan
moves each path to its state after, taking it back moves each path to its state before, and the diff shows both:
there is one description of the work, so check mode, the real run and the rollback cannot disagree.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

# An owner or group which does not exist yet; only check mode on a fresh host gets that far.
MISSING_ID = -2

TEMPORARY_SUFFIX = ".modelyard-new"


class ConfigError(Exception):
    """Something the author of the task can mend. Its text is the whole message."""


@dataclass(frozen=True)
class Entry:
    """The state of one path: kind is ``file``, ``directory`` or ``link``; data is the content or the link's target."""

    kind: str
    mode: int
    uid: int
    gid: int
    data: bytes = field(default=b"", repr=False)

    def to_json(self) -> dict[str, Any]:
        """For the journal; bytes travel as base64."""
        encoded = base64.b64encode(self.data).decode("ascii")
        return {"kind": self.kind, "mode": self.mode, "uid": self.uid, "gid": self.gid, "data": encoded}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Entry:
        """The reverse of to_json."""
        return cls(value["kind"], value["mode"], value["uid"], value["gid"], base64.b64decode(value["data"]))


@dataclass(frozen=True)
class Change:
    """One path and its state before and after; None means that nothing is there."""

    path: str
    before: Entry | None
    after: Entry | None
    hidden: bool = False

    @property
    def content_changes(self) -> bool:
        """Whether more than the owner, the group or the mode changes."""
        if self.before is None or self.after is None:
            return True
        return (self.before.kind, self.before.data) != (self.after.kind, self.after.data)


@dataclass(frozen=True)
class DesiredFile:
    """A file which must exist, under a path relative to the root of its tree."""

    content: bytes = field(repr=False)
    mode: int
    secret: bool = False


@dataclass(frozen=True)
class Tree:
    """The desired state of one root folder.

    uid, gid and directory_mode may be None: then what exists is left alone, and what is new gets the defaults.
    """

    root: str
    files: dict[str, DesiredFile]
    owned: tuple[str, ...] = ()
    allow_empty: bool = False
    uid: int | None = None
    gid: int | None = None
    directory_mode: int | None = None
    secret_mode: int = 0o600


def relative_path(option: str, path: str) -> str:
    """Return the path if it stays inside its root, else raise ConfigError."""
    parts = path.split("/")
    if not path or "\0" in path or os.path.isabs(path) or any(part in ("", ".", "..") for part in parts):
        raise ConfigError(
            f"{option}: {path!r} is not a path inside root; write it relative to root, without '.', '..' or '//'"
        )
    return path


def read_entry(path: str) -> Entry | None:
    """The state of a path, never following a link; None when nothing is there."""
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    mode = stat.S_IMODE(status.st_mode)
    if stat.S_ISDIR(status.st_mode):
        return Entry("directory", mode, status.st_uid, status.st_gid)
    if stat.S_ISLNK(status.st_mode):
        return Entry("link", mode, status.st_uid, status.st_gid, os.fsencode(os.readlink(path)))
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(
            f"{path} is neither a file nor a folder nor a link; remove it by hand, or choose another path"
        )
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "rb") as stream:
        return Entry("file", mode, status.st_uid, status.st_gid, stream.read())


def _is_below(path: str, folder: str) -> bool:
    return path.startswith(folder + "/")


def _check_collisions(tree: Tree) -> None:
    for path in tree.files:
        for other in tree.files:
            if _is_below(other, path):
                raise ConfigError(f"{path!r} is asked for as a file and, because of {other!r}, as a folder")
    for folder in tree.owned:
        if folder in tree.files:
            raise ConfigError(f"{folder!r} is asked for as a file and as an owned folder")


def _missing_ancestors(root: str) -> list[str]:
    """The folders above root which do not exist, outermost first."""
    missing: list[str] = []
    parent = os.path.dirname(root)
    while not os.path.isdir(parent):
        missing.insert(0, parent)
        parent = os.path.dirname(parent)
    return missing


def _folders(tree: Tree) -> list[str]:
    """The absolute paths of root and of each folder that must exist in it, outermost first."""
    relative = set(tree.owned)
    for path in [*tree.files, *tree.owned]:
        parent = os.path.dirname(path)
        while parent:
            relative.add(parent)
            parent = os.path.dirname(parent)
    return [tree.root, *(os.path.join(tree.root, path) for path in sorted(relative))]


def _folder_change(path: str, uid: int | None, gid: int | None, mode: int | None) -> Change | None:
    before = read_entry(path)
    if before is None:
        after = Entry(
            "directory",
            0o755 if mode is None else mode,
            os.geteuid() if uid is None else uid,
            os.getegid() if gid is None else gid,
        )
        return Change(path, None, after)
    if before.kind != "directory":
        raise ConfigError(
            f"{path} is a {before.kind} where a folder is needed; remove it by hand, or choose another path"
        )
    if mode is None:
        return None
    after = Entry("directory", mode, before.uid if uid is None else uid, before.gid if gid is None else gid)
    return None if after == before else Change(path, before, after)


def _file_change(tree: Tree, relative: str, wanted: DesiredFile) -> Change | None:
    path = os.path.join(tree.root, relative)
    before = read_entry(path)
    if before is not None and before.kind == "directory":
        raise ConfigError(f"{path} is a folder where a file is needed; remove it by hand, or choose another path")
    uid = before.uid if before else os.geteuid()
    gid = before.gid if before else os.getegid()
    after = Entry(
        "file",
        wanted.mode,
        uid if tree.uid is None else tree.uid,
        gid if tree.gid is None else tree.gid,
        wanted.content,
    )
    # What was readable by its owner alone may be a former secret, whatever the task says now.
    was_private = before is not None and before.kind == "file" and before.mode & 0o077 == 0
    return None if after == before else Change(path, before, after, hidden=wanted.secret or was_private)


def _removals(tree: Tree, folder: str) -> list[Change]:
    """What must go from one owned folder: files that nobody asks for, and folders left without any file."""
    top = os.path.join(tree.root, folder)
    wanted = {os.path.join(tree.root, path) for path in tree.files}
    needed = set(_folders(tree))
    files: list[Change] = []
    folders: list[Change] = []
    for current, names, leaves in os.walk(top, topdown=False):
        # os.walk counts a link to a folder among the folders: here it is a leaf, never to be entered.
        links = [name for name in names if os.path.islink(os.path.join(current, name))]
        for name in sorted([*leaves, *links]):
            path = os.path.join(current, name)
            if path not in wanted:
                before = read_entry(path)
                private = before is not None and (before.mode & 0o077 == 0 or before.mode == tree.secret_mode)
                files.append(Change(path, before, None, hidden=private))
        if current not in needed:
            folders.append(Change(current, read_entry(current), None))
    keeps = any(_is_below(path, folder) for path in tree.files)
    if files and not keeps and not tree.allow_empty:
        raise ConfigError(
            f"the owned folder {top} holds {len(files)} file(s) and the task asks for none there, "
            "which would empty it; if that is meant, set allow_empty: true"
        )
    return [*files, *folders]


def plan(tree: Tree) -> list[Change]:
    """What must change under the tree's root, in the order in which it can be done. Nothing is changed yet."""
    _check_collisions(tree)
    changes: list[Change | None] = [_folder_change(path, None, None, None) for path in _missing_ancestors(tree.root)]
    changes += [_folder_change(path, tree.uid, tree.gid, tree.directory_mode) for path in _folders(tree)]
    changes += [_file_change(tree, path, wanted) for path, wanted in sorted(tree.files.items())]
    for folder in tree.owned:
        changes += _removals(tree, folder)
    return [change for change in changes if change is not None]


def temporary_path(path: str) -> str:
    """Where a file's new content waits for its rename: hidden, beside the file, so on the same file system."""
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name}{TEMPORARY_SUFFIX}")


def remove_temporary(path: str) -> None:
    """Clear away what a run that died may have left beside a path."""
    if os.path.isdir(os.path.dirname(path)):
        _remove(temporary_path(path))


def _prepare(path: str, entry: Entry) -> None:
    """Write what the path shall hold beside it, complete with owner and mode."""
    temporary = temporary_path(path)
    _remove(temporary)
    if entry.kind == "link":
        os.symlink(os.fsdecode(entry.data), temporary)
        os.chown(temporary, entry.uid, entry.gid, follow_symlinks=False)
        return
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(entry.data)
        stream.flush()
        os.fchown(descriptor, entry.uid, entry.gid)
        os.fchmod(descriptor, entry.mode)
        os.fsync(descriptor)


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _remove_folder(path: str) -> None:
    try:
        os.rmdir(path)
    except OSError as error:
        # Somebody else put a file there meanwhile: it is not ours to delete.
        if error.errno not in (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST):
            raise


def _make_folder(path: str, entry: Entry) -> None:
    if not os.path.isdir(path):
        os.mkdir(path, 0o700)
    os.chown(path, entry.uid, entry.gid)
    os.chmod(path, entry.mode)


def apply(changes: Iterable[Change]) -> None:
    """Move each path to its state after.

    Everything that can run out of space happens before the first rename; from there on there are only renames and
    removals.
    """
    changes = list(changes)
    for change in changes:
        if change.after is not None and change.after.kind == "directory":
            _make_folder(change.path, change.after)
    written = [(c.path, c.after) for c in changes if c.after is not None and c.after.kind != "directory"]
    for path, after in written:
        _prepare(path, after)
    for path, _after in written:
        os.replace(temporary_path(path), path)
    for change in changes:
        if change.after is None:
            if change.before is not None and change.before.kind == "directory":
                _remove_folder(change.path)
            else:
                _remove(change.path)


def revert(changes: Iterable[Change]) -> None:
    """Move each path back to its state before, whether or not its change had been made."""
    backwards = [Change(change.path, change.after, change.before) for change in reversed(list(changes))]
    for change in backwards:
        remove_temporary(change.path)
    # Folders that come back must exist, outermost first, before their files do.
    back = [change for change in backwards if change.after is not None and change.after.kind == "directory"]
    rest = [change for change in backwards if change not in back]
    apply([*sorted(back, key=lambda change: change.path), *rest])


def _describe(entry: Entry | None) -> str:
    if entry is None:
        return ""
    owner, group = (("not created yet" if number == MISSING_ID else str(number)) for number in (entry.uid, entry.gid))
    return f"type: {entry.kind}\nmode: {entry.mode:04o}\nuid: {owner}\ngid: {group}\n"


def _text(entry: Entry | None) -> str:
    if entry is None:
        return ""
    if entry.kind == "link":
        return f"link to {os.fsdecode(entry.data)}\n"
    return entry.data.decode("utf-8", errors="replace")


def diff(changes: Iterable[Change]) -> list[dict[str, str]]:
    """The changes as Ansible shows them under --diff; of a hidden file only that it changed."""
    shown: list[dict[str, str]] = []
    for change in changes:
        kinds = {entry.kind for entry in (change.before, change.after) if entry is not None}
        if change.content_changes and kinds != {"directory"}:
            before, after = _text(change.before), _text(change.after)
            if change.hidden:
                verb = "added" if change.before is None else "removed" if change.after is None else "changed"
                before, after = "", f"secret {verb}\n"
            shown.append(_shown(change.path, before, after))
        before_attributes, after_attributes = _describe(change.before), _describe(change.after)
        if before_attributes != after_attributes:
            shown.append(_shown(f"{change.path} (attributes)", before_attributes, after_attributes))
    return shown


def _shown(header: str, before: str, after: str) -> dict[str, str]:
    return {"before_header": header, "after_header": header, "before": before, "after": after}
