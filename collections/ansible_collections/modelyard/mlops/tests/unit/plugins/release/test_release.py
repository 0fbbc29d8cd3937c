# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""release, release_gate and release_slots: identity, questions and containers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from ansible_collections.modelyard.mlops.plugins.module_utils.release import (
    Release,
    ReleaseError,
    check_name,
    check_slots,
    describe,
    differences,
    seal,
)
from ansible_collections.modelyard.mlops.plugins.module_utils.release_gate import Failed, Gate, Question, ask
from ansible_collections.modelyard.mlops.plugins.module_utils.release_slots import State, specification
from ansible_collections.modelyard.mlops.tests.unit.plugins.serving import serve

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

    def test_release_of_an_older_version_is_completed_and_one_of_a_newer_is_read(self) -> None:
        stored = json.loads(json.dumps(release(1).to_json()))
        del stored["config"]["cpus"], stored["delivery"]["strategy"], stored["delivery"]["watch"]["latency_ratio"]
        stored["delivery"]["watch"]["of_tomorrow"] = stored["delivery"]["tomorrow"] = stored["tomorrow"] = 1
        found = Release.from_json(stored)
        assert found.delivery == {**DELIVERY, "watch": {**DELIVERY["watch"], "latency_ratio": 2.0}}  # type: ignore[dict-item]
        assert found.identity == release(1).identity

    def test_of_a_secret_only_the_beginning_of_its_fingerprint_is_shown(self) -> None:
        sealed = seal({"A": "one"}, b"key")
        shown = json.loads(describe(release(1, secrets=sealed), {}))["secrets"]
        assert shown == {"A": f"fingerprint {sealed['A'][:12]}"}
        assert seal({"A": "one"}, b"") == {"A": ""}, "without the host's key, a fingerprint could be guessed"

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
        assert self.run(["no", None, "no", None, None]) == pytest.approx(0.4)

    def test_budget_ends_it_with_what_was_seen_last(self) -> None:
        with pytest.raises(Failed, match=r"not ready \(asked for 10 s\)"):
            self.run([])

    def test_long_wait_is_told_now_and_then(self) -> None:
        told: list[str] = []
        gate, running = replace(self.gate, budget=35), State(1, running=True)
        with pytest.raises(Failed):
            gate.pass_through(lambda *_: "loading", lambda: running, FakeClock(), told.append)
        assert told == ["loading"] * 3

    def test_stopped_container_ends_it_at_once(self) -> None:
        with pytest.raises(Failed, match="killed because it ran out of memory, exit code 137"):
            self.run([], State(1, running=False, exit_code=137, out_of_memory=True))


@pytest.fixture
def port() -> Iterator[int]:
    with serve(lambda path: (503 if path == "/down" else 200, b"ready")) as port:
        yield port


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
