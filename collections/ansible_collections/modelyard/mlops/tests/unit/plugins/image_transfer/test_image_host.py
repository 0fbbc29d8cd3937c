# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""image_host: what is sent is small and needs nothing, and every Python that a host may have answers it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import typing as t
import zlib
from pathlib import Path
from unittest import mock

import pytest
from ansible import constants

from ansible_collections.modelyard.mlops.plugins.module_utils.image_agent import MARK
from ansible_collections.modelyard.mlops.plugins.module_utils.image_key import ImageError
from ansible_collections.modelyard.mlops.plugins.plugin_utils import image_host
from ansible_collections.modelyard.mlops.plugins.plugin_utils.image_host import Host, answer, program

LOOK = ("look", {"images": [], "keep": 3, "apps": "/nowhere"})
EMPTY = f'{MARK}{{"answers": [], "warnings": [], "failed": ""}}'


class Connection:
    """An action whose connection is a shell of this machine; it says what else shells say."""

    def __init__(self, folder: Path, pipelining: bool = True) -> None:
        self._folder = folder
        self._pipelining = pipelining
        self._task = mock.Mock(delegate_to=None)
        self._templar = mock.Mock(template=str)
        self._connection = mock.Mock()
        self._connection._shell.tmpdir = None
        self._connection._shell.join_path = lambda *parts: "/".join(parts)
        self.commands: list[str] = []
        self.readable: list[str] = []
        self.ends: dict[str, t.Any] = {}
        self.errors = ""

    def _is_pipelining_enabled(self, _style: str) -> bool:
        return self._pipelining

    def _compute_environment_string(self) -> str:
        return "LANG=C"

    def _make_tmp_path(self) -> None:
        self._connection._shell.tmpdir = str(self._folder)

    def _transfer_data(self, path: str, data: bytes) -> None:
        Path(path).write_bytes(data)

    def _fixup_perms2(self, paths: list[str]) -> None:
        self.readable += paths

    def _low_level_execute_command(
        self, command: str, in_data: bytes | None = None, sudoable: bool = True
    ) -> dict[str, t.Any]:
        self.commands.append(command)
        if self.ends:
            return {"rc": 0, "stdout": "", "stderr": "", **self.ends}
        if not sudoable:
            # The oldest ansible-core asks for the platform too, and looks further on one that it knows.
            platform = "PLATFORM\nother\n" if "PLATFORM" in command else ""
            return {"rc": 0, "stdout": f"{platform}FOUND\n{sys.executable}\nENDFOUND\n", "stderr": ""}
        done = subprocess.run(["sh", "-c", command], input=in_data, capture_output=True, check=False)
        self.errors = done.stderr.decode()
        output = f"Welcome\r\n{done.stdout.decode()}\r\nBye {{}}\r\n"
        return {"rc": done.returncode, "stdout": output, "stderr": self.errors}


@pytest.fixture
def connection(tmp_path: Path) -> Connection:
    return Connection(tmp_path)


def host(connection: Connection, folder: Path, **variables: t.Any) -> Host:
    place = {"engine_socket": str(folder / "docker.sock"), "staging": str(folder / "staging"), "check": False}
    known = {"inventory_hostname": "web", "ansible_python_interpreter": sys.executable, **variables}
    return Host(t.cast(t.Any, connection), known, place)


def sent() -> dict[str, str]:
    """The modules that are sent, by name."""
    text = zlib.decompress(program()).decode()
    return dict(ast.literal_eval(text[text.rindex("\nstart(") + len("\nstart(") : text.rindex(")")]))


def test_program_is_small_and_always_the_same() -> None:
    first = program()
    program.cache_clear()
    assert program() == first
    assert len(first) < 16_000
    assert {"image_agent", "image_look", "image_loader", "image_pull", "engine"} <= set(sent())


@pytest.mark.parametrize("name", [*sorted(sent()), "image_agent_start"])
def test_program_needs_only_the_standard_library(name: str) -> None:
    tree = ast.parse(image_host._source(name), feature_version=(3, 10))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.level <= 1
            names = [node.module] if node.module else [alias.name for alias in node.names]
            known = sent() if node.level else sys.stdlib_module_names
            assert {str(one).partition(".")[0] for one in names} <= set(known)
        elif isinstance(node, ast.Import):
            assert {alias.name.split(".")[0] for alias in node.names} <= sys.stdlib_module_names


def without_docstrings(text: str) -> str:
    """A module's program, without what only people read."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            node.value.value = ""
    return ast.dump(tree)


@pytest.mark.parametrize("name", [*sorted(sent()), "image_agent_start"])
def test_what_is_left_out_is_for_people_only(name: str) -> None:
    text = (image_host._SOURCES / f"{name}.py").read_text()
    bare = image_host._source(name)
    assert without_docstrings(bare) == without_docstrings(text)
    assert bare.count("\n") == text.count("\n")
    assert not re.search(r'"""|^ *#', bare, re.MULTILINE)


@pytest.mark.parametrize("pipelining", [True, False])
def test_host_answers(tmp_path: Path, pipelining: bool) -> None:
    connection = Connection(tmp_path, pipelining)
    ((name, wanted), secret) = LOOK, "a password"
    (found,) = host(connection, tmp_path).ask((name, {**wanted, "password": secret}))
    assert "docker.sock" in found["problem"]
    (command,) = connection.commands
    assert command.startswith(f"LANG=C {sys.executable} -I -S -c ")
    assert secret not in command
    assert connection.readable == ([] if pipelining else [str(tmp_path), str(tmp_path / "question")])


def test_look_imports_nothing_slow(connection: Connection, tmp_path: Path) -> None:
    host(connection, tmp_path, ansible_python_interpreter=f"{sys.executable} -X importtime").ask(LOOK)
    imported = set(re.findall(r"\| +(\S+)$", connection.errors, re.MULTILINE))
    assert "modelyard_sent.image_look" in imported
    assert not {"_ssl", "dataclasses", "concurrent.futures", "tarfile", "modelyard_sent.image_loader"} & imported


def test_pack_goes_with_the_question(connection: Connection, tmp_path: Path) -> None:
    (tmp_path / "staging").mkdir()
    load = {"pack": "1.pack", "name": "app:1"}
    (answer,) = host(connection, tmp_path).ask(("load", load), pack=b"\0chunks\n")
    assert "no Docker engine answers" in answer["reason"]
    assert (tmp_path / "staging/1.pack").read_bytes() == b"\0chunks\n"


def test_warnings_are_shown(connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr(image_host.display, "warning", shown.append)
    connection.ends = {"stdout": f'{MARK}{{"answers": [], "warnings": ["it is late"], "failed": ""}}'}
    assert host(connection, tmp_path).ask() == []
    assert shown == ["web: it is late"]


@pytest.mark.parametrize(
    ("ends", "message"),
    [
        (
            {"rc": 127, "stderr": "sh: python9: not found"},
            "no Python at .* \\(set ansible_python_interpreter\\): sh: p",
        ),
        ({"rc": 1, "stderr": "Traceback\nMemoryError"}, "ended with 1 and without an answer: Traceback\nMemoryError"),
        ({"rc": 0, "stdout": "This account is closed."}, "without an answer: This account is closed"),
        ({"rc": 0, "stdout": f"{MARK}{{"}, "without an answer"),
    ],
)
def test_silence_is_explained(connection: Connection, tmp_path: Path, ends: dict[str, t.Any], message: str) -> None:
    connection.ends = ends
    with pytest.raises(ImageError, match=message):
        host(connection, tmp_path).ask(LOOK)


@pytest.mark.parametrize("output", [EMPTY, f"\r\n{EMPTY}\r\n", f"Lecture {{}}\n{EMPTY}\nbye", f"x\n\n{EMPTY}"])
def test_answer_is_found_among_others_words(output: str) -> None:
    assert answer(output) == {"answers": [], "warnings": [], "failed": ""}


def test_python_is_discovered_once(connection: Connection, tmp_path: Path) -> None:
    one = host(connection, tmp_path, ansible_python_interpreter="auto_silent", ansible_facts={})
    one.ask(LOOK)
    one.ask(LOOK)
    assert one.facts == {"discovered_interpreter_python": sys.executable}
    assert len(connection.commands) == 3
    known = host(connection, tmp_path, ansible_python_interpreter="auto", ansible_facts=dict(one.facts))
    known.ask(LOOK)
    assert (known.facts, len(connection.commands)) == ({}, 4)


def test_python_of_the_host_that_the_task_is_delegated_to(connection: Connection, tmp_path: Path) -> None:
    connection._task.delegate_to = "other"
    others = {"other": {"ansible_python_interpreter": f"{sys.executable} -B"}}
    host(connection, tmp_path, ansible_delegated_vars=others, ansible_python_interpreter="/none").ask(LOOK)
    assert f"{sys.executable} -B -I" in connection.commands[0]


def test_python_that_nobody_named_is_the_configured_one(
    connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants.config, "get_config_value", lambda *_, **__: sys.executable)
    assert host(connection, tmp_path).ask(LOOK)[0]["engine"] is None
