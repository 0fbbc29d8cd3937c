# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""What several tests of models start from."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .fakes import FakeMlflow


@pytest.fixture
def server() -> Iterator[FakeMlflow]:
    """A server whose model has two files that are sealed, and one beside them."""
    fake = FakeMlflow()
    fake.files = {"model.onnx": b"weights" * 1000, "meta/model.json": b"{}", "model.pkl": b"never fetched"}
    fake.seal("model.onnx", "meta/model.json")
    yield fake
    fake.close()
