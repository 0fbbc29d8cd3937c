# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""Training runs on a host: what identifies one, what became of it, and the container that does it.

A run is a container that goes on by itself. Whoever asks for the same run while it goes on, after a cut connection for
one, waits for that container, and does not start another.

`<root>/<name>/<key>.json` is the record of a run, `<root>/<name>/<key>/` has its `run.log` and the folder that it
writes its result to. `<root>/<name>/.champion.json` is a copy of the last record whose model was promoted, as a forced
run with the same inputs takes the place of the record itself.
"""

from __future__ import annotations

import calendar
import fcntl
import hashlib
import json
import os
import time
import typing as t
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field

from .container import ContainerError, Containers, Spec, parse_size
from .image_key import ImageError, check_fixed
from .option_check import NAME, Check, list_problems, problems
from .textfile import Metric, render, replace_file

RUNNING = "running"
FINISHED = "finished"
FAILED = "failed"

RESULT_TYPES: dict[str, tuple[type, ...]] = {
    "run_id": (str,),
    "model_name": (str,),
    "model_version": (str, int),
    "promoted": (bool,),
    "metrics": (dict,),
}
_RESULT_IN_CONTAINER = "/result/result.json"
_DATA_IN_CONTAINER = "/data"
_LOG_LINES = 20
_POLL_SECONDS = 0.2


class TrainingError(Exception):
    """A run cannot be started, or has failed; the message says why and where its log is."""


@dataclass(frozen=True)
class Inputs:
    """All that decides what a run makes. The same inputs are the same run.

    :ivar image: the image's key.
    :ivar data: the digest of the data folder; empty without one.
    """

    image: str
    command: list[str]
    env: dict[str, str]
    data: str

    @property
    def key(self) -> str:
        """The run's identity."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Limits:
    """What a run may use: seconds, and bytes of memory (0: no limit)."""

    timeout: int
    memory: int = 0


@dataclass(frozen=True)
class Record:
    """What is known of a run.

    :ivar started: seconds since the epoch.
    :ivar result: what the run has written, once it is finished.
    :ivar error: why it failed.
    """

    state: str
    inputs: Inputs
    started: float
    seconds: float = 0.0
    result: dict[str, t.Any] = field(default_factory=dict)
    error: str = ""

    @classmethod
    def from_json(cls, value: dict[str, t.Any]) -> Record:
        """The reverse of dataclasses.asdict."""
        return cls(**{**value, "inputs": Inputs(**value["inputs"])})


def job_problems(options: t.Mapping[str, t.Any]) -> list[str]:
    """What of a training's options cannot be; each message names the option."""
    checks = [
        Check("name", _check_name, options["name"]),
        Check("image", check_fixed, options["image"]),
        Check("memory", parse_size, options["memory"]),
    ]
    return problems(checks, TrainingError, ImageError, ContainerError)


def jobs_problems(jobs: t.Iterable[t.Mapping[str, t.Any]], memory: str) -> list[str]:
    """What cannot be in the trainings of the role; each message names the variable, the training and the option.

    :param memory: that of the trainings that do not say another.
    """
    text = {"type": "str", "required": True}
    spec = {"name": text, "image": text, "memory": {"type": "str", "default": ""}}
    common = problems([Check("training_run_memory", parse_size, str(memory))], ContainerError)
    return [*common, *list_problems("training_run_jobs", jobs, spec, job_problems)]


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise TrainingError(f"'{name}' is no name: use lower-case letters, digits and dashes, a letter first")


class Ledger:
    """The records of one training's runs."""

    def __init__(self, root: str, name: str) -> None:
        self.name = name
        self.folder = os.path.join(root, name)

    def read(self, key: str) -> Record | None:
        """The record of a run, or None."""
        try:
            with open(os.path.join(self.folder, key + ".json"), encoding="utf-8") as file:
                return Record.from_json(json.load(file))
        except FileNotFoundError:
            return None

    def last(self) -> Record | None:
        """The record of the run that was started last, or None."""
        return max(self._records(), key=lambda record: record.started, default=None)

    def champion(self) -> Record | None:
        """The record of the last run that made a champion, or None."""
        promoted = [record for record in self._records() if record.result.get("promoted")]
        return max(promoted, key=lambda record: record.started, default=None)

    def write(self, record: Record) -> None:
        """Keep a record, in place of a former one of the same inputs."""
        text = json.dumps(asdict(record), indent=1) + "\n"
        replace_file(os.path.join(self.folder, record.inputs.key + ".json"), text)
        if record.result.get("promoted"):
            replace_file(os.path.join(self.folder, ".champion.json"), text)

    def _records(self) -> list[Record]:
        if not os.path.isdir(self.folder):
            return []
        keys = [name[: -len(".json")] for name in os.listdir(self.folder) if name.endswith(".json")]
        return [record for record in map(self.read, keys) if record]

    @contextmanager
    def locked(self) -> t.Iterator[None]:
        """Two who ask for a run at the same moment take turns."""
        os.makedirs(self.folder, exist_ok=True)
        with open(os.path.join(self.folder, ".lock"), "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


class Run:
    """One run on this host."""

    def __init__(self, containers: Containers, ledger: Ledger, inputs: Inputs) -> None:
        self._containers = containers
        self._ledger = ledger
        self._inputs = inputs
        self._folder = os.path.join(ledger.folder, inputs.key)
        self.container = f"modelyard-training-{ledger.name}-{inputs.key[:12]}"
        self.log = os.path.join(self._folder, "run.log")

    def start(self, image_id: str, tracking_uri: str, commit: str, data: str, user: str, limits: Limits) -> Record:
        """Start the container, in place of what is left of a former one."""
        self._containers.remove(self.container)
        # Anybody may write to the result folder, since only the image knows its user's number; nobody else reaches it.
        result = os.path.join(self._folder, "result")
        os.makedirs(result, exist_ok=True)
        os.chmod(self._folder, 0o700)
        os.chmod(result, 0o777)
        for name in os.listdir(result):
            os.unlink(os.path.join(result, name))
        spec = Spec(
            image=image_id,
            command=tuple(self._inputs.command),
            env={
                **self._inputs.env,
                "MLFLOW_TRACKING_URI": tracking_uri,
                "RESULT_FILE": _RESULT_IN_CONTAINER,
                "IMAGE_KEY": self._inputs.image,
                **({"GIT_COMMIT": commit} if commit else {}),
                **({"DATA_DIR": _DATA_IN_CONTAINER} if data else {}),
            },
            mounts={"/result": result, **({_DATA_IN_CONTAINER: data} if data else {})},
            writable=("/result",),
            network="host",
            user=user,
            memory=limits.memory,
        )
        record = Record(RUNNING, self._inputs, time.time())
        self._ledger.write(record)
        self._containers.run(self.container, spec)
        return record

    def cut(self, record: Record) -> bool:
        """Whether a run that should go on cannot: its container is gone, or the host went down under it."""
        container = self._containers.inspect(self.container)
        return container is None or (not container["State"]["Running"] and boot_time() > record.started)

    def advance(self, record: Record, limits: Limits, wait: float) -> Record:
        """Wait at most `wait` seconds for the end; returns the new record, which is still `running` if it goes on."""
        end = time.monotonic() + wait
        while True:
            state = (self._containers.inspect(self.container) or {}).get("State")
            if state is None:
                return self._end(record, FAILED, error="somebody has removed its container")
            if not state["Running"]:
                return self._harvest(record, state, limits)
            seconds = time.time() - record.started
            if seconds > limits.timeout:
                self._containers.kill(self.container)
                return self._end(record, FAILED, error=f"did not finish in {limits.timeout} s, and was stopped")
            if time.monotonic() > end:
                return record
            time.sleep(_POLL_SECONDS)

    def last_line(self) -> str:
        """What the run has written last."""
        lines = self._containers.logs(self.container, 1).strip().splitlines()
        return lines[-1] if lines else ""

    def _harvest(self, record: Record, state: dict[str, t.Any], limits: Limits) -> Record:
        """The container has ended: see what it made."""
        if state.get("OOMKilled"):
            return self._end(record, FAILED, error=f"ran out of memory (limit: {limits.memory} bytes)")
        if state["ExitCode"]:
            return self._end(record, FAILED, error=f"ended with exit code {state['ExitCode']}")
        seconds = timestamp(state["FinishedAt"]) - record.started
        try:
            result = read_result(os.path.join(self._folder, "result", "result.json"))
        except TrainingError as error:
            return self._end(record, FAILED, error=str(error))
        return self._end(record, FINISHED, seconds=max(seconds, 0.0), result=result)

    def _end(
        self,
        record: Record,
        state: str,
        seconds: float | None = None,
        result: dict[str, t.Any] | None = None,
        error: str = "",
    ) -> Record:
        log = self._containers.logs(self.container) if self._containers.inspect(self.container) else ""
        replace_file(self.log, log)
        if error:
            tail = "\n".join(log.rstrip().splitlines()[-_LOG_LINES:])
            error = f"{error}. Its log is {self.log}; the last lines:\n{tail or '(it has written nothing)'}"
        seconds = time.time() - record.started if seconds is None else seconds
        ended = Record(state, record.inputs, record.started, round(seconds, 1), result or {}, error)
        self._ledger.write(ended)
        self._containers.remove(self.container)
        return ended


def command(args: t.Sequence[str], parameters: dict[str, t.Any]) -> list[str]:
    """Arguments and parameters as a command line: `max_depth: 5` becomes `--max-depth 5`.

    True is the bare option, false and null are none, a list repeats the option.
    """
    words = [str(arg) for arg in args]
    for name, value in sorted(parameters.items()):
        option = "--" + name.replace("_", "-")
        for item in value if isinstance(value, list) else [value]:
            if item is True:
                words.append(option)
            elif item is not False and item is not None:
                words += [option, str(item)]
    return words


def data_digest(folder: str) -> str:
    """The digest of all files in a folder, their paths included; empty for no folder."""
    if not folder:
        return ""
    if not os.path.isdir(folder):
        raise TrainingError(f"data: there is no folder {folder} on the host")
    total = hashlib.sha256()
    paths = [os.path.join(parent, name) for parent, _unused, names in os.walk(folder) for name in names]
    for path in sorted(paths):
        digest = hashlib.sha256()
        with open(path, "rb") as file:
            for chunk in iter(lambda: file.read(1 << 20), b""):
                digest.update(chunk)
        total.update(f"{digest.hexdigest()}  {os.path.relpath(path, folder)}\n".encode())
    return total.hexdigest()


def reason(inputs: Inputs, known: Record | None, last: Record | None, force: bool) -> str:
    """Why a run has to be started; empty when it is finished already."""
    if known and known.state == FINISHED:
        return "it is forced" if force else ""
    if known and known.state == RUNNING:
        return "the run with these inputs has not ended"
    if known:
        return "the last run with these inputs failed"
    if last is None:
        return "there has been no run"
    before, after = asdict(last.inputs), asdict(inputs)
    return "changed since the last run: " + ", ".join(part for part in after if before[part] != after[part])


def read_result(path: str) -> dict[str, t.Any]:
    """The result that a run has written, checked against the contract."""
    try:
        with open(path, encoding="utf-8") as file:
            result = json.load(file)
    except FileNotFoundError:
        raise TrainingError(
            "ended well without writing $RESULT_FILE, which breaks the contract of training images"
        ) from None
    except (ValueError, OSError) as error:
        raise TrainingError(f"has written a $RESULT_FILE that is no JSON ({error})") from None
    if not isinstance(result, dict):
        raise TrainingError("has written a $RESULT_FILE that is no JSON object")
    for name, types in RESULT_TYPES.items():
        if not isinstance(result.get(name), types):
            raise TrainingError(f"has written a $RESULT_FILE whose '{name}' is {result.get(name)!r}")
    return {**result, "model_version": str(result["model_version"])}


def metrics(name: str, record: Record, champion: Record | None = None) -> str:
    """A run that has ended, and the last one that made a champion, in the text format of Prometheus."""
    labels = {"training": name}
    finished = record.state == FINISHED
    figures = [
        _figure("success", "Whether the last run ended well.", labels, finished),
        _figure("started_timestamp_seconds", "When the last run began.", labels, record.started),
        _figure("duration_seconds", "How long the last run took.", labels, record.seconds),
    ]
    if finished:
        figures += [
            _figure("promoted", "Whether the last run made a champion.", labels, record.result["promoted"]),
            *_of_model("", "last run", labels, record),
        ]
    if champion:
        figures += [
            _figure(
                "champion_timestamp_seconds", "When the run began that made the champion.", labels, champion.started
            ),
            *_of_model("champion_", "champion", labels, champion),
        ]
    return render(figures)


def _of_model(prefix: str, whose: str, labels: dict[str, str], record: Record) -> list[Metric]:
    """Version and metrics of the model that a finished run has made."""
    found = []
    if record.result["model_version"].isdecimal():
        version = int(record.result["model_version"])
        found.append(_figure(prefix + "model_version", f"The version of the {whose}'s model.", labels, version))
    numbers = Metric(f"modelyard_training_{prefix}metric", "gauge", f"What the {whose} has measured.")
    for metric, value in sorted(record.result["metrics"].items()):
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            numbers.samples.append(({**labels, "metric": metric}, value))
    return [*found, numbers]


def _figure(name: str, text: str, labels: dict[str, str], value: float) -> Metric:
    return Metric(f"modelyard_training_{name}", "gauge", text, [(labels, value)])


def boot_time(path: str = "/proc/stat") -> float:
    """When the host was started, in seconds since the epoch."""
    with open(path, encoding="ascii") as file:
        return next(float(line.split()[1]) for line in file if line.startswith("btime "))


def timestamp(text: str) -> float:
    """Seconds since the epoch of an engine's time such as 2026-01-31T10:20:30.123456789Z."""
    whole, _unused, fraction = text.rstrip("Z").partition(".")
    return calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) + float(f"0.{fraction or 0}")
