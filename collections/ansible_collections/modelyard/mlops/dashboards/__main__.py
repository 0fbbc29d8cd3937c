# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""Write the dashboards into the role, and remove those that no code builds any more."""

from __future__ import annotations

from .build import FOLDER, rendered


def main() -> None:
    """Make the folder hold what the code builds, and nothing else."""
    wanted = rendered()
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path in FOLDER.glob("*.json"):
        if path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        print(FOLDER / name)


if __name__ == "__main__":
    main()
