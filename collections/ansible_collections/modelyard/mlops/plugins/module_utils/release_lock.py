# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""One deployment of an app at a time on a host, with a name to ask when it takes too long."""

from __future__ import annotations

import fcntl
import json
import os

from .ledger import AppStore, now


class LockError(Exception):
    """Another run deploys the same app at this moment; the message says who, since when and what to do."""


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
        text = {"owner": owner, "pid": os.getpid(), "since": now(), "expires": now(seconds)}
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, (json.dumps(text) + "\n").encode(), 0)

    def check(self) -> None:
        """Raise LockError when somebody broke the lock meanwhile."""
        try:
            same = os.stat(self._path).st_ino == os.fstat(self._descriptor).st_ino
        except FileNotFoundError:
            same = False
        if not same:
            raise LockError(f"the deployment lock of {self._app} was broken by another run: this one stops here")

    def release(self) -> None:
        """Give the lock back."""
        if self._descriptor >= 0:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = -1

    def _refusal(self) -> str:
        holder = json.loads(os.pread(self._descriptor, 4096, 0) or b"{}")
        os.close(self._descriptor)
        self._descriptor = -1
        who = (
            f"{holder['owner']} (process {holder['pid']}) since {holder['since']}"
            if holder
            else "a run that just began"
        )
        late = bool(holder) and holder["expires"] < now()
        advice = (
            f"It should have been over at {holder['expires']} and seems to hang: set break_lock to take over"
            if late
            else "Run again when it is over" + (f", at {holder['expires']} at the latest" if holder else "")
        )
        return f"{self._app} is being deployed by {who}. {advice}."
