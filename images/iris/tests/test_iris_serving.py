# SPDX-License-Identifier: Apache-2.0
"""The HTTP service: good answers, refusals that name their place, metrics."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from werkzeug.test import Client

from iris_model.model import Model
from iris_model.serving.validation import MAX_BODY, MAX_ROWS

SETOSA = [5.1, 3.5, 1.4, 0.2]


#: A content type that Flask answers, and not the shorter way in front of it.
FLASKS = "application/json; charset=utf-8"


def post(client: Client, document: Any, content_type: str = "application/json") -> Any:
    body = document if isinstance(document, str | bytes) else json.dumps(document)
    return client.post("/predict", data=body, content_type=content_type)


def test_the_shape_is_exact(client: Client) -> None:
    answer = post(client, {"features": [SETOSA, [6.7, 3.0, 5.2, 2.3]]})
    assert answer.status_code == 200
    assert answer.data == b'{"predictions":[0,2]}\n'
    assert post(client, {"features": [[5, 3, 1, 0]]}).json == {"predictions": [0]}


def test_probabilities_on_request(client: Client, model_folder: Path) -> None:
    rows = [SETOSA, [6.7, 3.0, 5.2, 2.3]]
    answer = post(client, {"features": rows, "probabilities": True}).json
    assert answer["predictions"] == [0, 2]
    expected = Model.load(model_folder).predict(np.array(rows, np.float32))[1]
    assert np.allclose(answer["probabilities"], expected, atol=5e-7)
    assert post(client, {"features": rows, "probabilities": False}).json == {"predictions": [0, 2]}


def test_the_shorter_way_answers_as_flask_does(client: Client) -> None:
    for query in ({"features": [SETOSA]}, {"features": [SETOSA] * 3, "probabilities": True}):
        short, flasks = post(client, query), post(client, query, FLASKS)
        assert (short.status_code, short.data) == (flasks.status_code, flasks.data) == (200, flasks.data)
        assert set(short.headers.items()) <= set(flasks.headers.items())


def test_every_answer_says_who_gave_it(client: Client) -> None:
    for answer in (post(client, {"features": [SETOSA]}), post(client, "{"), client.get("/nothing"), client.get("/")):
        names = ("X-Model-Name", "X-Model-Version", "X-Release")
        assert [answer.headers[name] for name in names] == ["iris", "7", "12"]


def test_who_answers(client: Client, model_folder: Path) -> None:
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
        (b'\xef\xbb\xbf{"features": [[1, 1, 1, 1]]}', 400, {}),
        ('{"features": [[1, 1, 1, 1]]}'.encode("utf-16"), 400, {}),
        ([], 400, {}),
        ({}, 400, {}),
        ({"features": [SETOSA], "more": 1}, 400, {}),
        ({"features": [SETOSA], "probabilities": 1}, 400, {}),
        ({"features": [SETOSA], "probabilities": None}, 400, {}),
        ({"features": None}, 422, {}),
        ({"features": []}, 422, {}),
        ({"features": SETOSA}, 422, {"row": 0}),
        ({"features": [SETOSA, "four"]}, 422, {"row": 1}),
        ({"features": [dict.fromkeys("abcd", 1)]}, 422, {"row": 0}),
        ({"features": [SETOSA, SETOSA[:3]]}, 422, {"row": 1}),
        ({"features": [SETOSA, [*SETOSA, 1.0]]}, 422, {"row": 1}),
        ({"features": [[1, 1, None, 1]]}, 422, {"row": 0, "column": 2, "feature": "petal_length"}),
        ('{"features": [[NaN, 1, 1, 1]]}', 422, {"row": 0, "column": 0, "feature": "sepal_length"}),
        ('{"features": [[1, 1, 1, 1], [1, -Infinity, 1, 1]]}', 422, {"row": 1, "column": 1, "feature": "sepal_width"}),
        ({"features": [[1, "1", 1, 1]]}, 422, {"row": 0, "column": 1, "feature": "sepal_width"}),
        ({"features": [[1, 1, 1, True]]}, 422, {"row": 0, "column": 3, "feature": "petal_width"}),
        ({"features": [[1, 1, 1, [1]]]}, 422, {"row": 0, "column": 3, "feature": "petal_width"}),
        ({"features": [[1, 1, 1, 1], [1e39, 1, 1, 1]]}, 422, {"row": 1, "column": 0, "feature": "sepal_length"}),
        ('{"features": [[1, 1, 1e999, 1]]}', 422, {"row": 0, "column": 2, "feature": "petal_length"}),
        ('{"features": [[1.5, 1, 1' + "0" * 400 + ", 1]]}", 422, {"row": 0, "column": 2, "feature": "petal_length"}),
        ({"features": [SETOSA] * (MAX_ROWS + 1)}, 413, {}),
        (" " * (MAX_BODY + 1), 413, {}),
    ],
)
def test_bad_input_is_refused_with_its_place(
    client: Client, document: Any, status: int, members: dict[str, Any]
) -> None:
    answer = post(client, document)
    flasks = post(client, document, FLASKS)
    assert (flasks.status_code, flasks.data) == (answer.status_code, answer.data)
    assert answer.status_code == status
    assert answer.content_type == "application/problem+json"
    problem = answer.get_json(force=True)
    assert problem["status"] == status
    assert problem["detail"]
    assert {name: problem[name] for name in ("row", "column", "feature") if name in problem} == members


def test_other_refusals_are_problems_too(client: Client) -> None:
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


def test_metrics_count(client: Client) -> None:
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
