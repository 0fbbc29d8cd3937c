# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""service_config: the transaction, with a service that only remembers what it was told."""

from __future__ import annotations

import http.server
import os
import signal
import socketserver
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.modelyard.mlops.plugins.module_utils import service_config
from ansible_collections.modelyard.mlops.plugins.module_utils.owned import ConfigError, DesiredFile, Tree
from ansible_collections.modelyard.mlops.plugins.module_utils.service_config import (
    Journal,
    Request,
    Systemd,
    Verify,
    converge,
)
from ansible_collections.modelyard.mlops.tests.unit.plugins.serving import serve

# A validator that refuses any tree with the word "bad" in it, and needs the file of somebody else to be there.
VALIDATOR = [
    sys.executable,
    "-c",
    """
import pathlib, sys
root = pathlib.Path(sys.argv[1])
assert (root / "theirs.yml").exists()
sys.exit("bad word" if "bad" in (root / "main.yml").read_text() else 0)
""",
    "{root}",
]


class FakeService(Systemd):
    """Remembers what it was told; refuses when the file it watches says so, as a real one would."""

    def __init__(self, watched: Path, running: bool = True, exists: bool = True) -> None:
        super().__init__("fake")
        self.watched, self.running, self.exists = watched, running, exists
        self.told: list[str] = []
        self.stopped = False
        self.wanted = True

    def known(self) -> bool:
        return self.exists

    def active(self) -> bool:
        return self.running

    def at_boot(self) -> bool:
        return self.wanted

    def enable(self) -> str | None:
        self.wanted = True
        return None

    def failed(self) -> bool:
        return False

    def tell(self, action: str) -> str | None:
        self.told.append(action)
        return "fake refuses" if "refused" in self.watched.read_text() else None

    def stop(self) -> None:
        self.stopped = True

    def journal(self, since: float) -> str:
        return "the last words"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "etc"
    root.mkdir()
    for name in ("main.yml", "theirs.yml"):
        (root / name).write_text("old\n")
        (root / name).chmod(0o644)
    return root


@pytest.fixture
def request_(root: Path, tmp_path: Path) -> Request:
    return Request(
        tree=tree(root, "new\n"),
        validate=VALIDATOR,
        service=FakeService(root / "main.yml"),
        state_folder=str(tmp_path / "state"),
    )


def tree(root: Path, text: str) -> Tree:
    return Tree(root=str(root), files={"main.yml": DesiredFile(text.encode(), 0o644)})


def told(request: Request) -> list[str]:
    assert isinstance(request.service, FakeService)
    return request.service.told


def test_a_change_is_made_and_the_service_told_once(request_: Request, root: Path) -> None:
    outcome = converge(request_)
    assert (outcome.changed, outcome.applied, outcome.changed_files) == (True, "reload", [str(root / "main.yml")])
    assert (root / "main.yml").read_text() == "new\n"
    assert not converge(request_).changed
    assert told(request_) == ["reload"]
    assert sorted(path.name for path in root.iterdir()) == ["main.yml", "theirs.yml"]


@pytest.fixture
def settled(request_: Request, root: Path) -> FakeService:
    """A service whose configuration is as it should be, and that has to run."""
    (root / "main.yml").write_text("new\n")
    request_.enabled = True
    assert isinstance(request_.service, FakeService)
    return request_.service


def test_a_service_that_runs_now_and_at_boot_is_left_alone(request_: Request, settled: FakeService) -> None:
    outcome = converge(request_)
    assert (outcome.changed, settled.told) == (False, [])


@pytest.mark.parametrize("check", [True, False])
def test_a_service_that_was_stopped_or_disabled_runs_again(
    request_: Request, settled: FakeService, check: bool
) -> None:
    settled.running = settled.wanted = False
    request_.check = check
    outcome = converge(request_)
    assert (outcome.started, outcome.enabled, outcome.changed) == (True, True, True)
    assert [entry["after"] for entry in outcome.diff] == ["running\n", "enabled\n"]
    assert (settled.told, settled.wanted) == (([], False) if check else (["restart"], True))


def test_a_service_that_nobody_asked_to_run_may_be_stopped(request_: Request, settled: FakeService) -> None:
    settled.running = request_.enabled = False
    assert not converge(request_).changed


def test_a_stopped_service_that_does_not_start_says_why(request_: Request, settled: FakeService, root: Path) -> None:
    settled.running = False
    (root / "main.yml").write_text("refused\n")
    request_.tree = tree(root, "refused\n")
    with pytest.raises(ConfigError, match=r"(?s)fake refuses.*the last words"):
        converge(request_)


def test_a_change_starts_a_stopped_service_once(request_: Request) -> None:
    assert isinstance(request_.service, FakeService)
    request_.enabled, request_.service.running = True, False
    outcome = converge(request_)
    assert (outcome.started, told(request_)) == (False, ["reload"])


def test_check_mode_reports_and_changes_nothing(request_: Request, root: Path, tmp_path: Path) -> None:
    outcome = converge(replace(request_, check=True))
    assert outcome.changed
    assert outcome.applied == "reload"
    assert outcome.diff[0]["after"] == "new\n"
    assert (root / "main.yml").read_text() == "old\n"
    assert told(request_) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["etc"]


def test_check_mode_on_a_fresh_host(tmp_path: Path) -> None:
    request = Request(
        tree=tree(tmp_path / "fresh" / "service", "new\n"),
        validate=["no-such-program"],
        service=FakeService(tmp_path / "none", exists=False),
        check=True,
        state_folder=str(tmp_path / "state"),
    )
    assert converge(request).changed
    assert list(tmp_path.iterdir()) == []


def test_a_refused_configuration_changes_nothing(request_: Request, root: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing was changed(?s:.)*bad word"):
        converge(replace(request_, tree=tree(root, "bad\n")))
    assert (root / "main.yml").read_text() == "old\n"
    assert told(request_) == []


def test_a_missing_validator_or_unit_is_named(request_: Request, root: Path) -> None:
    with pytest.raises(ConfigError, match="no-such-program is not installed"):
        converge(replace(request_, validate=["no-such-program"]))
    with pytest.raises(ConfigError, match=r"no unit fake\.service"):
        converge(replace(request_, service=FakeService(root / "main.yml", exists=False)))
    assert (root / "main.yml").read_text() == "old\n"


def test_a_failing_service_gets_its_old_files_back(request_: Request, root: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"fake refuses.*former configuration is back(?s:.)*the last words"):
        converge(replace(request_, tree=tree(root, "refused\n")))
    assert (root / "main.yml").read_text() == "old\n"
    assert told(request_) == ["reload", "reload"]
    assert Journal(str(tmp_path / "state"), str(root), request_.service).read() is None


def test_a_service_that_did_not_run_before_does_not_run_after_a_failure(request_: Request, root: Path) -> None:
    service = FakeService(root / "main.yml", running=False)
    with pytest.raises(ConfigError, match="stopped as it was"):
        converge(replace(request_, service=service, tree=tree(root, "refused\n")))
    assert service.stopped


def test_an_error_between_two_files_takes_all_back(
    request_: Request, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(changes: object) -> None:
        (root / "main.yml").write_text("half\n")
        raise OSError("disk full")

    monkeypatch.setattr(service_config, "apply", broken)
    with pytest.raises(ConfigError, match=r"disk full.*is back"):
        converge(replace(request_, validate=[]))
    assert (root / "main.yml").read_text() == "old\n"


def die_between_swap_and_verify(request: Request, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave behind what a power cut leaves: the new files and the journal, and a service that knows nothing."""
    with monkeypatch.context() as patch:
        patch.setattr(service_config, "_apply_to_service", lambda *_: None)
        patch.setattr(Journal, "remove", lambda _: None)
        converge(request)


def test_an_interrupted_run_is_finished_by_the_next(request_: Request, monkeypatch: pytest.MonkeyPatch) -> None:
    die_between_swap_and_verify(request_, monkeypatch)
    assert told(request_) == []
    preview = converge(replace(request_, check=True))
    assert preview.changed
    assert preview.resumed
    assert preview.changed_files == []
    outcome = converge(request_)
    assert outcome.changed
    assert outcome.resumed
    assert told(request_) == ["reload"]
    assert not converge(request_).changed


def test_an_interrupted_run_that_cannot_be_finished_is_taken_back(
    request_: Request, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    die_between_swap_and_verify(replace(request_, tree=tree(root, "refused\n")), monkeypatch)
    with pytest.raises(ConfigError, match="former configuration is back"):
        converge(replace(request_, tree=tree(root, "refused\n")))
    assert (root / "main.yml").read_text() == "old\n"


def test_the_last_good_state_survives_several_interruptions(
    request_: Request, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for text in ("first\n", "second\n"):
        die_between_swap_and_verify(replace(request_, tree=tree(root, text)), monkeypatch)
    with pytest.raises(ConfigError, match="former configuration is back"):
        converge(replace(request_, tree=tree(root, "refused\n")))
    assert (root / "main.yml").read_text() == "old\n"


def test_a_changed_unit_restarts_and_may_bring_the_service(
    request_: Request, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_config, "UNIT_FOLDER", str(tmp_path / "units"))
    units = Tree(root=str(tmp_path / "units"), files={"fake.service": DesiredFile(b"[Service]\n", 0o644)})
    service = FakeService(root / "main.yml", exists=False)
    assert converge(replace(request_, service=service, units=units)).applied == "restart"
    assert (tmp_path / "units" / "fake.service").exists()


def test_two_runs_at_once(request_: Request, root: Path, tmp_path: Path) -> None:
    path = Journal(str(tmp_path / "state"), str(root), request_.service).path + ".lock"
    with service_config._locked(path), pytest.raises(ConfigError, match="another run"):
        converge(request_)


@pytest.fixture
def page() -> Iterator[tuple[str, dict[str, str]]]:
    """A server that answers with whatever the test puts into the dict."""
    content = {"body": "ready"}

    def answer(path: str) -> tuple[int, bytes]:
        return 200 if path == "/ready" else 503, content["body"].encode()

    with serve(answer) as port:
        yield f"http://127.0.0.1:{port}", content


def test_verify_by_status_and_text(page: tuple[str, dict[str, str]]) -> None:
    url, _unused = page
    assert Verify(url + "/ready", contains="ready").problem(0) is None
    assert "does not contain" in str(Verify(url + "/ready", contains="other").problem(0))
    assert "answered 503 instead of 200: ready" in str(Verify(url + "/").problem(0))
    assert "did not answer" in str(Verify("http://127.0.0.1:1/").problem(0))


def test_verify_behind_a_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "engine.sock")

    class Handler(http.server.BaseHTTPRequestHandler):
        def address_string(self) -> str:
            return "somebody"

        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.path.encode())

        def log_message(self, *_: object) -> None:
            pass

    with socketserver.UnixStreamServer(path, Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert Verify("http://localhost/_ping", socket=path, contains="/_ping").problem(0) is None
        server.shutdown()
    assert "did not answer" in str(Verify("http://localhost/_ping", socket=path).problem(0))


def test_verify_by_the_time_of_the_last_load(page: tuple[str, dict[str, str]]) -> None:
    url, content = page
    verify = Verify(url + "/ready", newer="loaded_seconds")
    assert "no metric" in str(verify.problem(0))
    content["body"] = f"# TYPE loaded_seconds gauge\nloaded_seconds {time.time():.9e}\n"
    assert verify.problem(time.time() - 60) is None
    assert "not accepted" in str(verify.problem(time.time() + 60))


class Falling(FakeService):
    """A service that does what it is told and then does not stay up."""

    def failed(self) -> bool:
        return "falls" in self.watched.read_text()


@pytest.mark.parametrize("verified", [True, False])
def test_service_that_falls_over_gets_its_old_files_back(request_: Request, root: Path, verified: bool) -> None:
    nowhere = Verify(url="http://127.0.0.1:9/", timeout=0.1) if verified else None
    request = replace(request_, tree=tree(root, "falls\n"), service=Falling(root / "main.yml"), verify=nowhere)
    with pytest.raises(ConfigError, match="does not stay up" if verified else "does not run any more"):
        converge(request)
    assert (root / "main.yml").read_text() == "old\n"


def test_service_that_does_not_answer_in_time_says_how_long_it_was_waited_for(request_: Request, root: Path) -> None:
    request = replace(request_, verify=Verify(url="http://127.0.0.1:9/", timeout=0))
    with pytest.raises(ConfigError, match=r"waited 0 s(?s:.)*with them too"):
        converge(request)
    assert (root / "main.yml").read_text() == "old\n"


def test_signal_in_the_middle_takes_all_back(request_: Request, root: Path) -> None:
    class Interrupted(FakeService):
        def tell(self, action: str) -> str | None:
            problem = super().tell(action)
            if len(self.told) == 1:
                os.kill(os.getpid(), signal.SIGTERM)
            return problem

    with pytest.raises(ConfigError, match="stopped by signal"):
        converge(replace(request_, service=Interrupted(root / "main.yml")))
    assert (root / "main.yml").read_text() == "old\n"
