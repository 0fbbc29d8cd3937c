# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""release, release_gate and release_slots: identity, questions and containers."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.modelyard.mlops.plugins.module_utils.haproxy import Load
from ansible_collections.modelyard.mlops.plugins.module_utils.release import (
    Release,
    ReleaseError,
    check_name,
    check_slots,
    describe,
    differences,
    seal,
)
from ansible_collections.modelyard.mlops.plugins.module_utils.release_gate import Failed, Gate, Question, Watch, ask
from ansible_collections.modelyard.mlops.plugins.module_utils.release_slots import State, check_room, specification

from .fakes import DELIVERY, FakeClock, release

MODEL = {"name": "iris", "version": "3", "digest": "d", "path": "/models/iris/3"}


class TestIdentity:
    def test_number_author_and_delivery_do_not_count(self) -> None:
        assert replace(release(1), number=9, by="x", commit="y", delivery={}).identity == release(1).identity

    @pytest.mark.parametrize(
        ("part", "change"),
        [
            ("image", {"image_key": "sha256:other"}),
            ("model", {"model": MODEL}),
            ("config", {"config": {**release(1).config, "env": {"A": "1"}}}),
            ("secrets", {"secrets": {"TOKEN": "1"}}),
        ],
    )
    def test_each_part_counts(self, part: str, change: dict[str, object]) -> None:
        assert differences(release(1), release(1, **change)) == [part]

    def test_folder_of_the_model_does_not_count(self) -> None:
        moved = {**MODEL, "path": "/elsewhere"}
        assert differences(release(1, model=MODEL), release(1, model=moved)) == []

    def test_json_and_back(self) -> None:
        assert Release.from_json(json.loads(json.dumps(release(1).to_json()))) == release(1)

    def test_secret_shows_only_that_it_changed(self) -> None:
        old = release(1, secrets=seal({"A": "one", "B": "two"}, b"key"))
        new = release(2, secrets=seal({"A": "one", "B": "other"}, b"key"))
        assert json.loads(describe(new, old))["secrets"] == {"A": "(hidden)", "B": "(hidden, changed)"}

    @pytest.mark.parametrize("name", ["", "Iris", "../x", "a_b", "-a", "a" * 60])
    def test_bad_name_is_refused(self, name: str) -> None:
        with pytest.raises(ReleaseError, match="is no app name"):
            check_name(name)

    @pytest.mark.parametrize("slots", [[], [18081], [18081, 18081], [80, 18081], [18081, 70000]])
    def test_bad_slots_are_refused(self, slots: list[int]) -> None:
        with pytest.raises(ReleaseError, match="two different ports"):
            check_slots(slots)


class TestGate:
    gate = Gate.from_options(DELIVERY["gate"])  # type: ignore[arg-type]

    def run(self, answers: list[str | None], state: State = State(1, running=True)) -> float:  # noqa: B008
        clock = FakeClock()
        left = iter(answers)
        self.gate.pass_through(lambda _question, _timeout: next(left, "not ready"), lambda: state, clock)
        return clock.time

    def test_right_answers_in_a_row_are_needed(self) -> None:
        assert self.run(["no", None, "no", None, None]) == pytest.approx(0.8)

    def test_budget_ends_it_with_what_was_seen_last(self) -> None:
        with pytest.raises(Failed, match=r"not ready \(asked for 10 s\)"):
            self.run([])

    def test_stopped_container_ends_it_at_once(self) -> None:
        with pytest.raises(Failed, match="killed because it ran out of memory, exit code 137"):
            self.run([], State(1, running=False, exit_code=137, out_of_memory=True))


class TestWatch:
    def run(self, loads: list[Load], answer: str | None = None) -> None:
        left = iter([Load(100, 10, 0), *loads])
        running = State(1, running=True)
        Watch(1.0, 5.0).pass_through(lambda: answer, lambda: running, lambda: next(left, loads[-1]), FakeClock())

    def test_errors_before_the_switch_do_not_count(self) -> None:
        self.run([Load(200, 10, 0)])

    def test_errors_of_its_own_end_it(self) -> None:
        with pytest.raises(Failed, match="10 of 100 requests failed after the switch"):
            self.run([Load(200, 20, 0)])

    def test_few_errors_say_nothing(self) -> None:
        self.run([Load(104, 14, 0)])

    def test_wrong_answers_through_the_ingress_end_it(self) -> None:
        with pytest.raises(Failed, match="behind the ingress, it answered 500"):
            self.run([Load(100, 10, 0)], "it answered 500")


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(503 if self.path == "/down" else 200)
        self.end_headers()
        self.wfile.write(b"ready")

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def test_ask_says_what_is_wrong(port: int) -> None:
    assert ask(port, Question("/", contains="read"), 5) is None
    assert "does not contain 'else'" in str(ask(port, Question("/", contains="else"), 5))
    assert "answered 503 instead of 200: ready" in str(ask(port, Question("/down"), 5))
    assert "was not answered" in str(ask(1, Question("/"), 5))


def test_container_gets_model_and_secrets_as_files_and_no_secret_as_environment() -> None:
    described = release(4, model=MODEL, secrets=seal({"TOKEN": "hush"}, b"key"))
    spec = specification("demo", described, "green", "sha256:id", "/etc/modelyard/apps/demo/4")
    assert spec.mounts == {"/model": "/models/iris/3", "/run/secrets": "/etc/modelyard/apps/demo/4"}
    assert spec.writable == ()
    assert spec.ports == {18082: 8080}
    assert spec.restart == "no", "until it serves, an exit must stay visible"
    expected = {"MODEL_DIR": "/model", "MODEL_NAME": "iris", "MODEL_VERSION": "3", "PORT": "8080", "RELEASE": "4"}
    assert spec.env == expected


class FakeEngine:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, _path: str) -> dict[str, str]:
        return {"DockerRootDir": str(self._folder)}


def test_second_copy_must_fit(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 4000 kB\nMemAvailable: 2048 kB\n", encoding="ascii")
    engine = FakeEngine(tmp_path)
    check_room(engine, 2 * 1024**2, str(meminfo))  # type: ignore[arg-type]
    with pytest.raises(ReleaseError, match=r"a second one may take 3 MiB \(`memory`\), and 2 MiB are available"):
        check_room(engine, 3 * 1024**2, str(meminfo))  # type: ignore[arg-type]
