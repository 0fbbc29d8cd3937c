# SPDX-License-Identifier: Apache-2.0
"""The HTTP service: good answers, refusals that name their place, metrics, and a real server's start and end."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient

from iris_model import cli
from iris_model.model import Model
from iris_model.serving.validation import MAX_BODY, MAX_ROWS

SETOSA = [5.1, 3.5, 1.4, 0.2]


def post(client: FlaskClient, document: Any) -> Any:
    body = document if isinstance(document, str | bytes) else json.dumps(document)
    return client.post("/predict", data=body, content_type="application/json")


def test_the_shape_is_exact(client: FlaskClient) -> None:
    answer = post(client, {"features": [SETOSA, [6.7, 3.0, 5.2, 2.3]]})
    assert answer.status_code == 200
    assert answer.data == b'{"predictions":[0,2]}\n'
    assert post(client, {"features": [[5, 3, 1, 0]]}).json == {"predictions": [0]}


def test_probabilities_on_request(client: FlaskClient, model_folder: Path) -> None:
    rows = [SETOSA, [6.7, 3.0, 5.2, 2.3]]
    answer = post(client, {"features": rows, "probabilities": True}).json
    assert answer["predictions"] == [0, 2]
    expected = Model.load(model_folder).predict(np.array(rows, np.float32))[1]
    assert np.allclose(answer["probabilities"], expected, atol=5e-7)
    assert post(client, {"features": rows, "probabilities": False}).json == {"predictions": [0, 2]}


def test_every_answer_says_who_gave_it(client: FlaskClient) -> None:
    for answer in (post(client, {"features": [SETOSA]}), post(client, "{"), client.get("/nothing"), client.get("/")):
        names = ("X-Model-Name", "X-Model-Version", "X-Release")
        assert [answer.headers[name] for name in names] == ["iris", "7", "12"]


def test_who_answers(client: FlaskClient, model_folder: Path) -> None:
    assert client.get("/health").data == b'{"status":"running"}\n'
    version = client.get("/version").json
    assert version == {
        "model": "iris",
        "model_version": "7",
        "model_digest": f"sha256:{Model.load(model_folder).digest}",
        "release": "12",
    }
    assert client.get("/ready").json == {"status": "ready", **version}


@pytest.mark.parametrize(
    ("document", "status", "members"),
    [
        ("{", 400, {}),
        (b"\xff", 400, {}),
        ("[" * 100_000, 400, {}),
        ('{"features": [[NaN, 1, 1, 1]]}', 400, {}),
        ('{"features": [[1, -Infinity, 1, 1]]}', 400, {}),
        ([], 400, {}),
        ({}, 400, {}),
        ({"features": [SETOSA], "more": 1}, 400, {}),
        ({"features": [SETOSA], "probabilities": 1}, 400, {}),
        ({"features": [SETOSA], "probabilities": None}, 400, {}),
        ({"features": None}, 422, {}),
        ({"features": []}, 422, {}),
        ({"features": SETOSA}, 422, {"row": 0}),
        ({"features": [SETOSA, SETOSA[:3]]}, 422, {"row": 1}),
        ({"features": [SETOSA, [*SETOSA, 1.0]]}, 422, {"row": 1}),
        ({"features": [[1, 1, None, 1]]}, 422, {"row": 0, "column": 2, "feature": "petal_length"}),
        ({"features": [[1, "1", 1, 1]]}, 422, {"row": 0, "column": 1, "feature": "sepal_width"}),
        ({"features": [[1, 1, 1, True]]}, 422, {"row": 0, "column": 3, "feature": "petal_width"}),
        ({"features": [[1, 1, 1, [1]]]}, 422, {"row": 0, "column": 3, "feature": "petal_width"}),
        ({"features": [[1, 1, 1, 1], [1e39, 1, 1, 1]]}, 422, {"row": 1, "column": 0, "feature": "sepal_length"}),
        ('{"features": [[1, 1, 1e999, 1]]}', 422, {"row": 0, "column": 2, "feature": "petal_length"}),
        ('{"features": [[1, 1, 1' + "0" * 400 + ", 1]]}", 422, {"row": 0, "column": 2, "feature": "petal_length"}),
        ({"features": [SETOSA] * (MAX_ROWS + 1)}, 413, {}),
        (" " * (MAX_BODY + 1), 413, {}),
    ],
)
def test_bad_input_is_refused_with_its_place(
    client: FlaskClient, document: Any, status: int, members: dict[str, Any]
) -> None:
    answer = post(client, document)
    assert answer.status_code == status
    assert answer.content_type == "application/problem+json"
    problem = answer.get_json(force=True)
    assert problem["status"] == status
    assert problem["detail"]
    assert {name: problem[name] for name in ("row", "column", "feature") if name in problem} == members


def test_other_refusals_are_problems_too(client: FlaskClient) -> None:
    answers = [
        (client.post("/predict", data="{}", content_type="text/plain"), 415),
        (client.post("/predict", data="{}"), 415),
        (client.get("/predict"), 405),
        (client.options("/predict"), 405),
        (client.get("/nothing"), 404),
        (client.get("/predict/"), 404),
    ]
    for answer, status in answers:
        assert (answer.status_code, answer.content_type) == (status, "application/problem+json")
    assert "POST" in answers[2][0].headers["Allow"]


def metric(text: str, pattern: str) -> float:
    found = re.search(rf"^{pattern} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_metrics_count(client: FlaskClient) -> None:
    answered = r'request_count_total\{endpoint="/predict",method="POST",status="200"\}'
    other = r'request_count_total\{endpoint="other",method="other",status="404"\}'
    setosa = r'predictions_total\{label="setosa",model_version="7"\}'
    seconds = r'request_latency_seconds_count\{endpoint="/predict"\}'
    before = client.get("/metrics").text
    post(client, {"features": [SETOSA] * 3})
    client.open("/invented", method="BREW")
    after = client.get("/metrics").text
    for pattern, growth in ((answered, 1), (other, 1), (setosa, 3), (seconds, 1)):
        assert metric(after, pattern) - metric(before, pattern) == growth, pattern
    assert re.search(r'^model_info\{.*version="7"\} 1\.0$', after, re.MULTILINE)
    assert metric(after, "in_progress") == 1.0


def ask(connection: http.client.HTTPConnection, method: str, path: str, body: str | None = None) -> tuple[int, str]:
    connection.request(method, path, body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def test_two_workers_add_up_and_sigterm_lets_what_has_begun_finish(
    server: tuple[subprocess.Popen[bytes], int],
) -> None:
    process, port = server
    body = json.dumps({"features": [SETOSA]})
    for _ in range(40):  # a fresh connection each, so that both workers get some
        status, text = ask(http.client.HTTPConnection("127.0.0.1", port, timeout=5), "POST", "/predict", body)
        assert (status, text) == (200, '{"predictions":[0]}\n')
    _, metrics = ask(http.client.HTTPConnection("127.0.0.1", port, timeout=5), "GET", "/metrics")
    assert metric(metrics, r'predictions_total\{label="setosa",model_version="7"\}') == 40

    many = json.dumps({"features": [[5.1, 3.5, 99, 0.2]] * 100})
    for _ in range(4):
        assert ask(http.client.HTTPConnection("127.0.0.1", port, timeout=5), "POST", "/predict", many)[0] == 200
    for _ in range(10):  # whichever worker is asked
        _, metrics = ask(http.client.HTTPConnection("127.0.0.1", port, timeout=5), "GET", "/metrics")
        assert metric(metrics, "feature_drift_rows") == 440
        assert metric(metrics, r'feature_drift_psi\{feature="petal_length"\}') > 2

    begun = socket.create_connection(("127.0.0.1", port), timeout=10)
    begun.sendall(
        b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        + f"Content-Length: {len(body)}\r\n\r\n{body[:10]}".encode()
    )
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    begun.sendall(body[10:].encode())
    answer = http.client.HTTPResponse(begun)
    answer.begin()
    assert answer.read() == b'{"predictions":[0]}\n'
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 0
    assert b"SIG" not in errors
    assert errors.count(b"serves iris version 7") == 2


def test_a_model_that_is_not_there_ends_the_start_with_a_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MODEL_DIR", str(tmp_path))
    assert cli.main(["serve"]) == 1
    assert f"iris-model: {tmp_path} is no model's folder" in capsys.readouterr().err
