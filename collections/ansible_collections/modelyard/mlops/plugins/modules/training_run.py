#!/usr/bin/python
# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
# Apache-2.0 is compatible with the GNU General Public License v3.0, under which Ansible itself is.
"""Train a model in a container, once for the same inputs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: training_run
short_description: Train a model in a container, once for the same inputs
version_added: 0.1.0
author: The Modelyard authors (@modelyard)
description:
  - Runs an image that keeps the contract of training images, and returns the result that it wrote.
  - The image, the command with its parameters, O(env) and the content of O(data) identify a run. A finished run is not
    repeated; one that failed is tried again.
  - The run is a container that goes on by itself. If the connection breaks or the playbook is stopped, the next task
    with the same inputs waits for that container. A run that was cut by a reboot of the host is started again.
  - While it goes on, the task shows how long it has been running and its last log line.
  - The container has no capabilities, sees its root file system and its data read-only, has C(/tmp) in memory and uses
    the host's network, so that it reaches services on the loopback address.
  - Contract. The image runs as a user other than root, with the command line O(args) and O(parameters). It finds
    C(MLFLOW_TRACKING_URI), C(RESULT_FILE), C(IMAGE_KEY) and, with O(data) and O(commit), C(DATA_DIR) and
    C(GIT_COMMIT) in its environment. It writes JSON with C(run_id), C(model_name), C(model_version), C(promoted) and
    C(metrics) to C($RESULT_FILE), and ends with exit code 0 only after that.
extends_documentation_fragment:
  - modelyard.mlops.attributes
  - modelyard.mlops.attributes.action
attributes:
  check_mode:
    support: full
    details: Says whether it would run and why. Works before the engine or the image is there.
  diff_mode:
    support: full
    details: Shows the inputs of the last run and those asked for.
  idempotent:
    support: partial
    details: Not with O(force), which asks for another run.
  action:
    support: full
    details: Its part on the controller waits in steps and shows the progress.
options:
  name:
    description: The training's name, in lower-case letters, digits and dashes.
    type: str
    required: true
  image:
    description:
      - The image, as the host's engine knows it. Never pulled.
      - A digest, an ID, or a tag other than C(latest), which would be another image tomorrow.
    type: str
    required: true
  image_key:
    description: The image's key. With it, the image with that key is run, whatever O(image) points to now.
    type: str
    default: ""
  args:
    description: The first words of the command line.
    type: list
    elements: str
    default: []
  parameters:
    description:
      - Options of the command line; V(max_depth=5) becomes C(--max-depth 5).
      - V(true) gives the bare option, V(false) and null none, a list repeats it.
    type: dict
    default: {}
  env:
    description: More environment variables. Everybody who reaches the engine can read them, so no secrets.
    type: dict
    default: {}
  data:
    description: A folder of the host with the training data. All of its content is read to tell whether it changed.
    type: path
  commit:
    description: The commit that is delivered, for the record. Not part of what identifies a run.
    type: str
    default: ""
  tracking_uri:
    description: The MLflow server. Not part of what identifies a run.
    type: str
    required: true
  force:
    description: Run again although the run is finished.
    type: bool
    default: false
  timeout:
    description: Seconds after which a run is stopped and has failed.
    type: int
    default: 3600
  memory:
    description: The most memory the run may use, such as V(2g), V(6m) or more. Empty is no limit.
    type: str
    default: ""
  user:
    description: User and group of the container, as numbers. Empty is the image's own.
    type: str
    default: ""
  root:
    description: The folder of the records, logs and results of all trainings.
    type: path
    default: /var/lib/modelyard/training
  textfile_directory:
    description:
      - Where node_exporter's textfile collector reads. If the folder exists, C(modelyard_training_NAME.prom) in it has
        the figures of the last run and of the champion.
    type: path
    default: /var/lib/modelyard/textfile
  wait:
    description: Seconds after which a step returns although the run goes on. The task goes on with the next step.
    type: float
    default: 10
  follow:
    description: The key of a run to go on with. The task itself sets it for its next steps.
    type: str
    default: ""
  socket:
    description: The engine's unix socket.
    type: path
    default: /var/run/docker.sock
"""

EXAMPLES = r"""
- name: Train, with only what is required
  modelyard.mlops.training_run:
    name: iris
    image: modelyard/iris-train:3f2a1c9
    tracking_uri: http://127.0.0.1:5000/mlflow
  become: true
  register: training

- name: Train, with every option
  modelyard.mlops.training_run:
    name: iris
    image: modelyard/iris-train:3f2a1c9
    image_key: "{{ image_transfer_results['modelyard/iris-train:3f2a1c9'].key }}"
    args: [pipeline]
    parameters:
      n_estimators: 50
      max_depth: 5
    env:
      LOG_LEVEL: info
    data: /srv/iris
    commit: 3f2a1c9
    tracking_uri: http://127.0.0.1:5000/mlflow
    force: false
    timeout: 7200
    memory: 2g
    user: "10001:10001"
    root: /var/lib/modelyard/training
    textfile_directory: /var/lib/modelyard/textfile
    wait: 10
    socket: /var/run/docker.sock
  become: true
  register: training
"""

RETURN = r"""
finished:
  description: Whether the run has ended. V(false) in check mode if it would be started.
  returned: always
  type: bool
reason:
  description: Why it was started (in check mode, would be); empty if it was finished before.
  returned: always
  type: str
key:
  description: What identifies the run. Empty in check mode, while the image is not there and its key is not given.
  returned: always
  type: str
result:
  description: What the run wrote. Empty if it has not run.
  returned: always
  type: dict
  sample: {run_id: 5f1c, model_name: iris, model_version: "3", promoted: true, metrics: {accuracy: 0.96}}
seconds:
  description: How long it ran.
  returned: always
  type: float
log:
  description: The file on the host with all that it has written.
  returned: always
  type: str
progress:
  description: The last line it has written.
  returned: while it goes on
  type: str
"""

import json
import os
import time
import typing as t
from dataclasses import asdict

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.modelyard.mlops.plugins.module_utils.container import (
    ContainerError,
    Containers,
    find_image,
    need_image,
    parse_size,
)
from ansible_collections.modelyard.mlops.plugins.module_utils.engine import Engine, EngineError, EngineUnreachable
from ansible_collections.modelyard.mlops.plugins.module_utils.textfile import publish
from ansible_collections.modelyard.mlops.plugins.module_utils.training import (
    FAILED,
    FINISHED,
    RUNNING,
    Inputs,
    Ledger,
    Limits,
    Record,
    Run,
    TrainingError,
    command,
    data_digest,
    job_problems,
    metrics,
    reason,
)

ARGUMENTS: dict[str, t.Any] = {
    "name": {"type": "str", "required": True},
    "image": {"type": "str", "required": True},
    "image_key": {"type": "str", "default": "", "no_log": False},
    "args": {"type": "list", "elements": "str", "default": []},
    "parameters": {"type": "dict", "default": {}},
    "env": {"type": "dict", "default": {}},
    "data": {"type": "path"},
    "commit": {"type": "str", "default": ""},
    "tracking_uri": {"type": "str", "required": True},
    "force": {"type": "bool", "default": False},
    "timeout": {"type": "int", "default": 3600},
    "memory": {"type": "str", "default": ""},
    "user": {"type": "str", "default": ""},
    "root": {"type": "path", "default": "/var/lib/modelyard/training"},
    "textfile_directory": {"type": "path", "default": "/var/lib/modelyard/textfile"},
    "wait": {"type": "float", "default": 10},
    "follow": {"type": "str", "default": ""},
    "socket": {"type": "path", "default": "/var/run/docker.sock"},
}


class Task:
    """What the module's parameters ask for, on this host."""

    def __init__(self, params: dict[str, t.Any], engine: Engine) -> None:
        self._params = params
        self._engine = engine
        wrong = job_problems(params)
        if wrong:
            raise TrainingError("; ".join(wrong))
        self._ledger = Ledger(params["root"], params["name"])
        self._limits = Limits(params["timeout"], parse_size(params["memory"]))
        self._words = command(params["args"], params["parameters"])
        self._env = {name: str(value) for name, value in params["env"].items()}
        self.warning = ""

    def inputs(self, image_key: str) -> Inputs:
        """What identifies the run."""
        return Inputs(image_key, self._words, self._env, data_digest(self._params["data"] or ""))

    def preview(self) -> dict[str, t.Any]:
        """The result in check mode."""
        image_key = self._params["image_key"]
        if not image_key:
            try:
                image = find_image(self._engine, self._params["image"])
            except EngineUnreachable:
                image = None
            if image is None:
                return answer(self._ledger, "the image is not on the host yet", None, None, self._ledger.last())
            image_key = image.key
        inputs = self.inputs(image_key)
        last, known = self._ledger.last(), self._ledger.read(inputs.key)
        why = reason(inputs, known, last, self._params["force"])
        return answer(self._ledger, why, inputs, known, last if why else known)

    def begin(self) -> dict[str, t.Any]:
        """Start the run, or find the one that goes on, and follow it for `wait` seconds; the result so far."""
        image = need_image(self._engine, self._params["image"], self._params["image_key"])
        if (self._params["user"] or image.user).partition(":")[0] in ("", "0", "root"):
            raise TrainingError(
                f"the image {self._params['image']} runs as root: set USER in its Dockerfile, or `user` here"
            )
        inputs = self.inputs(image.key)
        with self._ledger.locked():
            last, known = self._ledger.last(), self._ledger.read(inputs.key)
            why = reason(inputs, known, last, self._params["force"])
            if not why:
                self._publish(known)
                return answer(self._ledger, why, inputs, known, last=known)
            run = self._run(inputs)
            if known is None or known.state != RUNNING or run.cut(known):
                run.start(
                    image.id,
                    self._params["tracking_uri"],
                    self._params["commit"],
                    self._params["data"] or "",
                    self._params["user"],
                    self._limits,
                )
        return self.follow(inputs.key, why, last)

    def follow(self, key: str, why: str = "", last: Record | None = None) -> dict[str, t.Any]:
        """Follow a run that was begun, for `wait` seconds; the result so far."""
        with self._ledger.locked():
            record = self._ledger.read(key)
            if record is None:
                raise TrainingError(f"there is no record of the run {key}")
            run = self._run(record.inputs)
            if record.state == RUNNING:
                record = run.advance(record, self._limits, self._params["wait"])
        self._publish(record)
        if record.state == FAILED:
            raise TrainingError(record.error)
        result = {**answer(self._ledger, why, record.inputs, record, last), "changed": True}
        return {**result, "progress": run.last_line()} if record.state == RUNNING else result

    def _run(self, inputs: Inputs) -> Run:
        return Run(Containers(self._engine), self._ledger, inputs)

    def _publish(self, record: Record | None) -> None:
        """Have node_exporter show the last run, if there is a node_exporter."""
        if record and record.state != RUNNING:
            name = self._params["name"]
            text = metrics(name, record, self._ledger.champion())
            self.warning = publish(f"modelyard_training_{name}", text, self._params["textfile_directory"])


def answer(
    ledger: Ledger, why: str, inputs: Inputs | None, record: Record | None, last: Record | None
) -> dict[str, t.Any]:
    """The module's result."""
    running = record is not None and record.state == RUNNING
    return {
        "changed": bool(why),
        "finished": record is not None and record.state == FINISHED,
        "reason": why,
        "key": inputs.key if inputs else "",
        "result": record.result if record else {},
        "seconds": round(time.time() - record.started, 1)
        if record and running
        else (record.seconds if record else 0.0),
        "log": os.path.join(ledger.folder, inputs.key, "run.log") if inputs else "",
        "diff": {"before": shown(last.inputs if last else None), "after": shown(inputs)},
    }


def shown(inputs: Inputs | None) -> str:
    """The inputs as text for a diff."""
    return json.dumps(asdict(inputs), indent=2) + "\n" if inputs else ""


def main() -> None:
    """Entry point."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    params = module.params
    try:
        task = Task(params, Engine(params["socket"]))
        if module.check_mode:
            module.exit_json(**task.preview())
        result = task.follow(params["follow"]) if params["follow"] else task.begin()
    except (TrainingError, ContainerError, EngineError, EngineUnreachable) as error:
        module.fail_json(msg=f"training {params['name']}: {error}")
    if task.warning:
        module.warn(task.warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
