# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""One long-running container: the new one answers, or the former one runs again."""

from __future__ import annotations

import contextlib
import http.client
import time
import typing as t
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, build_opener

from .container import SPEC_LABEL, ContainerError, Containers, Spec
from .engine import EngineError

FORMER = "-former"
LOG_LINES = 20
POLL_SECONDS = 0.3


class Verify(t.NamedTuple):
    """How a service shows that it works: a text in the answer of an address, within some seconds."""

    url: str
    contains: str
    timeout: int


class Change(t.Protocol):
    """What must happen to a service's data while nothing runs, and how to take it back."""

    def apply(self) -> None:
        """Do it. Whatever it raises, take_back follows."""

    def take_back(self) -> None:
        """Have the data as it was before, however far apply came."""

    def prove(self) -> None:
        """The service works with it: from now on nothing takes it back."""


class Service:
    """A named container and the one that it replaces."""

    def __init__(self, containers: Containers, name: str, verify: Verify | None) -> None:
        self._containers = containers
        self._verify = verify
        self.name = name
        self.former = name + FORMER

    def running(self) -> tuple[str, bool]:
        """The description of the container that is there, empty without one, and whether it runs and is proven."""
        found = self._containers.inspect(self.name)
        if found is None:
            return "", False
        # A former container that is still there says that a run died before the new one had answered.
        proven = found["State"]["Running"] and self._containers.inspect(self.former) is None
        return (found["Config"].get("Labels") or {}).get(SPEC_LABEL, "{}"), proven

    def restarts(self) -> int:
        """How often the engine has restarted the container."""
        return int((self._containers.inspect(self.name) or {}).get("RestartCount", 0))

    def replace(self, spec: Spec, change: Change | None = None) -> str:
        """Run `spec` in place of what is there, after `change`; returns its ID.

        :raises ContainerError: it does not work; what was there runs again, on what the data was.
        """
        self._set_aside()
        try:
            if change:
                change.apply()
            identity = self._containers.run(self.name, spec)
            self.wait()
        except Exception as reason:
            try:
                self.go_back(change)
            except Exception as error:  # noqa: BLE001  (whatever it is, both reasons must be told)
                raise ContainerError(
                    f"{reason}\nWhat was there before could not be put back, which the next run tries again: {error}"
                ) from reason
            raise
        if change:
            change.prove()
        self._containers.remove(self.former)
        return identity

    def go_back(self, change: Change | None = None) -> None:
        """Have the former container run again, if there is one, on what the data was."""
        self._containers.remove(self.name)
        if change:
            change.take_back()
        if self._containers.inspect(self.former):
            self._containers.rename(self.former, self.name)
            self._containers.start(self.name)

    def settle(self) -> None:
        """Forget the former container, once the new one is proven."""
        self._containers.remove(self.former)

    def wait(self, restarts: int = 0) -> None:
        """Return when the container works.

        :param restarts: how often the engine has restarted it before.
        :raises ContainerError: it ends, or does not work in time.
        """
        timeout = self._verify.timeout if self._verify else 0
        end = time.monotonic() + timeout
        while True:
            state = self._containers.inspect(self.name) or {}
            if not state or not state["State"]["Running"] or state["RestartCount"] > restarts:
                raise self._failed(f"ended with exit code {state.get('State', {}).get('ExitCode', 'unknown')}")
            wrong = probe(self._verify.url, self._verify.contains) if self._verify else ""
            if not wrong:
                return
            if time.monotonic() > end:
                raise self._failed(f"does not work after {timeout} s: {wrong}")
            time.sleep(POLL_SECONDS)

    def _set_aside(self) -> None:
        if self._containers.inspect(self.former):
            # The former one has worked once, which nobody knows of the one that replaced it.
            self._containers.remove(self.name)
        elif self._containers.inspect(self.name):
            self._containers.stop(self.name)
            self._containers.rename(self.name, self.former)

    def _failed(self, what: str) -> ContainerError:
        log = self._containers.logs(self.name, LOG_LINES).rstrip() if self._containers.inspect(self.name) else ""
        return ContainerError(f"container {self.name} {what}. Its last lines:\n{log or '(it has written nothing)'}")


def probe(url: str, contains: str) -> str:
    """Ask once; empty when all is well, else what is wrong."""
    try:
        with build_opener(ProxyHandler({})).open(url, timeout=5) as response:
            body = response.read().decode(errors="replace")
    except HTTPError as error:
        with error:
            return f"{url} answers with HTTP {error.code}"
    except (URLError, OSError, http.client.HTTPException) as error:
        return f"{url} does not answer: {getattr(error, 'reason', None) or error}"
    if contains not in body:
        return f"{url} answers without '{contains}'"
    return ""


def run_once(containers: Containers, name: str, spec: Spec, timeout: float) -> str:
    """Run a container to its end and remove it; returns what it wrote.

    :param timeout: seconds that it may take.
    :raises ContainerError: it fails, or takes longer; the message ends with what it wrote last.
    """
    containers.remove(name)
    containers.run(name, spec)
    end = time.monotonic() + timeout
    try:
        while True:
            state = (containers.inspect(name) or {}).get("State", {"Running": False, "ExitCode": "unknown"})
            if not state["Running"]:
                break
            if time.monotonic() > end:
                raise ContainerError(f"container {name} has not ended after {timeout:.0f} s")
            time.sleep(POLL_SECONDS)
        if state["ExitCode"] != 0:
            last = containers.logs(name, LOG_LINES).rstrip()
            raise ContainerError(f"container {name} ended with exit code {state['ExitCode']}. Its last lines:\n{last}")
        return containers.logs(name)
    finally:
        with contextlib.suppress(EngineError):
            containers.remove(name)
