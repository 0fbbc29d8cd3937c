# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""What several tests of releases start from."""

from __future__ import annotations

from pathlib import Path

import pytest

from .fakes import Host, release


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """Nothing is deployed."""
    return Host(tmp_path)


@pytest.fixture
def serving(host: Host) -> Host:
    """Release 1 serves."""
    host.deliver(release(1))
    return host
