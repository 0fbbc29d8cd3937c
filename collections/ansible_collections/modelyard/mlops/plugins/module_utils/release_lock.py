# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""One deployment of an app at a time on a host, with a name to ask when it takes too long."""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import asdict, dataclass

from .ledger import AppStore, now


class LockError(Exception):
    """Another run deploys the same app at this moment; the message says who, since when and what to do."""


@dataclass(frozen=True)
class Holder:
    """Who has a lock, since when, and when that run should be over; all of it empty while it is being written."""

    owner: str = ""
    pid: int = 0
    since: str = ""
    expires: str = ""

    def __str__(self) -> str:
        return f"{self.owner} (process {self.pid}) since {self.since}" if self.owner else "a run that just began"


class Lock:
    """One deployment of an app at a time.

    The kernel holds the lock for the process, so that of a dead process is free. Its text says who has it and until
    when that run should be over. Breaking it means putting a new file in its place: the former owner finds out before
    its next step, and stops.
    """

    def __init__(self, store: AppStore) -> None:
        self._path = os.path.join(store.folder, "lock")
        self._app = store.name
        self._descriptor = -1

    @property
    def held(self) -> bool:
        """Whether this run has it, or had it until somebody broke it."""
        return self._descriptor >= 0

    def acquire(self, owner: str, seconds: float, break_it: bool = False) -> None:
        """Take the lock, or raise LockError."""
        os.makedirs(os.path.dirname(self._path), mode=0o755, exist_ok=True)
        if break_it and os.path.exists(self._path):
            os.unlink(self._path)
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockError(self._refusal()) from None
        self.check()
        holder = Holder(owner, os.getpid(), now(), now(seconds))
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, (json.dumps(asdict(holder)) + "\n").encode(), 0)

    def check(self) -> None:
        """Raise LockError when somebody broke the lock meanwhile."""
        try:
            same = os.stat(self._path).st_ino == os.fstat(self._descriptor).st_ino
        except FileNotFoundError:
            same = False
        if not same:
            raise LockError(f"the deployment lock of {self._app} was broken by another run: this one stops here")

    def holder(self) -> Holder | None:
        """Who has the lock at this moment, or None."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _read(descriptor)
        finally:
            os.close(descriptor)
        return None

    def release(self) -> None:
        """Give the lock back."""
        if self._descriptor >= 0:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = -1

    def _refusal(self) -> str:
        holder = _read(self._descriptor)
        os.close(self._descriptor)
        self._descriptor = -1
        if not holder.expires:
            return f"{self._app} is being deployed by {holder}. Run again when it is over."
        late = f"It should have been over at {holder.expires} and seems to hang: set break_lock to take over."
        wait = f"Run again when it is over, at {holder.expires} at the latest."
        return f"{self._app} is being deployed by {holder}. {late if holder.expires < now() else wait}"


def _read(descriptor: int) -> Holder:
    return Holder(**json.loads(os.pread(descriptor, 4096, 0) or b"{}"))
