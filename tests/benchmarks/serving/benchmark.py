# SPDX-License-Identifier: Apache-2.0
"""Measures our server and `mlflow models serve` of the same model side by side; see README.md.

Environment: ROUNDS (5), SECONDS of each measurement (1), API_IMAGE (a reference in the local engine, optional).
"""

from __future__ import annotations

import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import image
from servers import BIN, HERE, Running, constant, environment, mlflows, ours, running
from traffic import Target, peak, percentile_at_rate

ROUNDS = int(os.environ.get("ROUNDS", "5"))
SECONDS = int(os.environ.get("SECONDS", "1"))
BATCH = 1_000
RANDOM = random.Random(7)
ROWS = [[round(RANDOM.uniform(0, 8), 1) for _ in range(4)] for _ in range(BATCH)]

Samples = dict[str, list[float]]


def main() -> int:
    """Measure, print a table and write results.json beside this file."""
    if not shutil.which("wrk"):
        print("✗ wrk is needed: apt-get install wrk", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="benchmark-serving-") as folder:
        store = Path(folder)
        print("▸ training and registering the model", file=sys.stderr)
        subprocess.run(
            [f"{BIN}/python", str(HERE / "prepare.py")],
            cwd=store,
            env=environment(store),
            check=True,
            stdout=sys.stderr,
        )
        samples = measure(store)
    medians = {name: statistics.median(values) for name, values in samples.items()}
    medians |= image.sizes(os.environ["API_IMAGE"]) if os.environ.get("API_IMAGE") else {}
    (HERE / "results.json").write_text(json.dumps({"medians": medians, "samples": samples}, indent=2) + "\n")
    print(table(medians))
    return 0


def measure(store: Path) -> Samples:
    """Return all samples. Rates in answers a second, latencies and starts in seconds, memory in MB."""
    samples: Samples = defaultdict(list)
    contestants = {
        "ours 1": ours(store, 1),
        "ours 2": ours(store, 2),
        "mlflow 1": mlflows("models:/iris/1", 1),
        "mlflow 2": mlflows("models:/iris/1", 2),
        "mlflow sklearn 1": mlflows("models:/iris-sklearn/1", 1),
        "constant 1": constant("flask"),
        "empty 1": constant("empty"),
    }
    for _ in range(ROUNDS):
        for name in ("ours 1", "ours 2"):
            with running(contestants[name], store) as server:
                samples[f"start {name}"].append(server.seconds)
    with ExitStack() as stack:
        with ThreadPoolExecutor() as pool:
            started = pool.map(lambda how: stack.enter_context(running(how, store)), contestants.values())
            servers = dict(zip(contestants, started, strict=True))
        for server in servers.values():
            peak(server.target, 1)
        for number in range(ROUNDS):
            print(f"▸ round {number + 1} of {ROUNDS}", file=sys.stderr)
            one_round(servers, store, samples)
        for name, server in servers.items():
            for kind, size in server.worker_memory().items():
                samples[f"{kind} {name}"].append(size)
    return samples


def one_round(servers: dict[str, Running], store: Path, samples: Samples) -> None:
    """Measure everything once, one after the other, in an order of its own."""
    for name in RANDOM.sample(sorted(servers), len(servers)):
        target = servers[name].target
        samples[f"kept {name}"].append(peak(target, SECONDS))
        samples[f"fresh {name}"].append(peak(target, SECONDS, fresh=True))
    for name in ("ours 1", "mlflow 1", "mlflow sklearn 1"):
        half = statistics.median(samples[f"kept {name}"]) / 2
        samples[f"p99 {name}"].append(percentile_at_rate(servers[name].target, half, 2 * SECONDS))
    batch = json.dumps({"features": ROWS})
    samples["batch ours 1"].append(peak(Target(servers["ours 1"].target.port, "/predict", batch), SECONDS, 2))
    command = [f"{BIN}/python", str(HERE / "direct.py"), str(store / "model"), str(SECONDS)]
    direct = subprocess.run(command, input=batch, env=environment(store), capture_output=True, text=True, check=True)
    samples["batch direct"].append(float(direct.stdout))


def table(found: dict[str, float]) -> str:
    """Return the medians as a Markdown table, with the ratios that the floors are about."""

    def ratio(over: str, under: str) -> str:
        return f"{found[over] / found[under]:.2f}"

    def rates(name: str) -> str:
        return f"{found[f'kept {name}']:.0f} | {found[f'fresh {name}']:.0f}"

    lines = ["| answers a second, one row | connections kept | fresh |", "|---|---|---|"]
    lines += [f"| {name.removeprefix('kept ')} | {rates(name[5:])} |" for name in found if name.startswith("kept ")]
    lines += ["", "| figure | measured | floor |", "|---|---|---|"]
    for way in ("kept", "fresh"):
        for workers, floor in ((1, 20), (2, 9)):
            for peer in ("mlflow", "mlflow sklearn")[: 3 - workers]:
                times = ratio(f"{way} ours {workers}", f"{way} {peer} {workers}")
                lines.append(f"| ours / {peer}, {workers} worker(s), {way} | {times} | {floor} |")
        lines.append(f"| ours / constant, {way} | {ratio(f'{way} ours 1', f'{way} constant 1')} | 0.9 |")
        lines.append(f"| ours / empty answer, {way} | {ratio(f'{way} ours 1', f'{way} empty 1')} | |")
    for peer in ("mlflow 1", "mlflow sklearn 1"):
        milliseconds = f"{found['p99 ours 1'] * 1e3:.1f} ms / {found[f'p99 {peer}'] * 1e3:.1f} ms"
        lines.append(
            f"| p99 at half the peak, ours / {peer} | {milliseconds} = {ratio('p99 ours 1', f'p99 {peer}')} | 0.1 |"
        )
    batches = f"{found['batch ours 1'] * BATCH:.0f} rows/s"
    lines.append(f"| 1,000-row batches, ours / direct | {batches}, {ratio('batch ours 1', 'batch direct')} | 0.5 |")
    for name in ("ours 1", "ours 2", "mlflow 1"):
        lines.append(
            f"| memory a worker, {name} | {found[f'pss {name}']:.0f} MB (own: {found[f'uss {name}']:.0f}) | 90 |"
        )
    for name in ("ours 1", "ours 2"):
        lines.append(f"| start until /ready, {name} | {found[f'start {name}']:.2f} s | 1 |")
    if "image MB" in found:
        lines.append(f"| API image | {found['image MB']:.0f} MB | 250 |")
        sizes = f"{found['code layer kB']:.0f} kB ({found['code layer compressed kB']:.0f} compressed)"
        lines.append(f"| layer of the code, as a tar | {sizes} | 100 |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
