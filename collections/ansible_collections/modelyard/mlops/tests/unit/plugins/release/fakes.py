# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""A host for a delivery: containers, an ingress and a clock that exist in memory only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ansible_collections.modelyard.mlops.plugins.module_utils.haproxy import INTERNAL_PORT, Load
from ansible_collections.modelyard.mlops.plugins.module_utils.ledger import AppStore
from ansible_collections.modelyard.mlops.plugins.module_utils.release import SLOTS, Release
from ansible_collections.modelyard.mlops.plugins.module_utils.release_flow import Delivery
from ansible_collections.modelyard.mlops.plugins.module_utils.release_gate import Question
from ansible_collections.modelyard.mlops.plugins.module_utils.release_slots import State

PORTS = [18081, 18082]

DELIVERY = {
    "gate": {"path": "/ready", "status": 200, "contains": "", "in_a_row": 2, "budget": 10, "timeout": 1},
    "warm_up": {"requests": 1, "path": "/warm", "method": "GET", "body": "", "status": 200, "contains": ""},
    "watch": {
        "seconds": 1.5,
        "min_requests": 20,
        "error_margin_percent": 5.0,
        "latency_ratio": 2.0,
        "latency_margin_ms": 100.0,
    },
    "strategy": "blue_green",
    "keep_previous_running": False,
    "drain": 5,
    "keep": 2,
}


class Killed(BaseException):
    """The process dies here."""


def release(number: int, **changes: object) -> Release:
    """A release that differs from every other one in its image."""
    config = {"port": 8080, "slots": PORTS, "env": {}, "memory": 1, "pids": 1, "user": "", "grace": 5, "cpus": 0.0}
    plain = Release(number, f"app:{number}", f"sha256:{number:064}", {}, config, {}, DELIVERY, "me", "abc", "today")
    return replace(plain, **changes)  # type: ignore[arg-type]


class FakeClock:
    """Time passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.time = 0.0

    def monotonic(self) -> float:
        return self.time

    def sleep(self, seconds: float, /) -> None:
        self.time += seconds


class FakeSlots:
    """The engine's side."""

    def __init__(self) -> None:
        self.states: dict[str, State] = {}
        self.kept: set[str] = set()
        self.broken: set[int] = set()
        self.started: list[tuple[int, str]] = []
        self.secrets: set[int] = set()
        self.on_start: Callable[[], object] = lambda: None
        self.seen: list[object] = []

    def state(self, slot: str) -> State:
        return self.states.get(slot, State())

    def start(self, release: Release, slot: str) -> None:
        self.seen.append(self.on_start())
        self.started.append((release.number, slot))
        self.secrets.add(release.number)
        healthy = release.number not in self.broken
        self.states[slot] = State(release.number, running=healthy, exit_code=0 if healthy else 3)

    def start_again(self, release: Release, slot: str) -> None:
        self.start(release, slot)

    def forget_secrets(self, serving: int) -> None:
        self.secrets &= {serving, *(state.release for state in self.states.values() if state.running)}

    def keep(self, slot: str, running: bool) -> None:
        (self.kept.add if running else self.kept.discard)(slot)

    def stop(self, slot: str, _grace: int) -> None:
        self.keep(slot, running=False)
        if slot in self.states:
            self.states[slot] = replace(self.states[slot], running=False)

    def remove(self, slot: str) -> None:
        self.kept.discard(slot)
        self.states.pop(slot, None)

    def logs(self, slot: str) -> str:
        return f"log of release {self.states[slot].release}" if slot in self.states else ""


class FakeRouter:
    """The ingress' side."""

    def __init__(self) -> None:
        self.file: str | None = None
        self.running: str | None = None
        self.errors = 0
        self.sessions = 0

    def is_pointed(self, _app: str, slot: str) -> bool:
        return self.file == self.running == slot

    def file_slot(self, _app: str) -> str | None:
        return self.file

    def apps(self) -> set[str]:
        return {"demo"} if self.file or self.running else set()

    def point(self, _app: str, slot: str | None) -> None:
        self.file = self.running = slot

    def address(self, _app: str, slot: str) -> str:
        return f"127.0.0.1:{PORTS[SLOTS.index(slot)]}"

    def load(self, _app: str, _slot: str) -> Load:
        return Load(requests=self.errors, errors=self.errors, sessions=self.sessions)


class Host:
    """A host with one app; `deliver` is a run of the module, `kill_at` the journal step at which it dies."""

    def __init__(self, folder: Path) -> None:
        self.store = AppStore("demo", str(folder / "state"), str(folder / "config"))
        self.slots = FakeSlots()
        self.router = FakeRouter()
        self.clock = FakeClock()
        self.fails_later: set[int] = set()
        self.slow: set[int] = set()
        self.wrong_paths: set[str] = set()
        self.told: list[str] = []
        self.kill_at = ""

    def delivery(self) -> Delivery:
        """A run."""
        parts = (self.store, self.slots, self.router, self.ask, self.clock, self._maybe_die, self.told.append)
        return Delivery(*parts, connections=lambda _port: 0)  # type: ignore[arg-type]

    def deliver(self, wanted: Release, action: str = "deploy", delivery: str = "") -> None:
        """Bring a new release into service."""
        if wanted.number not in self.store.numbers():
            self.store.add(wanted, {})
        self.delivery().deliver(wanted, action, "me", "abc", delivery)

    def ask(self, port: int, question: Question, _timeout: float) -> str | None:
        """Answer for the container behind a port, or behind the ingress."""
        slot = self.router.running if port == INTERNAL_PORT else SLOTS[PORTS.index(port)]
        state = self.slots.state(slot or "")
        if not state.running or question.path in self.wrong_paths:
            return f"{question} was not answered"
        self.clock.sleep(0.5 if state.release in self.slow else 0.01)
        if port == INTERNAL_PORT and state.release in self.fails_later:
            return f"{question} answered 500"
        return None

    def serving(self) -> int:
        """The release that a request reaches now; 0 if none does."""
        state = self.slots.state(self.router.running or "")
        return state.release if state.running else 0

    def reboot(self) -> None:
        """Only what the engine is told to keep comes back, and the ingress reads its file."""
        for slot, state in self.slots.states.items():
            self.slots.states[slot] = replace(state, running=slot in self.slots.kept)
        self.router.running = self.router.file

    def _maybe_die(self) -> None:
        journal = self.store.journal()
        if self.kill_at and journal and journal.step == self.kill_at:
            self.kill_at = ""
            raise Killed
