#!/usr/bin/python
# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""Keep one long-running container as it is described."""

from __future__ import annotations

DOCUMENTATION = r"""
module: container_service
short_description: Keep one long-running container as it is described
version_added: 0.1.0
author: The Modelyard authors (@modelyard)
description:
  - Runs one container from an image that the host already has, and shows by a request that it works.
  - If anything in its description changes, or the image that the reference points to, the container is replaced. The
    former one is kept, stopped, until the new one has answered; if it does not, the former one runs again and the
    module fails with the new one's last log lines.
  - The container has no capabilities, cannot gain privileges, sees its root file system read-only, publishes ports on
    the loopback address only and rotates its log. None of this is an option.
  - It needs nothing on the host but Python.
attributes:
  check_mode:
    support: full
    description: Works before the engine or the image is there.
  diff_mode:
    support: full
    description: Shows the container's description.
options:
  name:
    description: The container's name.
    type: str
    required: true
  image:
    description: The image, as the host's engine knows it. Never pulled.
    type: str
    required: true
  image_key:
    description: The image's key. With it, the image with that key is run, whatever O(image) points to now.
    type: str
    default: ""
  command:
    description: The arguments, or the command, of the container.
    type: list
    elements: str
    default: []
  env:
    description: Environment variables. Everybody who reaches the engine can read them, so no secrets.
    type: dict
    default: {}
  mounts:
    description: Folders of the host, by their place in the container.
    type: dict
    default: {}
  writable:
    description: The places of O(mounts) that the container may write to.
    type: list
    elements: str
    default: []
  ports:
    description: The port in the container, by the port on the host's loopback address.
    type: dict
    default: {}
  user:
    description: User and group, as numbers. Empty is the image's own.
    type: str
    default: ""
  memory:
    description: The most memory it may use, such as V(512m). Empty is no limit.
    type: str
    default: ""
  verify:
    description: How it shows that it works.
    type: dict
    suboptions:
      url:
        description: Address asked until it answers as it should.
        type: str
        required: true
      contains:
        description: Text that the answer must contain.
        type: str
        default: ""
      timeout:
        description: Seconds to wait for that.
        type: int
        default: 60
  socket:
    description: The engine's unix socket.
    type: path
    default: /var/run/docker.sock
"""

EXAMPLES = r"""
- name: Run a service
  modelyard.mlops.container_service:
    name: modelyard-echo
    image: team/echo:1.4.2
    command: [--port, "8000"]
    mounts:
      /data: /srv/echo
    writable: [/data]
    ports:
      8000: 8000
    user: "10001:10001"
    memory: 256m
    verify:
      url: http://127.0.0.1:8000/health
"""

RETURN = r"""
id:
  description: The container's ID.
  returned: when it was started
  type: str
image:
  description: The image's ID; empty in check mode for an image that is not on the host yet.
  returned: when the engine answers
  type: str
seconds:
  description: How long it took until it worked.
  returned: when it was started
  type: float
"""

import http.client
import json
import time
import typing as t
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, build_opener

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.modelyard.mlops.plugins.module_utils.container import (
    SPEC_LABEL,
    ContainerError,
    Containers,
    Spec,
    find_image,
    need_image,
    parse_size,
)
from ansible_collections.modelyard.mlops.plugins.module_utils.engine import Engine, EngineError, EngineUnreachable

FORMER = "-former"
LOG_LINES = 20
POLL_SECONDS = 0.3

ARGUMENTS: dict[str, t.Any] = {
    "name": {"type": "str", "required": True},
    "image": {"type": "str", "required": True},
    "image_key": {"type": "str", "default": "", "no_log": False},
    "command": {"type": "list", "elements": "str", "default": []},
    "env": {"type": "dict", "default": {}},
    "mounts": {"type": "dict", "default": {}},
    "writable": {"type": "list", "elements": "str", "default": []},
    "ports": {"type": "dict", "default": {}},
    "user": {"type": "str", "default": ""},
    "memory": {"type": "str", "default": ""},
    "verify": {
        "type": "dict",
        "options": {
            "url": {"type": "str", "required": True},
            "contains": {"type": "str", "default": ""},
            "timeout": {"type": "int", "default": 60},
        },
    },
    "socket": {"type": "path", "default": "/var/run/docker.sock"},
}


def probe(url: str, contains: str) -> str:
    """Ask once; empty when all is well, else what is wrong."""
    try:
        with build_opener(ProxyHandler({})).open(url, timeout=5) as response:
            body = response.read().decode(errors="replace")
    except HTTPError as error:
        with error:
            return f"{url} answers with HTTP {error.code}"
    except (URLError, OSError, http.client.HTTPException) as error:
        return f"{url} does not answer: {getattr(error, 'reason', None) or error}"
    if contains not in body:
        return f"{url} answers without '{contains}'"
    return ""


class Service:
    """A named container and the one that it replaces."""

    def __init__(self, containers: Containers, name: str, verify: dict[str, t.Any] | None) -> None:
        self._containers = containers
        self._verify = verify
        self.name = name
        self.former = name + FORMER

    def running(self) -> tuple[str, bool]:
        """The description of the container that is there, empty without one, and whether it runs and is proven."""
        found = self._containers.inspect(self.name)
        if found is None:
            return "", False
        # A former container that is still there says that a run died before the new one had answered.
        proven = found["State"]["Running"] and self._containers.inspect(self.former) is None
        return (found["Config"].get("Labels") or {}).get(SPEC_LABEL, "{}"), proven

    def restarts(self) -> int:
        """How often the engine has restarted the container."""
        return int((self._containers.inspect(self.name) or {}).get("RestartCount", 0))

    def replace(self, spec: Spec) -> str:
        """Run `spec` in place of what is there; returns its ID.

        :raises ContainerError: it does not work; what was there runs again.
        """
        self._set_aside()
        try:
            identity = self._containers.run(self.name, spec)
            self.wait()
        except (ContainerError, EngineError):
            self._restore()
            raise
        self._containers.remove(self.former)
        return identity

    def wait(self, restarts: int = 0) -> None:
        """Return when the container works.

        :param restarts: how often the engine has restarted it before.
        :raises ContainerError: it ends, or does not work in time.
        """
        timeout = self._verify["timeout"] if self._verify else 0
        end = time.monotonic() + timeout
        while True:
            state = self._containers.inspect(self.name) or {}
            if not state or not state["State"]["Running"] or state["RestartCount"] > restarts:
                raise self._failed(f"ended with exit code {state.get('State', {}).get('ExitCode', 'unknown')}")
            wrong = probe(self._verify["url"], self._verify["contains"]) if self._verify else ""
            if not wrong:
                return
            if time.monotonic() > end:
                raise self._failed(f"does not work after {timeout} s: {wrong}")
            time.sleep(POLL_SECONDS)

    def _set_aside(self) -> None:
        if self._containers.inspect(self.former):
            # The former one has worked once, which nobody knows of the one that replaced it.
            self._containers.remove(self.name)
        elif self._containers.inspect(self.name):
            self._containers.stop(self.name)
            self._containers.rename(self.name, self.former)

    def _restore(self) -> None:
        self._containers.remove(self.name)
        if self._containers.inspect(self.former):
            self._containers.rename(self.former, self.name)
            self._containers.start(self.name)

    def _failed(self, what: str) -> ContainerError:
        log = self._containers.logs(self.name, LOG_LINES).rstrip() if self._containers.inspect(self.name) else ""
        return ContainerError(f"container {self.name} {what}. Its last lines:\n{log or '(it has written nothing)'}")


def describe(params: dict[str, t.Any], image: str) -> Spec:
    """The container that the task describes."""
    return Spec(
        image=image,
        command=tuple(params["command"]),
        env={name: str(value) for name, value in params["env"].items()},
        mounts=params["mounts"],
        writable=tuple(params["writable"]),
        ports={int(outer): int(inner) for outer, inner in params["ports"].items()},
        user=params["user"],
        memory=parse_size(params["memory"]),
        restart="unless-stopped",
    )


def diff(before: str, after: str) -> dict[str, str]:
    """Two descriptions, for people."""
    return {
        "before": json.dumps(json.loads(before), indent=2) + "\n" if before else "",
        "after": json.dumps(json.loads(after), indent=2) + "\n" if after else "",
    }


def present(module: AnsibleModule, engine: Engine, service: Service) -> dict[str, t.Any]:
    """Have the container run; returns the result."""
    reference, key = module.params["image"], module.params["image_key"]
    image = find_image(engine, reference, key) if module.check_mode else need_image(engine, reference, key)
    spec = describe(module.params, image.id if image else key or reference)
    before, proven = service.running()
    result = {"changed": True, "image": image.id if image else "", "diff": diff(before, spec.text())}
    if before == spec.text() and proven:
        if not module.check_mode:
            service.wait(service.restarts())
        return {**result, "changed": False}
    if module.check_mode:
        return result
    started = time.monotonic()
    identity = service.replace(spec)
    return {**result, "id": identity, "seconds": round(time.monotonic() - started, 1)}


def main() -> None:
    """Entry point."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    engine = Engine(module.params["socket"])
    service = Service(Containers(engine), module.params["name"], module.params["verify"])
    try:
        module.exit_json(**present(module, engine, service))
    except EngineUnreachable as error:
        if not module.check_mode:
            module.fail_json(msg=str(error))
        # The engine is installed by what comes before this in the playbook.
        image = module.params["image_key"] or module.params["image"]
        module.exit_json(changed=True, diff=diff("", describe(module.params, image).text()))
    except (ContainerError, EngineError, ValueError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
