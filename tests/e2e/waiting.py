# SPDX-License-Identifier: Apache-2.0
"""What Prometheus has measured comes late, and a target that answers late leaves a gap."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def wait_for(found: Callable[[], Any], expected: Any) -> None:
    """Fail unless what is found becomes what is expected, within a minute."""
    deadline = time.monotonic() + 60
    while (last := found()) != expected and time.monotonic() < deadline:
        time.sleep(2)
    assert last == expected
