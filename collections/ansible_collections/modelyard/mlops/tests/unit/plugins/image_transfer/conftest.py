# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""What several tests of image_transfer start from."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.modelyard.mlops.plugins.plugin_utils.image_cache import Cache


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", max_bytes=10**9, max_age=1000.0)
