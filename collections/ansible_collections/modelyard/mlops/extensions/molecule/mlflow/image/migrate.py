# SPDX-License-Identifier: Apache-2.0
"""Gives the MLflow of this image one more migration: `fails` half-way, or `spoils` what its server needs."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from alembic.script import ScriptDirectory

MIGRATION = """
from alembic import op

revision, down_revision, branch_labels, depends_on = "feedfacecafe", "{head}", None, None


def upgrade():
    op.execute("CREATE TABLE from_tomorrow (id INTEGER)")
    op.execute("{statement}")
"""
STATEMENTS = {"fails": "SELECT * FROM nowhere", "spoils": "ALTER TABLE experiments RENAME COLUMN name TO title"}

package = importlib.util.find_spec("mlflow")
assert package is not None
assert package.submodule_search_locations is not None
folder = Path(package.submodule_search_locations[0]) / "store/db_migrations"
head = ScriptDirectory(str(folder)).get_current_head()
text = MIGRATION.format(head=head, statement=STATEMENTS[sys.argv[1]])
(folder / "versions/feedfacecafe_from_tomorrow.py").write_text(text)
