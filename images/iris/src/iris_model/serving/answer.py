# SPDX-License-Identifier: Apache-2.0
"""From the body of a request for predictions to the body of its answer; HTTP is others' business."""

from __future__ import annotations

import msgspec

from iris_model.model import Model
from iris_model.serving.counts import Counts
from iris_model.serving.validation import Parser


class Answer:
    """Answers queries with one model, and counts what it has predicted."""

    def __init__(self, model: Model, counts: Counts) -> None:
        """Answer with this model."""
        self._model = model
        self._parse = Parser(model.metadata["features"])
        self._encode = msgspec.json.Encoder().encode
        self._counts = counts

    def __call__(self, body: bytes) -> bytes:
        """Return the answer to a query.

        Raises:
            Problem: the body is not a query.
        """
        query = self._parse(body)
        answer: dict[str, list[int] | list[list[float]]]
        if query.probabilities:
            labels, probabilities = self._model.predict(query.features)
            # float32 has no more digits to give, and as doubles they would all be printed with noise behind them.
            predictions = labels.tolist()
            answer = {"predictions": predictions, "probabilities": probabilities.astype(float).round(6).tolist()}
        else:
            predictions = self._model.labels(query.features).tolist()
            answer = {"predictions": predictions}
        self._counts.predicted(predictions, query.features)
        content: bytes = self._encode(answer) + b"\n"
        return content
