# SPDX-License-Identifier: Apache-2.0
"""The images that are brought: the API's, one of 1 GB, and commits which change only the code of either."""

from __future__ import annotations

import hashlib
import io
import json
import random
import subprocess
import tarfile
import typing as t
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.transfer.hosts import PREFIX, output

API = "modelyard/iris-api:dev"
# The large layer: its files, and the bytes of each.
_FILES = 128
_FILE = 8 * 1024**2


@dataclass(frozen=True)
class Sample:
    """An image of the controller's engine, taken apart as far as a new commit needs it."""

    name: str
    config: dict[str, t.Any]
    code: bytes

    def commit(self, number: int) -> tuple[str, bytes]:
        """Load the same image with one file of its last layer changed; return its name and that layer.

        The layers below are left out of the archive: the engine has them.
        """
        code = _changed(self.code, f"\n# commit {number}\n".encode())
        config = json.loads(json.dumps(self.config))
        config["rootfs"]["diff_ids"][-1] = _digest(code)
        name = f"{self.name.rpartition(':')[0]}:{PREFIX}-{number}"
        lower = [f"{digest.split(':')[1]}/layer.tar" for digest in config["rootfs"]["diff_ids"][:-1]]
        _load(name, config, [*lower, "code.tar"], [("code.tar", len(code), iter([code]))])
        return name, code


def api() -> Sample:
    """The image of the Iris API, as `make images` builds it."""
    with tarfile.open(fileobj=io.BytesIO(subprocess.check_output(["docker", "save", API]))) as archive:
        entry = json.loads(_read(archive, "manifest.json"))[0]
        return Sample(API, json.loads(_read(archive, entry["Config"])), _read(archive, entry["Layers"][-1]))


def gigabyte() -> Sample:
    """An image with one layer of 1 GB, which compresses about as the API's image does, and the API's layer of code."""
    code = api().code
    name = f"{PREFIX}/gigabyte:first"
    whole = hashlib.sha256()
    size = 0
    for piece in _libraries():
        whole.update(piece)
        size += len(piece)
    config: dict[str, t.Any] = {
        "architecture": output("docker", "version", "--format", "{{.Server.Arch}}").strip(),
        "os": "linux",
        "config": {"Cmd": ["serve"]},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + whole.hexdigest(), _digest(code)]},
    }
    files = [("libraries.tar", size, _libraries()), ("code.tar", len(code), iter([code]))]
    _load(name, config, ["libraries.tar", "code.tar"], files)
    return Sample(name, config, code)


def forget() -> None:
    """Remove what was loaded here."""
    names = output("docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}").split()
    ours = [name for name in names if PREFIX in name and "/host:" not in name]
    subprocess.run(["docker", "image", "rm", "--force", *ours], check=False, capture_output=True)


def _libraries() -> Iterator[bytes]:
    """The tar of the large layer: files of noise, of noise in hexadecimal (half its size), and of words said again."""
    for number in range(_FILES):
        noise = random.Random(number).randbytes(_FILE // 10)
        digits = random.Random(-number - 1).randbytes(_FILE // 5).hex().encode()
        words = digits[:4096] * (_FILE // 4096 + 1)
        yield _header(f"libraries/{number:03}.so", _FILE)
        yield noise + digits + words[: _FILE - len(noise) - len(digits)]
    yield bytes(2 * tarfile.BLOCKSIZE)


def _changed(layer: bytes, text: bytes) -> bytes:
    """The layer with `text` at the end of its largest Python file."""
    changed = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(layer)) as old, tarfile.open(fileobj=changed, mode="w") as new:
        members = old.getmembers()
        chosen = max((one for one in members if one.name.endswith(".py")), key=lambda one: one.size)
        for member in members:
            content = old.extractfile(member) if member.isfile() else None
            data = content.read() if content else b""
            if member is chosen:
                data += text
                member.size = len(data)
            new.addfile(member, io.BytesIO(data))
    return changed.getvalue()


def _load(
    name: str, config: dict[str, t.Any], layers: list[str], files: list[tuple[str, int, Iterator[bytes]]]
) -> None:
    """Stream an archive with `files` into the engine."""
    text = json.dumps(config).encode()
    manifest = json.dumps([{"Config": "config.json", "RepoTags": [name], "Layers": layers}]).encode()
    extra = [("config.json", len(text), iter([text])), ("manifest.json", len(manifest), iter([manifest]))]
    with subprocess.Popen(["docker", "load", "--quiet"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as loading:
        assert loading.stdin
        for path, size, content in [*files, *extra]:
            loading.stdin.write(_header(path, size))
            for piece in content:
                loading.stdin.write(piece)
            loading.stdin.write(bytes(-size % tarfile.BLOCKSIZE))
        loading.stdin.write(bytes(2 * tarfile.BLOCKSIZE))
    if loading.returncode:
        raise RuntimeError(f"the controller's engine does not load {name}")


def _header(name: str, size: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.size = size
    return member.tobuf(tarfile.GNU_FORMAT)


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    assert file
    return file.read()


def _digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()
