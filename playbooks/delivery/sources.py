# SPDX-License-Identifier: Apache-2.0
"""Whether the files that a commit brings can be read at all, asked before anything is changed for them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import yaml

from .errors import DeliveryError

# Below these lies what a delivery reads: playbooks and inventories, roles with their rules and dashboards.
PLACES = ("playbooks", "collections/ansible_collections/modelyard/mlops/roles")
KINDS = (".json", ".yml", ".yaml")


class _AnyTag(yaml.CSafeLoader):
    """Reads YAML with the tags of others, such as Ansible's !vault."""


_AnyTag.add_multi_constructor("!", lambda loader, suffix, node: None)


def check(root: Path) -> None:
    """Read every YAML and JSON file that a delivery reads.

    :raises DeliveryError: some are not what their names say; it names each, and where.
    """
    problems = [f"{path.relative_to(root)}: {why}" for path in _files(root) for why in _problem(path)]
    if problems:
        raise DeliveryError("nothing was changed, since these cannot be read:\n" + "\n".join(problems))


def _files(root: Path) -> Iterator[Path]:
    for place in PLACES:
        yield from sorted(path for path in (root / place).rglob("*") if path.suffix in KINDS and path.is_file())


def _problem(path: Path) -> Iterator[str]:
    text = path.read_text()
    try:
        if path.suffix == ".json":
            json.loads(text)
        else:
            for _ in yaml.load_all(text, Loader=_AnyTag):
                pass
    except json.JSONDecodeError as error:
        yield f"line {error.lineno}: {error.msg}"
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        yield f"line {mark.line + 1 if mark else '?'}: {error.problem or error.context}"
    except yaml.YAMLError as error:
        yield str(error)
