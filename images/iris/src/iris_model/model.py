# SPDX-License-Identifier: Apache-2.0
"""A model as it is served: a folder with `model.onnx`, `model.json` and `checksums.json`, and nothing to unpickle."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from iris_model import IrisError

if TYPE_CHECKING:
    import onnxruntime

MODEL_FILE = "model.onnx"
METADATA_FILE = "model.json"
CHECKSUMS_FILE = "checksums.json"

_LABELS = ["labels"]
_BOTH = ["labels", "probabilities"]


@dataclass(frozen=True)
class Model:
    """A loaded model.

    Attributes:
        session: the ONNX session; safe to call from several threads.
        run_options: of every call, since making them anew costs a fifth of it.
        metadata: what `model.json` says: features, classes, training distribution, versions.
        digest: SHA-256 of `checksums.json`, which stands for the whole folder.
    """

    session: onnxruntime.InferenceSession
    run_options: onnxruntime.RunOptions
    metadata: dict[str, Any]
    digest: str

    @classmethod
    def load(cls, folder: Path) -> Model:
        """Load and verify a model's folder, and let it answer once.

        Raises:
            IrisError: a file is missing, was changed, or is not a model.
        """
        digest = verify(folder)
        try:
            metadata = _metadata(folder)
            model = cls(*_session((folder / MODEL_FILE).read_bytes()), metadata, digest)
        except (OSError, ValueError) as error:
            raise IrisError(f"no model can be loaded from {folder}: {error}") from error
        model.predict(np.zeros((1, len(metadata["features"])), dtype=np.float32))
        return model

    @property
    def classes(self) -> list[str]:
        """The names of the labels."""
        return list(self.metadata["classes"])

    def predict(self, features: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return labels of shape (n,) and probabilities of shape (n, classes) for features of shape (n, 4)."""
        labels, probabilities = self.session.run(_BOTH, {"features": features}, self.run_options)
        return labels, probabilities

    def labels(self, features: NDArray[np.float32]) -> NDArray[np.int64]:
        """Return labels of shape (n,) for features of shape (n, 4)."""
        labels: NDArray[np.int64] = self.session.run(_LABELS, {"features": features}, self.run_options)[0]
        return labels


def _metadata(folder: Path) -> dict[str, Any]:
    """Return what a model says of itself.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not that of a model.
    """
    metadata = json.loads((folder / METADATA_FILE).read_text("utf-8"))
    for key, kind in {"features": list, "classes": list, "training": dict}.items():
        if not isinstance(metadata, dict) or not isinstance(metadata.get(key), kind):
            raise ValueError(f'{METADATA_FILE} has no {kind.__name__} "{key}"')
    return dict(metadata)


def _session(content: bytes) -> tuple[onnxruntime.InferenceSession, onnxruntime.RunOptions]:
    """Return a session that computes in the caller's thread: a forest answers in microseconds.

    Only here is ONNX Runtime imported: that starts a thread of its own, which a process that has yet to fork must not.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    # A row's few numbers come sooner from the C library than from a memory pool of ONNX Runtime's own.
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own exceptions have no base class of theirs
        raise ValueError(f"{MODEL_FILE}: {error}") from error
    return session, onnxruntime.RunOptions()


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def seal(folder: Path) -> str:
    """Write `checksums.json` over all files of a folder, and return its SHA-256."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != CHECKSUMS_FILE)
    sums = {path.relative_to(folder).as_posix(): _sha256(path) for path in files}
    (folder / CHECKSUMS_FILE).write_text(json.dumps(sums, indent=2) + "\n", "utf-8")
    return _sha256(folder / CHECKSUMS_FILE)


def verify(folder: Path) -> str:
    """Compare a folder's files with its `checksums.json`, and return the SHA-256 of that file.

    Raises:
        IrisError: a file is missing, or is not the one that was sealed.
    """
    try:
        sums = json.loads((folder / CHECKSUMS_FILE).read_text("utf-8"))
        changed = [name for name, expected in sums.items() if _sha256(folder / name) != expected]
    except (OSError, ValueError, AttributeError) as error:
        raise IrisError(f"{folder} is no model's folder: {error}") from error
    if changed:
        raise IrisError(f"{folder}: {changed[0]} is not the file that {CHECKSUMS_FILE} names; fetch the model again")
    if missing := {MODEL_FILE, METADATA_FILE} - sums.keys():
        raise IrisError(f"{folder}: {CHECKSUMS_FILE} does not name {min(missing)}")
    return _sha256(folder / CHECKSUMS_FILE)
