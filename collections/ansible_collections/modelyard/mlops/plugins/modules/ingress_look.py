#!/usr/bin/python
# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
# Apache-2.0 is compatible with the GNU General Public License v3.0, under which Ansible itself is.
"""Say how a host's ingress is now, as far as its next configuration depends on it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ingress_look
short_description: Say how a host's ingress is now
description:
  - Says whose configuration HAProxy has, which slot of each app serves at which port, which certificates certbot keeps
    for the ingress, and who else has its ports. The role ingress plans from there.
  - It reads files alone, so it works on a host that has nothing yet.
version_added: 0.1.0
author: The Modelyard authors (@modelyard)
extends_documentation_fragment:
  - modelyard.mlops.attributes
attributes:
  check_mode:
    support: full
    details: Changes nothing in any mode.
  diff_mode:
    support: N/A
    details: It changes nothing that could be shown.
  idempotent:
    support: full
    details: It changes nothing.
options:
  folder:
    description: HAProxy's configuration folder.
    type: path
    default: /etc/haproxy
  requires:
    description: Paths that the configuration refers to.
    type: list
    elements: path
    default: []
  binds:
    description: Where HAProxy is to listen, as C(address:port); without an address, at all of the host's.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Look at what is there, with only what is required
  modelyard.mlops.ingress_look:
  become: true
  register: ingress_host

- name: Look whether all is there and the ports are free, with every option
  modelyard.mlops.ingress_look:
    folder: /etc/haproxy
    requires: [/etc/haproxy/self-signed.pem]
    binds: [":80", ":443", "127.0.0.1:8404"]
  become: true
  register: ingress_host
"""

RETURN = r"""
foreign:
  description: Whether C(haproxy.cfg) is neither the role's nor the package's own.
  returned: success
  type: bool
  sample: false
complete:
  description: Whether all of O(requires) is there, so that the configuration can be validated.
  returned: success
  type: bool
  sample: true
serving:
  description: For each app that serves, its slot and the port at which the configuration has that slot.
  returned: success
  type: dict
  sample: {iris: {slot: blue, port: 18081}}
occupied:
  description: What other programs have of O(binds), and which programs these are.
  returned: success
  type: list
  elements: str
  sample: ["port 80 is taken by nginx (process 812, nginx.service)"]
certificates:
  description: The host names for which certbot renews a certificate of the ingress.
  returned: success
  type: list
  elements: str
  sample: [iris.example.org]
delivered:
  description: The files of the certificates that came with the role's variables.
  returned: success
  type: list
  elements: str
  sample: [iris.example.org.pem]
"""

import glob
import hashlib
import os
import re
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.modelyard.mlops.plugins.module_utils.certbot import RENEWALS, kept
from ansible_collections.modelyard.mlops.plugins.module_utils.haproxy import SlotMap
from ansible_collections.modelyard.mlops.plugins.module_utils.listening import is_free, listeners

# How the role's own configuration begins.
MARK = "# Made by the role modelyard.mlops.ingress"
# The role's own folder for certificates, in HAProxy's.
DELIVERED = "certificates/modelyard"

_SERVER = re.compile(
    r"^backend app_([a-z0-9-]+)_(blue|green)\n(?:[ \t].*\n)*?[ \t]+server slot 127\.0\.0\.1:(\d+)", re.MULTILINE
)


def serving(configuration: str, slots: dict[str, str]) -> dict[str, dict[str, t.Any]]:
    """Slot and port of each app that has a slot and, in the configuration, a backend for it."""
    ports = {(app, slot): int(port) for app, slot, port in _SERVER.findall(configuration)}
    return {
        app: {"slot": slot, "port": ports[app, slot]} for app, slot in sorted(slots.items()) if (app, slot) in ports
    }


def foreign(path: str, configuration: bytes | None, conffiles: str) -> bool:
    """Whether somebody else wrote the configuration.

    :param conffiles: dpkg's list of the package's configuration files, each with the MD5 digest of what it brought.
    """
    if configuration is None or configuration.startswith(MARK.encode()):
        return False
    digest = hashlib.md5(configuration, usedforsecurity=False).hexdigest()
    return [path, digest] not in [line.split()[:2] for line in conffiles.splitlines()]


def occupied(binds: t.Iterable[str]) -> t.Iterator[str]:
    """Say of each address that something other than HAProxy has what that is."""
    for bind in binds:
        address, _colon, port = bind.rpartition(":")
        if is_free(int(port), address):
            continue
        others = listeners(int(port))
        if not others or any(other.name != "haproxy" for other in others):
            yield f"port {port} is taken by {', '.join(map(str, others)) or 'a program that cannot be seen from here'}"


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except FileNotFoundError:
        return None


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "folder": {"type": "path", "default": "/etc/haproxy"},
            "requires": {"type": "list", "elements": "path", "default": []},
            "binds": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    path = os.path.join(module.params["folder"], "haproxy.cfg")
    configuration = _read(path)
    # Exit code 1: dpkg never heard of it.
    _code, conffiles, _errors = module.run_command(["dpkg-query", "--show", "--showformat=${Conffiles}\n", "haproxy"])
    module.exit_json(
        changed=False,
        foreign=foreign(path, configuration, conffiles),
        occupied=list(occupied(module.params["binds"])),
        complete=all(map(os.path.exists, module.params["requires"])),
        serving=serving((configuration or b"").decode(errors="replace"), SlotMap().read()),
        delivered=sorted(map(os.path.basename, glob.glob(os.path.join(module.params["folder"], DELIVERED, "*")))),
        certificates=kept(glob.glob(os.path.join(RENEWALS, "*.conf"))),
    )


if __name__ == "__main__":
    main()
