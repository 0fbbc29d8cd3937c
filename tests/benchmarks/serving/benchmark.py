# SPDX-License-Identifier: Apache-2.0
"""Measures our server and `mlflow models serve` of the same model side by side; see README.md.

Environment: ROUNDS (5), DURATION of each measurement in seconds (1), API_IMAGE (a reference in the local engine,
optional).
"""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import image
from servers import BIN, HERE, Running, constant, environment, mlflows, ours, running
from traffic import Target, peak, percentile_at_rate

ROUNDS = int(os.environ.get("ROUNDS", "5"))
# Not SECONDS: in bash, which make runs, that is a clock, and would be inherited as such.
DURATION = int(os.environ.get("DURATION", "1"))
BATCH = 1_000
RANDOM = random.Random(7)
ROWS = [[round(RANDOM.uniform(0, 8), 1) for _ in range(4)] for _ in range(BATCH)]

PEERS = ("mlflow 1", "mlflow sklearn 1")

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
        "mlflow sklearn 2": mlflows("models:/iris-sklearn/1", 2),
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
            server.sleep()
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
        with servers[name].awake() as target:
            samples[f"kept {name}"].append(peak(target, DURATION))
            samples[f"fresh {name}"].append(peak(target, DURATION, fresh=True))
    half = {name: statistics.median(samples[f"kept {name}"]) / 2 for name in ("ours 1", *PEERS)}
    for name, rate in half.items():
        with servers[name].awake() as target:
            samples[f"p99 {name}"].append(percentile_at_rate(target, rate, 2 * DURATION))
    for name, peer in itertools.product(("ours 1", "empty 1"), PEERS):
        with servers[name].awake() as target:
            samples[f"p99 {name} at {peer}"].append(percentile_at_rate(target, half[peer], 4 * DURATION))
    batch = json.dumps({"features": ROWS})
    with servers["ours 1"].awake() as target:
        samples["batch ours 1"].append(peak(Target(target.port, "/predict", batch), DURATION, 2))
    command = [f"{BIN}/python", str(HERE / "direct.py"), str(store / "model"), str(DURATION)]
    direct = subprocess.run(command, input=batch, env=environment(store), capture_output=True, text=True, check=True)
    samples["batch direct"].append(float(direct.stdout))


def table(found: dict[str, float]) -> str:
    """Return the medians as a Markdown table, with the ratios that the floors are about."""
    lines = ["| answers a second, one row | connections kept | fresh |", "|---|---|---|"]
    names = [name.removeprefix("kept ") for name in found if name.startswith("kept ")]
    lines += [f"| {name} | {found[f'kept {name}']:.0f} | {found[f'fresh {name}']:.0f} |" for name in names]
    lines += ["", "| figure | measured | floor |", "|---|---|---|"]
    return "\n".join([*lines, *_rates(found), *_latencies(found), *_costs(found)])


def _ratio(found: dict[str, float], over: str, under: str) -> str:
    return f"{found[over] / found[under]:.2f}"


def _rates(found: dict[str, float]) -> Iterator[str]:
    for way in ("kept", "fresh"):
        for workers, floor in ((1, 20), (2, 9)):
            for peer in ("mlflow", "mlflow sklearn"):
                times = _ratio(found, f"{way} ours {workers}", f"{way} {peer} {workers}")
                yield f"| ours / {peer}, {workers} worker(s), {way} | {times} | {floor} |"
        for peer, floor_there in (("constant", "0.9"), ("empty", "")):
            yield f"| ours / {peer}, {way} | {_ratio(found, f'{way} ours 1', f'{way} {peer} 1')} | {floor_there} |"
    batches = f"{found['batch ours 1'] * BATCH:.0f} rows/s"
    yield f"| 1,000-row batches, ours / direct | {batches}, {_ratio(found, 'batch ours 1', 'batch direct')} | 0.5 |"


def _latencies(found: dict[str, float]) -> Iterator[str]:
    for peer in PEERS:
        for what, mine in (("half the own peak", "p99 ours 1"), ("half the peer's peak", f"p99 ours 1 at {peer}")):
            milliseconds = f"{found[mine] * 1e3:.2f} ms / {found[f'p99 {peer}'] * 1e3:.2f} ms"
            yield f"| p99 at {what}, ours / {peer} | {milliseconds} = {_ratio(found, mine, f'p99 {peer}')} | 0.1 |"
        limit = f"p99 empty 1 at {peer}"
        ratio = _ratio(found, limit, f"p99 {peer}")
        yield f"| p99 at half the peer's peak, empty / {peer} | {found[limit] * 1e3:.2f} ms = {ratio} | |"


def _costs(found: dict[str, float]) -> Iterator[str]:
    for name in ("ours 1", "ours 2", "mlflow 1"):
        yield f"| memory a worker, {name} | {found[f'pss {name}']:.0f} MB (own: {found[f'uss {name}']:.0f}) | 90 |"
    for name in ("ours 1", "ours 2"):
        yield f"| start until /ready, {name} | {found[f'start {name}']:.2f} s | 1 |"
    if "image MB" in found:
        yield f"| API image | {found['image MB']:.0f} MB | 250 |"
        sizes = f"{found['code layer kB']:.0f} kB ({found['code layer compressed kB']:.0f} compressed)"
        yield f"| layer of the code, as a tar | {sizes} | 100 |"


if __name__ == "__main__":
    sys.exit(main())
