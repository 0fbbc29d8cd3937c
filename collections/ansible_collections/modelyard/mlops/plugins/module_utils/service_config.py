# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""One transaction for a service's configuration: stage, validate, swap, reload, verify, or all of it back.

The journal is what makes it a transaction. It is written before the first file moves and removed after the service
was seen to work, so a run that died in between (power, network, kill) leaves it, and the next run knows two things:
the service must be told again even if no file differs any more, and what the last good state was.
"""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import json
import os
import shutil
import signal
import stat
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.modelyard.mlops.plugins.module_utils.engine import UnixConnection
from ansible_collections.modelyard.mlops.plugins.module_utils.owned import (
    Change,
    ConfigError,
    Entry,
    Tree,
    apply,
    diff,
    plan,
    read_entry,
    remove_temporary,
    revert,
)

STATE_FOLDER = "/var/lib/modelyard/service_config"
# Of a service's journal, in an error.
LAST_LINES = 15
UNIT_FOLDER = "/etc/systemd/system"

# A unit may stumble once over something that is not up yet; the count starts anew with each restart of ours.
MANY_RESTARTS = 3


@dataclass(frozen=True)
class Verify:
    """How the service shows that it works with its new configuration.

    :ivar socket: the unix socket behind which `url` is; empty for a port.
    """

    url: str
    socket: str = ""
    status: int = 200
    contains: str = ""
    newer: str = ""
    timeout: float = 30.0

    def problem(self, since: float) -> str | None:
        """Ask once; return what is wrong, or None."""
        try:
            status, body = _fetch_from_socket(self.socket, self.url) if self.socket else _fetch(self.url)
        except (OSError, ValueError, http.client.HTTPException) as error:
            return f"{self.url} did not answer: {error}"
        if status != self.status:
            return f"{self.url} answered {status} instead of {self.status}: {body.strip()[:200]}"
        if self.contains and self.contains not in body:
            return f"{self.url} does not contain {self.contains!r}"
        if self.newer:
            moment = _gauge(body, self.newer)
            if moment is None:
                return f"{self.url} has no metric {self.newer}"
            if moment < since:
                return f"{self.url} shows in {self.newer} that the new configuration was not accepted"
        return None


def _fetch(url: str) -> tuple[int, str]:
    # A proxy from the environment must not stand between a host and its own service.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=5) as answer:
            return answer.status, answer.read().decode("utf-8", errors="replace")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode("utf-8", errors="replace")


def _fetch_from_socket(path: str, url: str) -> tuple[int, str]:
    with contextlib.closing(UnixConnection(path, timeout=5)) as connection:
        connection.request("GET", urllib.parse.urlsplit(url).path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode("utf-8", errors="replace")


def _gauge(body: str, name: str) -> float | None:
    for line in body.splitlines():
        if line.startswith((name + " ", name + "{")):
            return float(line.rsplit(" ", 1)[1])
    return None


class Systemd:
    """The few verbs of systemctl that a transaction needs, for one unit."""

    def __init__(self, unit: str) -> None:
        self.unit = unit if "." in unit else unit + ".service"

    def _call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(list(arguments), capture_output=True, text=True, check=False)

    def _property(self, name: str) -> str:
        try:
            return self._call("systemctl", "show", "--property", name, "--value", self.unit).stdout.strip()
        except FileNotFoundError:
            return ""

    def known(self) -> bool:
        """Whether systemd has a unit of this name."""
        return self._property("LoadState") in ("loaded", "masked")

    def active(self) -> bool:
        """Whether the unit runs now."""
        return self._property("ActiveState") in ("active", "reloading", "activating")

    def at_boot(self) -> bool:
        """Whether the unit runs after a boot, by itself or because another one wants it."""
        return self._call("systemctl", "is-enabled", self.unit).returncode == 0

    def enable(self) -> str | None:
        """Have the unit run after a boot. Return what went wrong, or None."""
        done = self._call("systemctl", "enable", self.unit)
        return f"systemctl enable {self.unit} failed: {done.stderr.strip()}" if done.returncode else None

    def failed(self) -> bool:
        """Whether the unit has given up, or starts again and again."""
        return self._property("ActiveState") == "failed" or int(self._property("NRestarts") or 0) >= MANY_RESTARTS

    def tell(self, action: str) -> str | None:
        """Reload or restart; start what does not run. Return what went wrong, or None."""
        # Always: NeedDaemonReload does not notice the first file in a drop-in folder that is new.
        self._call("systemctl", "daemon-reload")
        verb = action if action == "restart" or self.active() else "restart"
        if verb == "restart":
            # A unit which failed too often would refuse to start, whatever its configuration says by now.
            self._call("systemctl", "reset-failed", self.unit)
        done = self._call("systemctl", verb, self.unit)
        if done.returncode:
            return f"systemctl {verb} {self.unit} failed: {(done.stderr or done.stdout).strip()}"
        return None

    def stop(self) -> None:
        """Stop the unit, if there is one."""
        self._call("systemctl", "daemon-reload")
        self._call("systemctl", "stop", self.unit)

    def journal(self, since: float) -> str:
        """The unit's last words."""
        # Not with --lines: together with --since, journalctl of systemd 252 gives the first ones.
        command = ("journalctl", "--unit", self.unit, "--since", f"@{int(since)}", "--output", "cat")
        try:
            # What the service said as it died may still be on its way into the journal.
            self._call("journalctl", "--sync")
            said = self._call(*command, "--no-pager", "--quiet").stdout.strip().splitlines()
        except FileNotFoundError:
            return ""
        return "\n".join(said[-LAST_LINES:])


@dataclass
class Request:
    """All that one task asks for."""

    tree: Tree
    units: Tree | None = None
    validate: list[str] = field(default_factory=list)
    service: Systemd | None = None
    enabled: bool = False
    action: str = "reload"
    verify: Verify | None = None
    check: bool = False
    state_folder: str = STATE_FOLDER


@dataclass
class Outcome:
    """What was done, or in check mode would be done."""

    changed_files: list[str]
    deleted_files: list[str]
    diff: list[dict[str, str]]
    applied: str = ""
    resumed: bool = False
    started: bool = False
    enabled: bool = False

    @property
    def configured(self) -> bool:
        """Whether anything was or would be done about the configuration."""
        return bool(self.changed_files or self.deleted_files or self.resumed)

    @property
    def changed(self) -> bool:
        """Whether anything was or would be done."""
        return self.configured or self.started or self.enabled


def _make_state_folder(folder: str) -> None:
    parent = os.path.dirname(folder)
    if not os.path.isdir(parent):
        # Others keep things there that not only root reads, whatever root's umask says.
        os.makedirs(parent)
        os.chmod(parent, 0o755)
    os.makedirs(folder, mode=0o700, exist_ok=True)


class Journal:
    """The record of a transaction under way: each path that it touches, as it was before."""

    def __init__(self, folder: str, root: str, service: Systemd | None) -> None:
        # Several services may keep a file of theirs in one folder, such as that of systemd's units.
        name = root.strip("/").replace("/", "-") + (f"@{service.unit}" if service else "")
        self.path = os.path.join(folder, name + ".json")

    def read(self) -> dict[str, Any] | None:
        """What an earlier run left behind, or None."""
        try:
            with open(self.path, encoding="utf-8") as stream:
                return json.load(stream)  # type: ignore[no-any-return]
        except FileNotFoundError:
            return None

    def write(self, changes: list[Change], action: str) -> None:
        """Put down what will be touched; on disk before this returns."""
        _make_state_folder(os.path.dirname(self.path))
        record = {"action": action, "changes": [_to_json(change) for change in changes]}
        temporary = self.path + ".new"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            json.dump(record, stream)
            stream.flush()
            os.fsync(descriptor)
        os.replace(temporary, self.path)

    def remove(self) -> None:
        """The transaction is over."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)


def _to_json(change: Change) -> dict[str, Any]:
    return {
        "path": change.path,
        "before": change.before.to_json() if change.before else None,
        "after": change.after.to_json() if change.after else None,
    }


def _from_json(value: dict[str, Any]) -> Change:
    before, after = (Entry.from_json(value[key]) if value[key] else None for key in ("before", "after"))
    return Change(value["path"], before, after)


def _with_last_good_state(changes: list[Change], record: dict[str, Any] | None) -> list[Change]:
    """The changes to take back on failure: all the way to where an interrupted run before this one began."""
    if record is None:
        return changes
    earlier = [_from_json(value) for value in record["changes"]]
    by_path = {change.path: change for change in changes}
    merged = []
    for change in earlier:
        now = by_path.pop(change.path, None)
        merged.append(Change(change.path, change.before, now.after if now else change.after))
    return [*merged, *by_path.values()]


def _skip_special(folder: str, names: list[str]) -> list[str]:
    """Sockets and pipes cannot be copied, and no validator needs them."""
    skipped = []
    for name in names:
        mode = os.lstat(os.path.join(folder, name)).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)):
            skipped.append(name)
    return skipped


@contextlib.contextmanager
def staged(tree: Tree, changes: list[Change]) -> Iterator[str]:
    """A private copy of the whole root as it will be, other people's files included."""
    with tempfile.TemporaryDirectory(prefix="modelyard-stage-") as parent:
        stage = os.path.join(parent, os.path.basename(tree.root))
        if os.path.isdir(tree.root):
            shutil.copytree(tree.root, stage, symlinks=True, ignore=_skip_special)
        else:
            os.mkdir(stage)
        for change in changes:
            if change.path != tree.root and not change.path.startswith(tree.root + "/"):
                continue
            path = stage + change.path[len(tree.root) :]
            apply([Change(path, read_entry(path), _mine(change.after))])
        yield stage


def _mine(entry: Entry | None) -> Entry | None:
    """The same entry under this process's own user: the owner it will have may not exist yet in check mode."""
    return entry and Entry(entry.kind, entry.mode | stat.S_IRUSR, os.geteuid(), os.getegid(), entry.data)


def _validate(request: Request, changes: list[Change]) -> None:
    if not request.validate:
        return
    if shutil.which(request.validate[0]) is None:
        if request.check:
            return
        raise ConfigError(f"validate: the program {request.validate[0]} is not installed on this host")
    with staged(request.tree, changes) as stage:
        command = [argument.replace("{root}", stage) for argument in request.validate]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=stage)
        if done.returncode:
            words = (done.stdout + done.stderr).replace(stage, request.tree.root).strip()
            raise ConfigError(
                f"{os.path.basename(request.validate[0])} refuses the new configuration of {request.tree.root}; "
                f"nothing was changed. It says:\n{words[-4000:]}"
            )


def _apply_to_service(request: Request, action: str) -> str | None:
    """Tell the service and watch it; return what is wrong, or None."""
    service = request.service
    if service is None:
        return None
    since = time.time()
    problem = service.tell(action)
    if problem:
        return problem
    if request.verify is None:
        return f"{service.unit} does not run any more" if service.failed() else None
    deadline = time.monotonic() + request.verify.timeout
    while True:
        problem = request.verify.problem(since)
        if problem is None:
            return None
        if service.failed():
            return f"{service.unit} does not stay up"
        if time.monotonic() > deadline:
            return f"{problem} (waited {request.verify.timeout:g} s)"
        time.sleep(0.3)


@contextlib.contextmanager
def _locked(path: str) -> Iterator[None]:
    """One transaction per root at a time."""
    _make_state_folder(os.path.dirname(path))
    with open(path, "w", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(
                "another run is changing the same configuration at this moment; run again later"
            ) from None
        yield


@contextlib.contextmanager
def _signals_raise() -> Iterator[None]:
    """Let a hang-up or a kill end the transaction as an error does: by taking it back."""

    def stop(number: int, _frame: Any) -> None:
        raise InterruptedError(f"stopped by signal {number}")

    numbers = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
    former: dict[int, Any] = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _take_back(request: Request, undo: list[Change], journal: Journal, action: str, ran: bool) -> str:
    """Restore the last good state; return one sentence on how the service fares with it."""
    revert(undo)
    if request.service is None:
        state = "The former files are back."
    elif not ran:
        request.service.stop()
        state = "The former files are back, and the service is stopped as it was."
    else:
        problem = _apply_to_service(request, action)
        state = (
            f"The former files are back, but with them too: {problem}."
            if problem
            else "The former configuration is back, and the service runs with it."
        )
    journal.remove()
    return state


def _commit(request: Request, changes: list[Change], journal: Journal, record: dict[str, Any] | None) -> str:
    action = request.action
    if request.units is not None and any(change.path.startswith(request.units.root + "/") for change in changes):
        action = "restart"
    if record is not None and record["action"] == "restart":
        action = "restart"
    undo = _with_last_good_state(changes, record)
    ran = request.service is not None and request.service.active()
    started = time.time()
    with _signals_raise():
        try:
            journal.write(undo, action)
            apply(changes)
            problem = _apply_to_service(request, action)
        except BaseException as error:
            state = _take_back(request, undo, journal, action, ran)
            raise ConfigError(f"{request.tree.root}: {str(error) or type(error).__name__}. {state}") from error
        # Without a service there is nothing that could have a problem.
        if problem and request.service is not None:
            words = request.service.journal(started)
            state = _take_back(request, undo, journal, action, ran)
            raise ConfigError(f"{request.tree.root}: {problem}. {state} The service's last words:\n{words}")
        journal.remove()
    return action if request.service is not None else ""


def _bring_unit(changes: list[Change], unit: str) -> bool:
    return any(change.path == os.path.join(UNIT_FOLDER, unit) and change.after for change in changes)


def converge(request: Request) -> Outcome:
    """Make the host's files what the request says, and the service run with them."""
    journal = Journal(request.state_folder, request.tree.root, request.service)
    lock: Callable[[], Any] = contextlib.nullcontext if request.check else lambda: _locked(journal.path + ".lock")
    with lock():
        record = journal.read()
        if record is not None and not request.check:
            for value in record["changes"]:
                remove_temporary(value["path"])
        changes = plan(request.tree)
        if request.units is not None:
            changes += plan(request.units)
        outcome = Outcome(
            changed_files=[change.path for change in changes if change.after is not None],
            deleted_files=[change.path for change in changes if change.after is None],
            diff=diff(changes),
            resumed=record is not None,
        )
        if outcome.configured:
            outcome.applied = _configure(request, changes, journal, record)
        if request.service is not None and request.enabled:
            _keep_running(request, request.service, outcome)
        return outcome


def _configure(request: Request, changes: list[Change], journal: Journal, record: dict[str, Any] | None) -> str:
    """Validate and commit, if this is no preview; return how the service was told, or would be."""
    _validate(request, changes)
    service = request.service
    if request.check:
        return request.action if service else ""
    if service is not None and not service.known() and not _bring_unit(changes, service.unit):
        raise ConfigError(f"service: systemd knows no unit {service.unit}; nothing was changed")
    return _commit(request, changes, journal, record)


def _keep_running(request: Request, service: Systemd, outcome: Outcome) -> None:
    """Have the service run now, if nothing has started it by now, and after a boot."""
    # A preview has not started it; what would be told would start it.
    outcome.started = not outcome.applied and not service.active()
    outcome.enabled = not service.at_boot()
    if outcome.started:
        outcome.diff.append({"header": service.unit, "before": "stopped\n", "after": "running\n"})
    if outcome.enabled:
        outcome.diff.append({"header": service.unit, "before": "disabled\n", "after": "enabled\n"})
    if request.check:
        return
    since = time.time()
    problem = service.enable() if outcome.enabled else None
    if outcome.started and not problem:
        problem = _apply_to_service(request, "restart")
    if problem:
        raise ConfigError(f"{problem}. The service's last words:\n{service.journal(since)}")
