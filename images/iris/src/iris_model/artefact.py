# SPDX-License-Identifier: Apache-2.0
"""From a scikit-learn forest to the folder that serves, and the proof that both give the same answers."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import sklearn
from numpy.typing import NDArray
from onnx import TensorProto, helper
from sklearn.ensemble import RandomForestClassifier

from iris_model import IrisError, __version__, distribution
from iris_model.data import FEATURES, SPECIES, Dataset
from iris_model.model import METADATA_FILE, MODEL_FILE, Model
from iris_model.training import Hyperparameters, Metrics

#: On how many rows, at least, both forms are compared besides the training data.
CHECK_ROWS = 100_000


def to_onnx(forest: RandomForestClassifier) -> onnx.ModelProto:
    """Return the forest as an ONNX graph: features (n, 4) to labels (n,) and probabilities (n, classes).

    The leaves are added up unscaled, which is exact (see training._snap_leaves), and only then divided.
    """
    trees = len(forest.estimators_)
    graph = helper.make_graph(
        [
            helper.make_node(
                "TreeEnsembleRegressor", ["features"], ["sums"], domain="ai.onnx.ml", **_attributes(forest)
            ),
            helper.make_node("ArgMax", ["sums"], ["labels"], axis=1, keepdims=0),
            helper.make_node("Div", ["sums", "trees"], ["probabilities"]),
        ],
        "iris",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, len(FEATURES)])],
        [
            helper.make_tensor_value_info("labels", TensorProto.INT64, [None]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, len(SPECIES)]),
        ],
        [helper.make_tensor("trees", TensorProto.FLOAT, [1], [float(trees)])],
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)],
        ir_version=9,
        producer_name="iris-model",
        producer_version=__version__,
    )
    onnx.checker.check_model(model)
    return model


def _attributes(forest: RandomForestClassifier) -> dict[str, Any]:
    """Return all nodes of all trees as the parallel lists that the operator takes."""
    nodes: dict[str, list[Any]] = {
        f"nodes_{name}": []
        for name in ("treeids", "nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids")
    }
    targets: dict[str, list[Any]] = {f"target_{name}": [] for name in ("treeids", "nodeids", "ids", "weights")}
    for tree_id, estimator in enumerate(forest.estimators_):
        tree = estimator.tree_
        leaf = tree.children_left == -1
        nodes["nodes_treeids"] += [tree_id] * tree.node_count
        nodes["nodes_nodeids"] += range(tree.node_count)
        nodes["nodes_featureids"] += np.where(leaf, 0, tree.feature).tolist()
        nodes["nodes_values"] += np.where(leaf, 0.0, _thresholds(tree.threshold)).tolist()
        nodes["nodes_modes"] += np.where(leaf, "LEAF", "BRANCH_LEQ").tolist()
        nodes["nodes_truenodeids"] += np.where(leaf, 0, tree.children_left).tolist()
        nodes["nodes_falsenodeids"] += np.where(leaf, 0, tree.children_right).tolist()
        for node, target in zip(*np.nonzero(leaf[:, None] & (tree.value[:, 0, :] > 0)), strict=True):
            targets["target_treeids"].append(tree_id)
            targets["target_nodeids"].append(int(node))
            targets["target_ids"].append(int(target))
            targets["target_weights"].append(float(tree.value[node, 0, target]))
    return {**nodes, **targets, "n_targets": len(SPECIES), "post_transform": "NONE", "aggregate_function": "SUM"}


def _thresholds(thresholds: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return for each threshold the largest float32 that is not above it.

    scikit-learn compares float32 features with float64 thresholds, ONNX with float32 ones; `x <= threshold` is the
    same for every float32 x only when the threshold is rounded down, never to the nearest.
    """
    rounded = thresholds.astype(np.float32)
    too_high = rounded.astype(np.float64) > thresholds
    rounded[too_high] = np.nextafter(rounded[too_high], np.float32(-np.inf))
    return rounded


def check_rows(forest: RandomForestClassifier, dataset: Dataset, seed: int) -> NDArray[np.float32]:
    """Return rows to compare both forms on: all of `edge_rows`, and rows anywhere around the data.

    Shape (n, 4), n the larger of CHECK_ROWS and twice the number of edge rows.
    """
    random = np.random.default_rng(seed)
    low, high = dataset.features.min(axis=0), dataset.features.max(axis=0)
    low, high = low - (high - low), high + (high - low)
    edges = edge_rows(forest, low, high, random)
    anywhere = random.uniform(low, high, (max(CHECK_ROWS - len(edges), len(edges)), len(FEATURES))).astype(np.float32)
    return np.concatenate([edges, anywhere])


def edge_rows(
    forest: RandomForestClassifier,
    low: NDArray[np.float32],
    high: NDArray[np.float32],
    random: np.random.Generator,
) -> NDArray[np.float32]:
    """Return for each split of each tree three rows that come to it: right on its threshold, and one ulp beside.

    Args:
        forest: the forest, with float64 thresholds.
        low: shape (4,); where a row is not held back by a split, its numbers lie above this,
        high: and below this.
        random: where between they lie.

    Returns:
        Shape (3 * splits, 4).
    """
    rows = []
    for estimator in forest.estimators_:
        tree = estimator.tree_
        boxes = [(0, low.astype(np.float64), high.astype(np.float64))]
        while boxes:
            node, low_here, high_here = boxes.pop()
            feature, threshold = tree.feature[node], tree.threshold[node]
            if tree.children_left[node] == -1:
                continue
            nearest = np.float32(threshold)
            for value in (
                np.nextafter(nearest, np.float32(-np.inf)),
                nearest,
                np.nextafter(nearest, np.float32(np.inf)),
            ):
                row = random.uniform(low_here, high_here).astype(np.float32)
                row[feature] = value
                rows.append(row)
            left, right = high_here.copy(), low_here.copy()
            left[feature] = right[feature] = threshold
            boxes += [(tree.children_left[node], low_here, left), (tree.children_right[node], right, high_here)]
    return np.array(rows, dtype=np.float32).reshape(-1, len(FEATURES))


def check(forest: RandomForestClassifier, model: Model, dataset: Dataset, seed: int) -> int:
    """Compare both forms on the training data and on generated rows, and return on how many.

    Raises:
        IrisError: their labels or their probabilities, in float32, are not equal on a row.
    """
    rows = np.concatenate([dataset.features, check_rows(forest, dataset, seed)])
    labels, probabilities = model.predict(rows)
    expected = forest.predict_proba(rows).astype(np.float32)
    differ = np.flatnonzero((forest.predict(rows) != labels) | (expected != probabilities).any(axis=1))
    if len(differ):
        raise IrisError(
            f"the ONNX model's answers differ from scikit-learn's on {len(differ)} of {len(rows)} rows, "
            f"first on {rows[differ[0]].tolist()}; it is not registered"
        )
    return len(rows)


def metadata(dataset: Dataset, parameters: Hyperparameters, metrics: Metrics) -> dict[str, Any]:
    """Return what `model.json` holds: nothing in it depends on when the training ran, or in which folder."""
    return {
        "name": "iris",
        "features": list(FEATURES),
        "classes": list(SPECIES),
        "parameters": asdict(parameters),
        "metrics": metrics,
        "training": {
            "source": Path(dataset.source).name,
            "rows": len(dataset),
            "digest": f"sha256:{dataset.digest}",
            # What serving measures drift against.
            "bins": {name: distribution.describe(dataset.features[:, column]) for column, name in enumerate(FEATURES)},
            "classes": np.bincount(dataset.labels, minlength=len(SPECIES)).tolist(),
        },
        "versions": {
            "iris_model": __version__,
            "numpy": np.__version__,
            "onnx": onnx.__version__,
            "python": platform.python_version(),
            "scikit_learn": sklearn.__version__,
        },
    }


def write(folder: Path, graph: onnx.ModelProto, description: dict[str, Any]) -> None:
    """Write `model.onnx` and `model.json` into a folder; sealing it is left to whoever adds the last file."""
    (folder / MODEL_FILE).write_bytes(graph.SerializeToString(deterministic=True))
    (folder / METADATA_FILE).write_text(json.dumps(description, indent=2) + "\n", "utf-8")
