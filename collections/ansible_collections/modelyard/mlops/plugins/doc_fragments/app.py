# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""Option texts that the modules of apps share."""

from __future__ import annotations


class ModuleDocFragment:
    """The fragments."""

    # What an app is and how its releases are brought into service: also the role app_deploy's options of an app.
    DOCUMENTATION = r"""
options:
  port:
    description: Port in the container; the app gets it as E(PORT).
    type: int
    default: 8080
  slots:
    description: The two loopback ports, 1024 or higher, blue and green. Needed for O(state=present).
    type: list
    elements: int
    default: []
  env:
    description: Configuration of the app. Not for secrets.
    type: dict
    default: {}
  secrets:
    description:
      - Values that the app finds as files in memory below C(/run/secrets), readable for its own user alone. Their names
        are made of letters, digits, C(_), C(-) and C(.).
    type: dict
    default: {}
  user:
    description: User that the container runs as, instead of the image's.
    type: str
    default: ""
  memory:
    description: Memory limit of the container, such as V(512m). The engine's least is V(6m).
    type: str
    default: 512m
  cpus:
    description: How many processors the container may use. V(0) is no limit.
    type: float
    default: 0.0
  pids:
    description: Limit of processes and threads.
    type: int
    default: 256
  grace:
    description: Seconds that a stopping container has to finish.
    type: int
    default: 30
  strategy:
    description:
      - V(blue_green) starts the new release beside the old one, so the host needs room for both.
      - V(recreate) stops the old one first. Nothing serves until the new one is ready; how long is said and recorded.
    type: str
    choices: [blue_green, recreate]
    default: blue_green
  keep_previous_running:
    description:
      - Whether the old release runs on without requests until the next deployment, so that a rollback to it takes less
        than a second. It keeps its memory, and it does not come back after a reboot.
    type: bool
    default: false
  gate:
    description: When a new release is ready to serve.
    type: dict
    default: {}
    suboptions:
      path:
        description: Path to ask.
        type: str
        default: /ready
      status:
        description: The right status.
        type: int
        default: 200
      contains:
        description: Text that the right answer contains.
        type: str
        default: ""
      in_a_row:
        description: Right answers in a row that are needed.
        type: int
        default: 3
      budget:
        description: Seconds until it must be ready. A large model may need minutes.
        type: int
        default: 60
      timeout:
        description: Seconds for one answer.
        type: int
        default: 5
  warm_up:
    description: Requests to a ready release before it serves. The watch asks them through the ingress, too.
    type: dict
    default: {}
    suboptions:
      requests:
        description: How many.
        type: int
        default: 0
      path:
        description: Path.
        type: str
        default: /
      method:
        description: Method.
        type: str
        default: GET
      body:
        description: Body, sent as JSON.
        type: str
        default: ""
      status:
        description: The right status.
        type: int
        default: 200
      contains:
        description: Text that the right answer contains.
        type: str
        default: ""
  watch:
    description: How a release that has just begun to serve is watched through the ingress, before the old one stops.
    type: dict
    default: {}
    suboptions:
      seconds:
        description: For how long. V(0) does not watch.
        type: float
        default: 3.0
      min_requests:
        description: Fewer requests than this say nothing about the share that failed.
        type: int
        default: 20
      error_margin_percent:
        description: By how many percentage points its share of failed requests may be larger than the old release's.
        type: float
        default: 5.0
      latency_ratio:
        description: How many times as long as the old release's its answers may take, O(watch.latency_margin_ms) aside.
        type: float
        default: 2.0
      latency_margin_ms:
        description:
          - Milliseconds that its answers may take beyond that. What is slower eight times in a row, while the old
            release answers in time, is taken back.
        type: float
        default: 50.0
  drain:
    description: Seconds that requests to the old release have to end before its container is told to stop.
    type: int
    default: 30
"""

    # Who does it, for the record.
    RECORD = r"""
options:
  by:
    description: Who does it, for the record.
    type: str
    default: ""
  commit:
    description: From which commit, for the record.
    type: str
    default: ""
  break_lock:
    description: Take an app's deployment lock from a run that hangs. That run stops before its next step.
    type: bool
    default: false
"""
