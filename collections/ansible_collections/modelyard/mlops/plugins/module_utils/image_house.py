# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""Which images of a host are needed no more.

Only images that were brought here (see image_records) and that have no name which others gave them come into
question. Of each repository the newest stay; and whatever is wanted, has a container, or belongs to a release
that is kept, stays in any case.
"""

from __future__ import annotations

import glob
import json
import os
import typing as t

from .engine import EngineError
from .image_key import familiar, split_reference
from .image_records import Record
from .image_target import Target


def _needed(target: Target, wanted: t.Iterable[tuple[str, str]], apps: str) -> set[str]:
    """The keys and IDs of the images that stay in any case."""
    stays = target.used() | {key for _unused, key in wanted}
    for path in glob.glob(os.path.join(glob.escape(apps), "*", "releases", "*", "release.json")):
        with open(path, encoding="utf-8") as file:
            stays.add(json.load(file)["image_key"])
    return stays


def surplus(target: Target, wanted: t.Sequence[tuple[str, str]], keep: int, apps: str) -> list[Record]:
    """The images that can go, the oldest first.

    :param wanted: name and key of the images that the host has to have.
    :param keep: how many of each repository stay, with those of `wanted` that are still to come.
    :param apps: the folder in which the releases of apps are recorded.
    :raises OSError, ValueError, KeyError: a release cannot be read, so nobody knows what it needs.
    """
    here = [(record, target.inspect(record.id)) for record in target.records.all() if record.names]
    ours = [record for record, image in here if image and not _foreign_names(record, image)]
    known = {record.key for record in ours}
    counts: dict[str, int] = {}
    for name, key in wanted:
        if key not in known:
            repository = split_reference(name)[0]
            counts[repository] = counts.get(repository, 0) + 1
    stays = _needed(target, wanted, apps)
    found = []
    for record in sorted(ours, key=lambda record: record.loaded, reverse=True):
        repository = split_reference(record.names[-1])[0]
        counts[repository] = counts.get(repository, 0) + 1
        if counts[repository] > keep and stays.isdisjoint((record.id, record.key)):
            found.append(record)
    return found[::-1]


def prune(target: Target, wanted: t.Sequence[tuple[str, str]], keep: int, apps: str) -> tuple[list[Record], list[str]]:
    """Remove what is needed no more; returns it, and what the engine said about what it did not remove."""
    found = surplus(target, wanted, keep, apps)
    refusals = {record.id: _remove(target, record) for record in found}
    return [record for record in found if not refusals[record.id]], list(filter(None, refusals.values()))


def _remove(target: Target, record: Record) -> str:
    """Returns why the engine refused; it is the last to decide, since a container may have been made meanwhile."""
    try:
        target.remove(record)
    except EngineError as error:
        return error.message
    return ""


def _foreign_names(record: Record, image: dict[str, t.Any]) -> set[str]:
    return {familiar(name) for name in image.get("RepoTags") or []} - {familiar(name) for name in record.names}
