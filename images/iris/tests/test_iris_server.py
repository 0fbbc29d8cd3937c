# SPDX-License-Identifier: Apache-2.0
"""The real server: its workers add up, slow clients hold nobody up, and its end loses nothing."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from iris_model.serving.validation import MAX_BODY

SETOSA = [5.1, 3.5, 1.4, 0.2]
BODY = json.dumps({"features": [SETOSA]})
JSON = {"Content-Type": "application/json"}


PREDICTED = r'request_count_total\{endpoint="/predict",method="POST",status="200"\}'


def metric(text: str, pattern: str) -> float:
    found = re.search(rf"^{pattern} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


class Server:
    """A server with two workers, version 7 of the model, and an access log."""

    def __init__(self, model_folder: Path, log: Path) -> None:
        self.log = log
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        environment = {
            **os.environ,
            "PYTHONPATH": str(Path(__file__).resolve().parents[1] / "src"),
            "PORT": str(self.port),
            "MODEL_DIR": str(model_folder),
            "MODEL_VERSION": "7",
            "WORKERS": "2",
            "ACCESS_LOG": "1",
            "MLFLOW_TRACKING_URI": "http://127.0.0.1:9",  # nobody is there, and nobody is asked
        }
        self.command = [sys.executable, "-m", "iris_model", "serve"]
        self.environment = environment
        with log.open("w") as output:
            self.process = subprocess.Popen(self.command, env=environment, stdout=output, stderr=subprocess.STDOUT)
        for _ in range(300):
            try:
                if self.ask("GET", "/ready")[0] == 200:
                    return
            except OSError:
                time.sleep(0.1)
        raise AssertionError(f"the server did not become ready: {log.read_text()}")

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)

    def ask(self, method: str, path: str, body: str | None = None) -> tuple[int, str]:
        """Ask on a connection of its own, so that each worker gets some."""
        connection = self.connection()
        connection.request(method, path, body, JSON)
        answer = connection.getresponse()
        with answer:
            return answer.status, answer.read().decode()

    def counted(self, pattern: str, number: float) -> str:
        """Wait until a metric has this value, and return them all: a request is answered first, and then counted."""
        deadline = time.monotonic() + 10
        while metric(metrics := self.ask("GET", "/metrics")[1], pattern) != number:
            assert time.monotonic() < deadline, metrics
            time.sleep(0.05)
        return metrics

    def refuses(self) -> bool:
        """Return whether nobody listens any more; what waits at that moment is cut off."""
        try:
            self.ask("GET", "/ready")
        except ConnectionRefusedError:
            return True
        except ConnectionError:
            return False
        return False

    def begin(self, sent: bytes) -> socket.socket:
        """Send the beginning of a request."""
        begun = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        begun.sendall(sent)
        return begun

    def workers(self) -> list[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in children.split()]


def run(folder: Path, log: Path) -> Iterator[Server]:
    server = Server(folder, log)
    try:
        yield server
    finally:
        server.process.terminate()
        server.process.wait(30)


@pytest.fixture(scope="module")
def server(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Yield a server that the tests share."""
    yield from run(model_folder, tmp_path_factory.mktemp("server") / "server.log")


@pytest.fixture
def mortal(model_folder: Path, tmp_path: Path) -> Iterator[Server]:
    """Yield a server of a test's own, which it may do harm to."""
    yield from run(model_folder, tmp_path / "server.log")


def half() -> tuple[bytes, bytes]:
    head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n"
    return f"{head}{BODY[:10]}".encode(), BODY[10:].encode()


def read(connection: socket.socket) -> tuple[int, bytes]:
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    return answer.status, answer.read()


def test_two_workers_are_one_service(mortal: Server) -> None:
    for _ in range(40):
        assert mortal.ask("POST", "/predict", BODY) == (200, '{"predictions":[0]}\n')
    many = json.dumps({"features": [[5.1, 3.5, 99, 0.2]] * 100})
    for _ in range(4):
        assert mortal.ask("POST", "/predict", many)[0] == 200
    mortal.counted(PREDICTED, 44)
    for _ in range(10):  # whichever worker is asked
        _, metrics = mortal.ask("GET", "/metrics")
        assert metric(metrics, PREDICTED) == 44
        predicted = re.findall(r'^predictions_total\{label="\w+",model_version="7"\} (\S+)$', metrics, re.MULTILINE)
        assert sum(map(float, predicted)) == 440
        assert metric(metrics, "feature_drift_rows") == 440
        assert metric(metrics, r'feature_drift_psi\{feature="petal_length"\}') > 2

    # What was counted outlives a worker, and what it remembers of features does not. One of them may have answered all.
    for began, worker in enumerate(mortal.workers(), 3):
        os.kill(worker, signal.SIGKILL)
        deadline = time.monotonic() + 20
        while mortal.log.read_text().count("serves iris version 7") < began:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    assert mortal.ask("POST", "/predict", BODY)[0] == 200
    metrics = mortal.counted(PREDICTED, 45)
    assert metric(metrics, "feature_drift_rows") == 1


def test_a_client_that_sends_slowly_holds_nobody_up(server: Server) -> None:
    first, rest = half()
    slow = [server.begin(first) for _ in range(40)]
    begin = time.monotonic()
    for _ in range(20):
        assert server.ask("POST", "/predict", BODY)[0] == 200
    assert time.monotonic() - begin < 5
    for connection in slow:
        connection.sendall(rest)
        assert read(connection) == (200, b'{"predictions":[0]}\n')


def test_an_answer_has_its_length_and_is_not_sent_in_chunks(server: Server) -> None:
    for path, body in (("/predict", BODY), ("/nothing", "{}")):
        connection = server.connection()
        connection.request("POST", path, body, JSON)
        with connection.getresponse() as answer:
            assert answer.getheader("Transfer-Encoding") is None
            assert int(answer.getheader("Content-Length", "0")) == len(answer.read()) > 0


def test_a_client_that_goes_away_is_no_error_of_ours(mortal: Server) -> None:
    first, _ = half()
    for head in (first, first.replace(b"application/json", b"text/plain")):
        mortal.begin(head).close()
    refused = r'request_count_total\{endpoint="/predict",method="POST",status="400"\}'
    mortal.counted(refused, 2)
    mortal.counted("in_progress", 1)
    assert "ERROR" not in mortal.log.read_text()


def test_an_upgrade_to_a_websocket_is_refused_as_all_else(server: Server) -> None:
    asked = b"GET /version HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    asked += b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    status, content = read(server.begin(asked))
    assert (status, json.loads(content)["status"]) == (400, 400)


def test_a_body_in_chunks_is_read_up_to_the_limit(server: Server) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    whole = server.begin(b"%b%x\r\n%b\r\n0\r\n\r\n" % (head, len(BODY), BODY.encode()))
    assert read(whole) == (200, b'{"predictions":[0]}\n')
    too_large = b" " * (MAX_BODY + 1)
    status, _ = read(server.begin(b"%b%x\r\n%b\r\n0\r\n\r\n" % (head, len(too_large), too_large)))
    assert status == 413


def test_what_has_begun_is_answered_after_sigterm_and_nothing_else(mortal: Server) -> None:
    first, rest = half()
    begun = [mortal.begin(first) for _ in range(4)]
    mortal.counted("in_progress", 5)  # and the question itself
    mortal.process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + 10
    while not mortal.refuses():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    for connection in begun:
        connection.sendall(rest)
        assert read(connection) == (200, b'{"predictions":[0]}\n')
    assert mortal.process.wait(10) == 0
    assert "rror" not in mortal.log.read_text()


def test_sigterm_ends_workers_that_still_load_the_model(mortal: Server) -> None:
    os.kill(mortal.workers()[0], signal.SIGKILL)
    while len(mortal.workers()) < 2:  # until the next one begins
        time.sleep(0.01)
    time.sleep(0.05)
    mortal.process.send_signal(signal.SIGTERM)
    assert mortal.process.wait(10) == 0


def test_sigterm_under_load_loses_nothing(mortal: Server) -> None:
    """Each request that the server took up was answered, and each answer has reached its client.

    A connection that the server has not looked at yet is closed instead: nothing has begun on it.
    """
    answers: list[tuple[int, bytes]] = []

    def ask_until_the_server_is_gone(one_connection: bool) -> None:
        connection = mortal.connection()
        with suppress(ConnectionError):
            while True:
                connection.request("POST", "/predict", BODY, JSON)
                answer = connection.getresponse()
                answers.append((answer.status, answer.read()))
                if not one_connection:
                    connection.close()

    clients = [threading.Thread(target=ask_until_the_server_is_gone, args=[n % 2 == 0]) for n in range(6)]
    for client in clients:
        client.start()
    time.sleep(1.5)
    mortal.process.send_signal(signal.SIGTERM)
    for client in clients:
        client.join(30)
    assert mortal.process.wait(10) == 0
    assert set(answers) == {(200, b'{"predictions":[0]}\n')}
    # The access log may lack its last lines, which Granian writes behind its answers; a line too many is a lost answer.
    assert len(answers) >= mortal.log.read_text().count('"POST /predict HTTP/1.1" 200') > 0


def test_a_port_that_is_taken_ends_the_start_with_a_message(server: Server) -> None:
    done = subprocess.run(server.command, env=server.environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"iris-model: cannot listen on 127.0.0.1 port {server.port}: Address already in use" in done.stderr


def test_a_model_that_is_not_there_ends_the_start_with_a_message(server: Server, tmp_path: Path) -> None:
    environment = {**server.environment, "MODEL_DIR": str(tmp_path)}
    done = subprocess.run(server.command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"iris-model: {tmp_path} is no model's folder" in done.stderr
