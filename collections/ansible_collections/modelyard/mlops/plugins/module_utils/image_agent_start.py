# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""The first of what image_transfer sends to a host's Python: imports the rest out of memory, and runs it.

Nothing is installed or written there. Python reads this text, with the rest, from its standard input; after it comes
the question for the agent.
"""

from __future__ import annotations

import sys
import typing as t
from importlib.machinery import ModuleSpec
from types import ModuleType

PACKAGE = "modelyard_sent"


class Sent:
    """Finds modules among the texts that were sent, and runs those that are imported, as `sys.meta_path` wants it."""

    def __init__(self, texts: dict[str, str]) -> None:
        self._texts = {PACKAGE: "", **{f"{PACKAGE}.{name}": text for name, text in texts.items()}}

    def find_spec(self, name: str, _path: t.Any = None, _target: t.Any = None) -> ModuleSpec | None:
        """What Python has to know about the module before it loads it."""
        if name not in self._texts:
            return None
        return ModuleSpec(name, t.cast(t.Any, self), is_package=name == PACKAGE)

    def create_module(self, _spec: ModuleSpec) -> None:
        """An ordinary module will do."""

    def exec_module(self, module: ModuleType) -> None:
        """Fill a module."""
        name = module.__name__
        exec(compile(self._texts[name], f"<sent {name}>", "exec"), module.__dict__)


def start(texts: dict[str, str]) -> None:
    """Let the agent answer what standard input asks."""
    # http.client loads it if it can, which takes longer than the rest of it, and a unix socket has no use for it.
    sys.modules.setdefault("ssl", t.cast(t.Any, None))
    sys.meta_path.insert(0, t.cast(t.Any, Sent(texts)))
    agent = __import__(f"{PACKAGE}.image_agent", fromlist=["main"])
    agent.main(sys.stdin.buffer, sys.stdout)
