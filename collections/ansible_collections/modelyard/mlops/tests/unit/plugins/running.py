# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""Runs a module's entry point as Ansible does, on every supported ansible-core."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
from ansible.module_utils import basic

Commands = Callable[[list[str]], tuple[int, str, str]]


def run_module(main: Callable[[], None], arguments: dict[str, Any], commands: Commands | None = None) -> dict[str, Any]:
    """Return what a module ended with, its warnings as texts; `failed` is set when it failed.

    :param commands: answers instead of the programs that the module would run: code, output and errors.
    """
    text = json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode()
    printed, warnings = io.StringIO(), list[str]()

    def answer(_module: object, command: list[str], **_options: object) -> tuple[int, str, str]:
        assert commands
        return commands(command)

    def warn(_module: object, warning: str) -> None:
        warnings.append(warning)

    with contextlib.ExitStack() as stack:
        # 2.17 and 2.18 know no profile of serialization, newer ones want it said.
        stack.enter_context(mock.patch.multiple(basic, create=True, _ANSIBLE_ARGS=text, _ANSIBLE_PROFILE="legacy"))
        if commands:
            stack.enter_context(mock.patch.object(basic.AnsibleModule, "run_command", answer))
        # Ansible keeps warnings for the whole process, and each version shows them in another form.
        stack.enter_context(mock.patch.object(basic.AnsibleModule, "warn", warn))
        stack.enter_context(contextlib.redirect_stdout(printed))
        stack.enter_context(pytest.raises(SystemExit))
        main()
    return {**json.loads(printed.getvalue()), "warnings": warnings}
