# SPDX-License-Identifier: Apache-2.0
"""From the body of a request for predictions to the body of its answer; HTTP is others' business."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from iris_model.model import Model
from iris_model.serving.counts import Counts
from iris_model.serving.validation import Parser


class Answer:
    """Answers queries with one model, and counts what it has predicted."""

    def __init__(self, model: Model, counts: Counts) -> None:
        """Answer with this model."""
        self._model = model
        self._counts = counts
        self._encode = msgspec.json.Encoder().encode
        #: From a body to the query in it; raises Problem.
        self.parse = Parser(model.metadata["features"])

    def __call__(self, body: bytes) -> bytes:
        """Return the answer to a query.

        Raises:
            Problem: the body is not a query.
        """
        query = self.parse(body)
        if not query.probabilities:
            return self.encode(self.labels(query.features))
        labels, probabilities = self._model.predict(query.features)
        predictions = labels.tolist()
        self._counts.predicted(predictions, query.features)
        # float32 has no more digits to give, and as doubles they would all be printed with noise behind them.
        return self.encode(predictions, probabilities=probabilities.astype(float).round(6).tolist())

    def labels(self, features: NDArray[np.float32]) -> list[int]:
        """Return the labels of rows, shape (n, features)."""
        labels: list[int] = self._model.labels(features).tolist()
        self._counts.predicted(labels, features)
        return labels

    def encode(self, predictions: list[int], **more: Any) -> bytes:
        """Return the body of an answer."""
        content: bytes = self._encode({"predictions": predictions, **more})
        return content + b"\n"
