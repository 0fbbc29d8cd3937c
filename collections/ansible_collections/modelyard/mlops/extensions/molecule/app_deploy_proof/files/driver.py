# SPDX-License-Identifier: Apache-2.0
"""Runs the module app_release on the host itself, without a controller, and kills what a proof wants killed.

driver.py run ARGS...          the module, once for each ARGS in turn; prints the list of results
driver.py start ARGS           the module, and does not wait for it
driver.py stop-at STEP ARGS    the same, and stops (SIGSTOP) the run as soon as its journal says STEP
driver.py settle               waits until no run is under way

ARGS is JSON. The module is the one that Ansible sent and unpacked into MODULE.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from typing import Any

MODULE = "/opt/proof/debug_dir"
APP = "/var/lib/modelyard/apps/shop"
PATIENCE = 120.0
# Steps are as short as two writes to disk.
GLANCE = 0.0003

RUN = """
import json, runpy, sys
from ansible.module_utils import basic
basic._ANSIBLE_ARGS = json.dumps({"ANSIBLE_MODULE_ARGS": json.loads(sys.argv[1])}).encode()
basic._ANSIBLE_PROFILE = "legacy"
runpy.run_module("ansible_collections.modelyard.mlops.plugins.modules.app_release", run_name="__main__")
"""

Args = dict[str, Any]


def start(args: Args) -> subprocess.Popen[str]:
    """The module, as a process of its own."""
    command = [sys.executable, "-c", RUN, json.dumps(args)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": MODULE}, stdout=pipe, stderr=pipe, text=True)


def run(args: Args) -> Args:
    """The module to its end: where the run goes on by itself, it is followed as Ansible does."""
    more: Args = {}
    while True:
        process = start({**args, **more})
        output, errors = process.communicate()
        result: Args = json.loads(output) if output.strip() else {"failed": True, "msg": errors}
        progress = result.get("progress")
        if not progress or "msg" in result:
            return result
        more = {"follow": progress["follow"], "seen": progress["seen"]}


def journal() -> Args | None:
    """The deployment that is under way."""
    try:
        with open(f"{APP}/journal.json", encoding="utf-8") as stream:
            found: Args = json.load(stream)
            return found
    except (FileNotFoundError, ValueError):
        return None


def owner() -> int:
    """The process that holds the lock; 0 if none does."""
    try:
        with open(f"{APP}/lock", encoding="utf-8") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(json.load(stream)["pid"])
    except (FileNotFoundError, ValueError):
        pass
    return 0


def stop_at(step: str, args: Args) -> Args:
    """Stop the run in a step of its journal; says where it came to stop, which may be later."""
    if args:
        start(args)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found = journal()
        if found and found["step"] == step:
            pid = owner()
            if pid:
                os.kill(pid, signal.SIGSTOP)
                return {"pid": pid, **(journal() or {"step": "over"})}
        time.sleep(GLANCE)
    return {"step": "never"}


def settle() -> Args:
    """Wait for the end of the run that is under way; says whose does not end."""
    deadline = time.monotonic() + PATIENCE
    while (pid := owner()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return {"owner": pid}


def main() -> None:
    """Do what is asked, and print what came of it as JSON."""
    verb, *words = sys.argv[1:]
    if verb == "run":
        print(json.dumps([run(json.loads(word)) for word in words]))
    elif verb == "start":
        print(json.dumps({"pid": start(json.loads(words[0])).pid}))
    elif verb == "stop-at":
        print(json.dumps(stop_at(words[0], json.loads(words[1]))))
    elif verb == "settle":
        print(json.dumps(settle()))
    sys.stdout.flush()
    # A run that was only started goes on without us, and nobody waits for its output.
    os._exit(0)


if __name__ == "__main__":
    main()
