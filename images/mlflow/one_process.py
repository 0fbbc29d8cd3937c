# SPDX-License-Identifier: Apache-2.0
"""mlflow's command line, whose `server` becomes the web server that it otherwise only starts and waits for.

The process that waits has imported all that the web server imports, and keeps 200 MB for nothing. It is needed for
job runners only, so with them (MLFLOW_SERVER_ENABLE_JOB_EXECUTION, mlflow's default) everything is as mlflow has it.
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import mlflow.server
from mlflow.cli import cli
from mlflow.environment_variables import MLFLOW_SERVER_ENABLE_JOB_EXECUTION

# How mlflow.server starts the web server.
STARTER = "_exec_cmd"


def become(command: list[str], *, extra_env: dict[str, str], **_: object) -> NoReturn:
    """Replace this process by `command`."""
    os.execve(command[0], command, {**os.environ, **extra_env})


if __name__ == "__main__":
    if not hasattr(mlflow.server, STARTER):
        sys.exit(f"mlflow {mlflow.__version__} starts its web server in another way: adapt one_process.py")
    if not MLFLOW_SERVER_ENABLE_JOB_EXECUTION.get():
        setattr(mlflow.server, STARTER, become)
    cli(prog_name="mlflow")
