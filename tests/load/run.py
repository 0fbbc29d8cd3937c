# SPDX-License-Identifier: Apache-2.0
"""Sends predictions to an API at a constant rate and says how it took them; exit code 1 when it failed any.

Environment: HOST (as http://10.0.0.1), RATE (requests a second), FOR (seconds), BAD (the share of requests
that are wrong on purpose; the API must refuse them with a 4xx), DRIFT (the share of predictions asked for
flowers unlike those of the training, which the dashboards and the alert FeatureDrift are there to notice).
"""

# ruff: noqa: E402  (locust's sockets must be gevent's before anything else imports them)
from __future__ import annotations

import gevent.monkey

gevent.monkey.patch_all()

import math
import os
import random
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass

import gevent
from locust import FastHttpUser, constant_throughput, task
from locust.env import Environment
from locust.stats import RequestStats

PREDICTION, BAD_REQUEST = "prediction", "bad request"
PERCENTILES = (50, 95, 99, 100)
# Means and standard deviations of the training's three species, in cm; flowers are drawn from them, for a few fixed
# ones would themselves be drift.
SPECIES = (
    ((5.0, 3.4, 1.5, 0.25), (0.35, 0.38, 0.17, 0.11)),
    ((5.9, 2.8, 4.3, 1.33), (0.52, 0.31, 0.47, 0.20)),
    ((6.6, 3.0, 5.6, 2.03), (0.64, 0.32, 0.55, 0.27)),
)
# A client that measures petals in another unit.
DRIFTED = (1.0, 1.0, 1.6, 1.6)
NO_FLOWERS: tuple[object, ...] = ([], [[1.0]], [["a", "b", "c", "d"]], "five", None)


@dataclass(frozen=True)
class Load:
    """What is asked for."""

    host: str
    rate: float
    seconds: float
    bad: float
    drift: float


class Client(FastHttpUser):
    """Somebody who sends one prediction after the other."""

    # `main` says how many a second each client sends, and which share of them is wrong, or has drifted.
    bad = 0.0
    drift = 0.0

    @task
    def predict(self) -> None:
        """Send a prediction and look at the answer."""
        if random.random() < self.bad:
            self._send(BAD_REQUEST, random.choice(NO_FLOWERS), range(400, 500))
        else:
            self._send(PREDICTION, [flower(drifted=random.random() < self.drift)], range(200, 201))

    def _send(self, name: str, features: object, expected: range) -> None:
        with self.rest("POST", "/predict", name=name, json={"features": features}) as answer:
            text = (answer.text or "")[:80]
            if answer.status_code not in expected:
                answer.failure(f"{answer.status_code} {text}" if answer.status_code else str(answer.error))
            elif name == PREDICTION and "predictions" not in (answer.js or {}):
                answer.failure(f"no predictions in {text}")
            else:
                answer.success()


def main() -> int:
    """Send the load; return the exit code."""
    try:
        load = wanted(os.environ)
    except ValueError as error:
        print(f"✗ {error}", file=sys.stderr)
        return 2
    # A client waits for its answer before it sends the next: with one for each request of a second, the rate
    # stays constant while the API answers within a second.
    clients = math.ceil(load.rate)
    Client.bad, Client.drift = load.bad, load.drift
    Client.wait_time = constant_throughput(load.rate / clients)
    environment = Environment(user_classes=[Client], host=load.host)
    runner = environment.create_local_runner()
    print(f"▸ {load.rate:g} requests a second to {load.host} for {load.seconds:g} s", flush=True)
    started = time.monotonic()
    try:
        runner.start(clients, spawn_rate=min(clients, 100))
        gevent.sleep(load.seconds)
    except KeyboardInterrupt:
        print("stopped")
    seconds = time.monotonic() - started
    runner.quit()
    print(report(environment.stats, load.rate, seconds))
    return 1 if environment.stats.num_failures or not environment.stats.num_requests else 0


def wanted(environ: Mapping[str, str]) -> Load:
    """Read what is asked for.

    :raises ValueError: a variable is missing or makes no sense; the message names it.
    """
    numbers = {"RATE": 20.0, "FOR": 60.0, "BAD": 0.0, "DRIFT": 0.0}
    for name, usual in numbers.items():
        text = environ.get(name) or str(usual)
        try:
            numbers[name] = float(text)
        except ValueError:
            raise ValueError(f"{name}={text} is no number") from None
    if not environ.get("HOST"):
        raise ValueError("HOST is not set: give the API's address, as HOST=http://10.0.0.1")
    for name in ("RATE", "FOR"):
        if not 0 < numbers[name] <= 100_000:
            raise ValueError(f"{name}={numbers[name]:g} must be above 0 and at most 100000")
    for name in ("BAD", "DRIFT"):
        if not 0 <= numbers[name] <= 1:
            raise ValueError(f"{name}={numbers[name]:g} must be a share, from 0 to 1")
    return Load(environ["HOST"], numbers["RATE"], numbers["FOR"], numbers["BAD"], numbers["DRIFT"])


def flower(drifted: bool = False) -> list[float]:
    """Return the measures of a flower like those of the training, or unlike them."""
    means, deviations = random.choice(SPECIES)
    factors = DRIFTED if drifted else (1.0,) * len(DRIFTED)
    measures = (random.gauss(mean, deviation) for mean, deviation in zip(means, deviations, strict=True))
    return [round(max(0.1, measure) * factor, 1) for measure, factor in zip(measures, factors, strict=True)]


def report(stats: RequestStats, rate: float, seconds: float) -> str:
    """Return the table: rate, failures and latencies by kind of request, and the reasons of failures."""
    columns = "".join(f"{f'p{percentile}':>8}" for percentile in PERCENTILES)
    lines = [f"{'':<12}{'requests':>10}{'per s':>8}{'failed':>8}{columns}"]
    for name in (PREDICTION, BAD_REQUEST):
        entry = stats.get(name, "POST")
        if entry.num_requests:
            counts = f"{entry.num_requests:>10}{entry.num_requests / seconds:>8.1f}{entry.num_failures:>8}"
            quantiles = (entry.get_response_time_percentile(percentile / 100) for percentile in PERCENTILES)
            lines.append(f"{name:<12}{counts}" + "".join(f"{quantile:>5.0f} ms" for quantile in quantiles))
    lines += [f"{failure.occurrences} times, {failure.name}: {failure.error}" for failure in stats.errors.values()]
    got = stats.num_requests / seconds
    lines.append(f"{stats.num_requests} requests, {got:.1f} of {rate:g} a second, failures: {stats.num_failures}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
