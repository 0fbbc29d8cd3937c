# SPDX-License-Identifier: Apache-2.0
"""What all tests of the scenario start from."""

from __future__ import annotations

import time

import pytest
from testinfra.host import Host

from .client import Client

SLOT_MAP = "/var/lib/modelyard/ingress/slots.map"


@pytest.fixture(scope="module")
def client(host: Host) -> Client:
    return Client(host.ansible.get_variables()["ansible_host"])


@pytest.fixture(scope="module")
def serving(host: Host, client: Client) -> None:
    """As if app_deploy had put all apps into their blue slots. Behind wine's there is nothing."""
    with host.sudo():
        host.check_output(f"printf 'iris blue\\nsmall blue\\nwine blue\\n' >{SLOT_MAP} && systemctl reload haproxy")
    deadline = time.monotonic() + 10
    while client.get("/predict").status == 503 and time.monotonic() < deadline:
        time.sleep(0.1)
