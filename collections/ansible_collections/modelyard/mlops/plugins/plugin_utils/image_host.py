# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""Asks a host over Ansible's connection, with one small program for everything.

A module of Ansible's takes 0.2 MB and half a second to send and start, most of which is Ansible's own library. The
agent (module_utils/image_agent.py) does without it. It travels with each question, in front of it on standard input,
so nothing is installed; and since the question is there too, what it holds shows in no list of processes.
"""

from __future__ import annotations

import functools
import json
import re
import shlex
import typing as t
import zlib
from pathlib import Path

from ansible import constants
from ansible.executor.interpreter_discovery import discover_interpreter
from ansible.utils.display import Display

from ansible_collections.modelyard.mlops.plugins.module_utils.image_agent import MARK
from ansible_collections.modelyard.mlops.plugins.module_utils.image_key import ImageError

if t.TYPE_CHECKING:
    from ansible.plugins.action import ActionBase

_SOURCES = Path(__file__).parents[1] / "module_utils"
_IMPORT = re.compile(r"^ *from \.(?: import )?(\w+)", re.MULTILINE)
_DOCSTRING = re.compile(r'^( *)"""(?:[^"]|"(?!""))*"""$', re.MULTILINE)
_COMMENT = re.compile(r"^ *#.*$", re.MULTILINE)

# Isolated (-I) and without site (-S): packages of the host could only be in the way, and take time to look for.
_START = "import sys,zlib;i=sys.stdin.buffer;exec(zlib.decompress(i.read(int(i.readline()))))"
_OPTIONS = f"-I -S -c {shlex.quote(_START)}"
_NO_PROGRAM = (126, 127)
_DISCOVERED = "discovered_interpreter_python"

Step = tuple[str, dict[str, t.Any]]

display = Display()


@functools.cache
def program() -> bytes:
    """The agent with all that it imports, compressed: the same bytes for the same sources."""
    texts: dict[str, str] = {}
    names = ["image_agent"]
    while names:
        name = names.pop()
        if name not in texts:
            texts[name] = _source(name)
            names += _IMPORT.findall(texts[name])
    start = f"{_source('image_agent_start')}\nstart({dict(sorted(texts.items()))!r})\n"
    return zlib.compress(start.encode(), 9)


def _source(name: str) -> str:
    """A module without what only people read, which is half of it; its lines keep their numbers."""
    text = (_SOURCES / f"{name}.py").read_text(encoding="utf-8")
    text = _DOCSTRING.sub(lambda found: f'{found[1]}""' + "\n" * found[0].count("\n"), text)
    return _COMMENT.sub("", text)


class Host:
    """A host, by the connection and with the privileges of an action's task.

    :param place: where the host's engine and its staging folder are, and whether nothing may be changed (check).
    :ivar facts: what was found out about the host, for the action to return.
    """

    def __init__(self, action: ActionBase, task_vars: dict[str, t.Any], place: dict[str, t.Any]) -> None:
        self._action: t.Any = action
        self._vars = task_vars
        self._place = place
        self._name = task_vars.get("inventory_hostname", "the host")
        self.facts: dict[str, str] = {}

    def ask(self, *steps: Step, pack: bytes = b"") -> list[dict[str, t.Any]]:
        """Have the steps done, one after the other; returns what each came to.

        :param pack: chunks that go with the question.
        :raises ImageError: a step could not be done, or there was no answer.
        :raises AnsibleError: the connection failed.
        """
        question = json.dumps({**self._place, "steps": steps}).encode()
        parts = (b"%d\n" % len(program()), program(), b"%d\n" % len(question), question, pack)
        said = self._run(b"".join(parts))
        for warning in said["warnings"]:
            display.warning(f"{self._name}: {warning}")
        if said["failed"]:
            raise ImageError(said["failed"])
        return t.cast("list[dict[str, t.Any]]", said["answers"])

    def _run(self, data: bytes) -> dict[str, t.Any]:
        interpreter = self._interpreter()
        command = f"{self._action._compute_environment_string()} {interpreter} {_OPTIONS}".strip()
        if self._action._is_pipelining_enabled("new"):
            ended = self._action._low_level_execute_command(command, in_data=data)
        else:
            path = self._put(data)
            ended = self._action._low_level_execute_command(f"{command} < {shlex.quote(path)}")
        found = answer(ended["stdout"])
        if found is None:
            raise ImageError(_silence(ended, interpreter))
        return found

    def _put(self, data: bytes) -> str:
        """Put the question into a file, for a connection whose standard input is something else."""
        shell = self._action._connection._shell
        if shell.tmpdir is None:
            self._action._make_tmp_path()
        path = str(shell.join_path(shell.tmpdir, "question"))
        self._action._transfer_data(path, data)
        self._action._fixup_perms2([shell.tmpdir, path])
        return path

    def _interpreter(self) -> str:
        """The Python that the host's modules run with, found as Ansible finds it."""
        task = self._action._task
        variables = self._vars
        if task.delegate_to:
            variables = self._vars["ansible_delegated_vars"][task.delegate_to]
        given = constants.config.get_config_value("INTERPRETER_PYTHON", variables=variables)
        mode = str(self._action._templar.template(given) or "auto").strip()
        if not mode.startswith("auto"):
            return mode
        found = variables.get("ansible_facts", {}).get(_DISCOVERED) or self.facts.get(_DISCOVERED)
        if not found:
            found = discover_interpreter(self._action, "python", mode, variables)
            self.facts[_DISCOVERED] = found
        return str(found)


def answer(output: str) -> dict[str, t.Any] | None:
    """The agent's answer among what was printed, or None."""
    for line in reversed(output.splitlines()):
        if line.startswith(MARK):
            try:
                return dict(json.loads(line[len(MARK) :]))
            except ValueError:
                return None
    return None


def _silence(ended: dict[str, t.Any], interpreter: str) -> str:
    """Why there is no answer."""
    said = (ended["stderr"].strip() or ended["stdout"].strip())[-2000:]
    if ended["rc"] in _NO_PROGRAM:
        return f"the host has no Python at {interpreter} (set ansible_python_interpreter): {said}"
    return f"the host's Python ended with {ended['rc']} and without an answer: {said}"
