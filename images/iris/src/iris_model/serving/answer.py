# SPDX-License-Identifier: Apache-2.0
"""From the body of a request for predictions to the body of its answer; HTTP is others' business."""

from __future__ import annotations

import orjson

from iris_model.model import Model
from iris_model.serving.counts import Counts
from iris_model.serving.validation import parse


class Answer:
    """Answers queries with one model, and counts what it has predicted."""

    def __init__(self, model: Model, counts: Counts) -> None:
        """Answer with this model."""
        self._run = model.session.run
        self._names: list[str] = model.metadata["features"]
        self._counts = counts

    def __call__(self, body: bytes) -> bytes:
        """Return the answer to a query.

        Raises:
            Problem: the body is not a query.
        """
        query = parse(body, self._names)
        # Naming the outputs is what it takes not to have probabilities worked out that nobody wants.
        wanted = ["labels", "probabilities"] if query.probabilities else ["labels"]
        found = self._run(wanted, {"features": query.features})
        answer = {"predictions": found[0].tolist()}
        self._counts.predicted(answer["predictions"], query.features)
        if query.probabilities:
            # float32 has no more digits to give, and as doubles they would all be printed with noise behind them.
            answer["probabilities"] = found[1].astype(float).round(6).tolist()
        content: bytes = orjson.dumps(answer, option=orjson.OPT_APPEND_NEWLINE)
        return content
