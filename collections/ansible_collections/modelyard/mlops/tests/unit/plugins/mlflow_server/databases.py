# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""What tests do to a database in a file."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path


def execute(path: Path, *statements: str) -> None:
    """Run statements in a database."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def runs(path: Path) -> list[str]:
    """The names of the runs in a database."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return [name for (name,) in connection.execute("SELECT name FROM runs ORDER BY name")]
