# SPDX-License-Identifier: Apache-2.0
"""What tests ask the server and the engine of a host."""

from __future__ import annotations

import json
import typing as t

from testinfra.host import Host

CONTAINER = "modelyard-mlflow"
SERVER = "http://127.0.0.1:5000/mlflow"
DATA = "/var/lib/modelyard/mlflow"
BACKUPS = "/var/lib/modelyard/backups/mlflow"


def inspect(host: Host) -> dict[str, t.Any]:
    """The container, as the engine describes it."""
    with host.sudo():
        return t.cast(dict[str, t.Any], json.loads(host.check_output(f"docker inspect {CONTAINER}"))[0])


def ask(host: Host, path: str, *headers: str, method: str = "GET", body: str = "") -> tuple[int, str]:
    """Status and body of an answer, without curl, which the host does not have."""
    script = (
        "import sys, urllib.request, urllib.error\n"
        "method, url, body, *headers = sys.argv[1:]\n"
        "headers = dict(header.split('=') for header in headers)\n"
        "request = urllib.request.Request(url, body.encode() or None, headers, method=method)\n"
        "try: answer = urllib.request.urlopen(request, timeout=60)\n"
        "except urllib.error.HTTPError as error: answer = error\n"
        "print(answer.status); print(answer.read().decode())\n"
    )
    words = [method, SERVER + path, body, *headers]
    output = host.check_output("python3 -c %s " + " ".join(["%s"] * len(words)), script, *words)
    status, _unused, text = output.partition("\n")
    return int(status), text.rstrip("\n")


def champion(host: Host) -> str:
    """The version of the model that is to serve, or the error's code."""
    found = json.loads(ask(host, "/api/2.0/mlflow/registered-models/alias?name=iris&alias=champion")[1])
    return str(found.get("model_version", {}).get("version", found.get("error_code")))


def processes(host: Host) -> list[tuple[str, int]]:
    """The container's processes: command, and memory that is its own share (PSS), in MB."""
    with host.sudo():
        rows = host.check_output(f"docker top {CONTAINER} -eo pid,args").splitlines()[1:]
        found = []
        for pid, command in (row.split(maxsplit=1) for row in rows):
            rollup = host.file(f"/proc/{pid}/smaps_rollup").content_string
            found.append((command, int(rollup.split("Pss:")[1].split()[0]) // 1024))
        return found
