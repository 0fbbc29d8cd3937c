# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""One image on its way to one host, and what became of it."""

from __future__ import annotations

import time
import typing as t
from dataclasses import dataclass, field

from ansible_collections.modelyard.mlops.plugins.module_utils.image_key import Image

from .image_plan import Look, Plan
from .image_source import Source


@dataclass
class Task:
    """One image on its way to this host.

    :ivar images: the image on each platform; `image` is the one for this host.
    :ivar exported: the bytes that nobody had put into the cache before.
    :ivar blobs: what was sent, as the agent takes it to load it.
    """

    name: str
    source: Source
    images: list[Image]
    image: Image = field(init=False)
    plan: Plan = field(init=False)
    blobs: list[dict[str, t.Any]] = field(default_factory=list)
    changed: bool = False
    id: str = ""
    exported: int = 0
    sent: int = 0
    skipped: int = 0
    began: float = 0.0

    def report(self, look: Look) -> dict[str, t.Any]:
        """What the action returns of it."""
        layers = len(self.plan.layers)
        return {
            "key": self.image.key,
            "id": self.id,
            "changed": self.changed,
            "path": self.plan.path,
            "reason": self.plan.reason,
            "store": (look["engine"] or {}).get("store", ""),
            "bytes_total": self.image.size,
            "bytes_exported": self.exported,
            "bytes_sent": self.sent,
            "bytes_skipped": self.skipped,
            "layers_total": len(self.image.layers),
            "layers_sent": layers,
            "layers_skipped": len(self.image.layers) - layers,
            "seconds": round(time.monotonic() - self.began, 2),
        }


def report_pulled(pulled: dict[str, t.Any], began: float) -> dict[str, t.Any]:
    """The same of an image that the host has pulled; `pulled` is what the agent said."""
    return {
        "key": pulled["key"],
        "id": pulled["key"],
        "changed": pulled["changed"],
        "path": pulled["path"],
        "reason": "",
        "store": pulled["store"],
        "bytes_total": pulled["size"],
        "bytes_exported": 0,
        "bytes_sent": 0,
        "bytes_skipped": 0,
        "layers_total": pulled["layers"],
        "layers_sent": 0,
        "layers_skipped": 0,
        "seconds": round(time.monotonic() - began, 2),
    }
