# SPDX-License-Identifier: Apache-2.0
"""The host is empty before each test."""

from __future__ import annotations

import hashlib
import os
import typing as t
import uuid
from pathlib import Path

import docker
import pytest

from ansible_collections.modelyard.mlops.extensions.molecule.image_transfer.build import MIB, build
from ansible_collections.modelyard.mlops.extensions.molecule.image_transfer_faults.harness import (
    STAGING,
    Body,
    Controller,
)

# Two checkouts may test at once on one engine.
_RUN = hashlib.sha1(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"].encode()).hexdigest()[:8]


@pytest.fixture(scope="session")
def body() -> Body:
    """The host."""
    return Body()


@pytest.fixture
def controller(tmp_path: Path) -> Controller:
    """A controller whose cache is empty."""
    return Controller(tmp_path)


@pytest.fixture(autouse=True)
def _empty(body: Body) -> None:
    body.settle()
    body.run(f"docker image prune --all --force; rm -rf {STAGING}/*")


@pytest.fixture
def image() -> t.Iterator[tuple[str, str]]:
    """Name and key of an image that no other test has: three layers of 5 MiB of noise, and one of code."""
    name = f"molecule-images-{_RUN}/faults:{uuid.uuid4().hex[:8]}"
    key = build(name, "code", name, [5 * MIB] * 3)
    yield name, key
    docker.from_env().images.remove(key, force=True)
