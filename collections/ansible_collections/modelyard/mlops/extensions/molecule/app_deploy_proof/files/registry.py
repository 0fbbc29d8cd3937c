# SPDX-License-Identifier: Apache-2.0
"""A registry with one model, version 2, as the unit tests have it; argv names what is wrong with it."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from fakes import FakeMlflow  # type: ignore[import-not-found]  # on the host, it lies beside this file

wrong = sys.argv[1]
registry = FakeMlflow()
registry.files["model.bin"] = b"what the shop recommends"
registry.seal("model.bin")
if wrong == "corrupt":
    registry.files["model.bin"] = b"what the shop rec0mmends"
if wrong == "alias":
    registry.aliases = {"challenger": "2"}
if wrong == "files":
    registry.files, registry.tags = {}, {}
Path("/opt/proof/registry.uri").write_text(registry.uri, encoding="utf-8")
threading.Event().wait()
