# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""What a host remembers of the images that were brought to it, in one file next to the staging folder.

An engine tells of an image neither who brought it nor, with the containerd store, its key. Both decide: only
what was brought is ever removed, and only what has the wanted key is the wanted image.
"""

from __future__ import annotations

import json
import os
import typing as t


class Record(t.NamedTuple):
    """An image that was brought.

    :ivar id: the engine's own ID of it.
    :ivar names: the references that it was given, the latest last.
    :ivar loaded: when, in seconds since 1970.
    :ivar layers: the bytes of each of its layers by digest.
    """

    id: str
    key: str
    loaded: float
    names: tuple[str, ...] = ()
    layers: t.Mapping[str, int] = {}


class Records:
    """The records of a host. Who changes them holds the lock of the staging folder."""

    def __init__(self, path: str) -> None:
        self._path = path

    def all(self) -> list[Record]:
        """All records, also of images which the engine does not have any more."""
        try:
            with open(self._path, encoding="utf-8") as file:
                found = json.load(file)
        except FileNotFoundError:
            return []
        return [Record(**{**fields, "names": tuple(fields["names"])}) for fields in found]

    def get(self, image: str) -> Record | None:
        """The record of the image which the engine calls `image`, or None."""
        return next((record for record in self.all() if record.id == image), None)

    def put(self, record: Record) -> None:
        """Keep a record, in the place of the former one of that image."""
        self._write([*(known for known in self.all() if known.id != record.id), record])

    def name(self, image: str, name: str) -> None:
        """Remember that `image` was given a name; no work for an image that was not brought."""
        record = self.get(image)
        if record and record.names[-1:] != (name,):
            self.put(record._replace(names=(*(known for known in record.names if known != name), name)))

    def forget(self, images: t.Collection[str]) -> None:
        """Drop the records of `images`."""
        self._write([record for record in self.all() if record.id not in images])

    def _write(self, records: list[Record]) -> None:
        new = self._path + ".new"
        with open(new, "w", encoding="utf-8") as file:
            json.dump([record._asdict() for record in records], file, indent=1, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, self._path)
