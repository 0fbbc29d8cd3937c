# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""What a host remembers of an app: its releases, what became of them, and a deployment that is under way.

/var/lib/modelyard/apps/APP/ledger.json                which release serves, and the history
/var/lib/modelyard/apps/APP/releases/N/release.json    written once, never changed
/var/lib/modelyard/apps/APP/journal.json               only while a deployment is under way, or after it died
/var/lib/modelyard/apps/APP/lock                       held by the process that deploys
/etc/modelyard/apps/APP/N/                             the release's secrets, one file each, for root alone
/etc/modelyard/apps/fingerprint.key                    makes the fingerprints of secrets useless elsewhere
"""

from __future__ import annotations

import datetime
import json
import os
import secrets as random
import shutil
import typing as t
from dataclasses import asdict, dataclass, field

from .release import Release, ReleaseError

STATE_ROOT = "/var/lib/modelyard"
CONFIG_ROOT = "/etc/modelyard"
HISTORY_LIMIT = 100


@dataclass(frozen=True)
class Active:
    """The release that serves, and where."""

    release: int
    slot: str
    since: str


@dataclass
class Journal:
    """A deployment under way: written before each step, removed after the last.

    :ivar vacated: since when nothing serves, because the old release had to make room; empty when it had not.
    :ivar downtime: seconds that this lasted.
    :ivar baseline: how well the old release served before the switch.
    :ivar note: what the history shall say of a release that serves.
    """

    action: str
    release: int
    slot: str
    previous_slot: str | None
    by: str
    commit: str
    started: str
    step: str = ""
    vacated: str = ""
    downtime: float = 0.0
    baseline: dict[str, float | None] = field(default_factory=dict)
    note: str = ""
    delivery: str = ""


@dataclass
class Attempt:
    """One line of the history: what was tried, and how it ended.

    :ivar downtime: seconds in which nothing served.
    :ivar delivery: the run over several hosts that it was a part of; empty if none was named.
    """

    action: str
    release: int
    started: str
    finished: str
    by: str
    commit: str
    outcome: str
    reason: str = ""
    downtime: float = 0.0
    delivery: str = ""

    @property
    def kind(self) -> str:
        """The outcome, told apart by what was tried: not everything that serves again is a new release."""
        served = {"restore": "restored", "rollback": "rolled_back", "undo": "rolled_back"}
        return served.get(self.action, self.outcome) if self.outcome == "served" else self.outcome


@dataclass
class Ledger:
    """What serves, what was taken back and must not return by itself, and the history, newest last.

    :ivar forgotten: how many attempts have left the history, by their kind: counts must not fall when it is cut.
    """

    active: Active | None = None
    held: list[int] = field(default_factory=list)
    history: list[Attempt] = field(default_factory=list)
    forgotten: dict[str, int] = field(default_factory=dict)

    def add(self, attempt: Attempt) -> None:
        """Append to the history. The same attempt twice is one: a run that died may have to say it again."""
        last = self.history[-1] if self.history else None
        if last and (last.action, last.release, last.started) == (attempt.action, attempt.release, attempt.started):
            self.history.pop()
        self.history = [*self.history, attempt]
        while len(self.history) > HISTORY_LIMIT:
            kind = self.history.pop(0).kind
            self.forgotten[kind] = self.forgotten.get(kind, 0) + 1

    def outcomes(self) -> dict[str, int]:
        """How many attempts there ever were, by their kind."""
        counts = dict(self.forgotten)
        for attempt in self.history:
            counts[attempt.kind] = counts.get(attempt.kind, 0) + 1
        return counts

    def brought_by(self, delivery: str) -> bool:
        """Whether the release that serves was deployed as a part of that run over several hosts."""
        if self.active is None:
            return False
        came = [a for a in self.history if a.outcome == "served" and a.release == self.active.release]
        return bool(came) and (came[-1].action, came[-1].delivery) == ("deploy", delivery)

    def served(self) -> list[int]:
        """The releases that have served, each once, the latest first."""
        numbers = [attempt.release for attempt in reversed(self.history) if attempt.outcome == "served"]
        return list(dict.fromkeys(numbers))


class AppStore:
    """The files of one app on this host."""

    def __init__(self, name: str, state_root: str = STATE_ROOT, config_root: str = CONFIG_ROOT) -> None:
        self.name = name
        self._apps = os.path.join(state_root, "apps")
        self._models = os.path.join(state_root, "models")
        self._config = config_root
        self._secrets = os.path.join(config_root, "apps")
        self.folder = os.path.join(self._apps, name)

    def ledger(self) -> Ledger:
        """The ledger; an empty one when the app was never here."""
        value = _read_json(os.path.join(self.folder, "ledger.json"))
        if value is None:
            return Ledger()
        return Ledger(
            active=Active(**value["active"]) if value["active"] else None,
            held=value["held"],
            history=[Attempt(**item) for item in value["history"]],
            # Ledgers of before 0.1.0 have none.
            forgotten=value.get("forgotten", {}),
        )

    def save(self, ledger: Ledger) -> None:
        """Replace the ledger."""
        _write_json(os.path.join(self.folder, "ledger.json"), asdict(ledger))

    def journal(self) -> Journal | None:
        """The deployment that is under way, or died."""
        value = _read_json(os.path.join(self.folder, "journal.json"))
        return Journal(**value) if value else None

    def write_journal(self, journal: Journal) -> None:
        """Say what happens next, before it happens."""
        _write_json(os.path.join(self.folder, "journal.json"), asdict(journal))

    def clear_journal(self) -> None:
        """The deployment is over."""
        os.unlink(os.path.join(self.folder, "journal.json"))

    def release(self, number: int) -> Release:
        """A release that is still kept.

        :raises ReleaseError: it is not.
        """
        value = _read_json(self._release_file(number))
        if value is None:
            kept = ", ".join(map(str, self.numbers())) or "none"
            raise ReleaseError(f"release: {self.name} has no release {number} on this host; kept are: {kept}")
        return Release.from_json(value)

    def numbers(self) -> list[int]:
        """The releases that are kept, the oldest first."""
        try:
            return sorted(int(name) for name in os.listdir(os.path.join(self.folder, "releases")) if name.isdigit())
        except FileNotFoundError:
            return []

    def next_number(self) -> int:
        """The number of the release after the last, kept or not."""
        return max([0, *self.numbers(), *(attempt.release for attempt in self.ledger().history)]) + 1

    def add(self, release: Release, secrets: dict[str, str]) -> None:
        """Keep a new release with its secrets."""
        if secrets:
            folder = self.secrets_folder(release.number)
            self._make_private(folder)
            for name, value in secrets.items():
                _write(os.path.join(folder, name), value, 0o400)
        _write_json(self._release_file(release.number), release.to_json())

    def secrets_folder(self, number: int) -> str:
        """Where the secrets of a release are."""
        return os.path.join(self._secrets, self.name, str(number))

    def fingerprint_key(self, create: bool) -> bytes:
        """The host's own key for the fingerprints of secrets; empty when there is none and none is to be made."""
        path = os.path.join(self._secrets, "fingerprint.key")
        try:
            with open(path, "rb") as stream:
                return stream.read()
        except FileNotFoundError:
            if not create:
                return b""
        self._make_private(self._secrets)
        _write(path, random.token_hex(32), 0o400)
        return self.fingerprint_key(create=False)

    def prune(self, keep: int) -> list[int]:
        """Forget all but the active, the held and the newest `keep` releases, and models that no kept one needs."""
        ledger = self.ledger()
        stay = {*ledger.served()[:keep], *ledger.held, *([ledger.active.release] if ledger.active else [])}
        gone = [number for number in self.numbers() if number not in stay]
        models = {self.release(number).model.get("path", "") for number in gone}
        for number in gone:
            self.forget(number)
        for path in models - self._models_in_use():
            # Only what mlflow_model put there is ours to delete.
            if path.startswith(self._models + os.sep):
                shutil.rmtree(path, ignore_errors=True)
        return gone

    def forget(self, number: int) -> None:
        """Drop one release and its secrets."""
        shutil.rmtree(self.secrets_folder(number), ignore_errors=True)
        shutil.rmtree(os.path.dirname(self._release_file(number)), ignore_errors=True)

    def forget_releases(self) -> None:
        """Drop all releases and secrets. The history stays: it says what was here, and when it went."""
        for number in self.numbers():
            self.forget(number)
        shutil.rmtree(os.path.join(self._secrets, self.name), ignore_errors=True)

    def _make_private(self, folder: str) -> None:
        """Make a folder for root alone: whoever may read the files in it is let in by a mount."""
        os.makedirs(self._config, mode=0o755, exist_ok=True)
        former = os.umask(0o077)
        try:
            os.makedirs(folder, exist_ok=True)
        finally:
            os.umask(former)

    def _release_file(self, number: int) -> str:
        return os.path.join(self.folder, "releases", str(number), "release.json")

    def _models_in_use(self) -> set[str]:
        used: set[str] = set()
        for name in known_apps(os.path.dirname(self._apps)):
            store = AppStore(name, os.path.dirname(self._apps))
            used.update(store.release(number).model.get("path", "") for number in store.numbers())
        return used


def known_apps(state_root: str = STATE_ROOT) -> list[str]:
    """The apps that this host remembers."""
    try:
        return sorted(entry.name for entry in os.scandir(os.path.join(state_root, "apps")) if entry.is_dir())
    except FileNotFoundError:
        return []


def now(later: float = 0.0) -> str:
    """This moment, or a later one, in UTC and to the millisecond: it also tells one attempt from the next."""
    moment = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=later)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def seconds_since(moment: str) -> float:
    """Seconds from a moment, as `now` writes it, until this one."""
    begun = datetime.datetime.fromisoformat(moment.replace("Z", "+00:00"))
    return round((datetime.datetime.now(datetime.timezone.utc) - begun).total_seconds(), 3)


def _read_json(path: str) -> t.Any:
    try:
        with open(path, encoding="utf-8") as stream:
            return json.load(stream)
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ReleaseError(f"{path} is damaged ({error}): restore it from a backup, or move it away") from error


def _write_json(path: str, value: t.Any) -> None:
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    _write(path, json.dumps(value, indent=2) + "\n", 0o644)


def _write(path: str, text: str, mode: int) -> None:
    """Replace a file atomically, on disk when this returns."""
    temporary = path + ".new"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(descriptor)
        os.fchmod(descriptor, mode)
    os.replace(temporary, path)
    parent = os.open(os.path.dirname(path), os.O_RDONLY)
    os.fsync(parent)
    os.close(parent)
