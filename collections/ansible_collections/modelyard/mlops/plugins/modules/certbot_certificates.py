#!/usr/bin/python
# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
# Apache-2.0 is compatible with the GNU General Public License v3.0, under which Ansible itself is.
"""Have certbot keep a certificate for each host name of the ingress."""

from __future__ import annotations

DOCUMENTATION = r"""
module: certbot_certificates
short_description: Have certbot keep a certificate for each host name of the ingress
description:
  - Gets a certificate for each name that has none, and gives back those whose name is not asked for any more. Between
    the two, certbot's own timer renews them.
  - Certbot answers the authority's challenge on a loopback port, to which the ingress sends it. A new certificate goes
    to the program of the role ingress, which has the running HAProxy use it.
  - Certificates that certbot keeps for somebody else are not touched.
version_added: 0.1.0
author: The Modelyard authors (@modelyard)
extends_documentation_fragment:
  - modelyard.mlops.attributes
attributes:
  check_mode:
    support: full
    details: Asks no authority. Works before certbot is installed.
  diff_mode:
    support: full
    details: Shows the names.
  idempotent:
    support: full
options:
  names:
    description: The host names, each of which gets a certificate of its own.
    type: list
    elements: str
    required: true
  email:
    description: Where the authority writes when something is wrong. Needed to get a certificate.
    type: str
    default: ""
  server:
    description: The authority's ACME directory. A certificate stays with the authority that it came from.
    type: str
    default: https://acme-v02.api.letsencrypt.org/directory
  port:
    description: The loopback port on which certbot answers the challenge.
    type: int
    default: 8402
"""

EXAMPLES = r"""
- name: Have a certificate for iris.example.org, with only what is required
  modelyard.mlops.certbot_certificates:
    names: [iris.example.org]
    email: ops@example.org
  become: true

- name: Have certificates of an authority for trials, with every option
  modelyard.mlops.certbot_certificates:
    names: [iris.example.org, shop.example.org]
    email: ops@example.org
    server: https://acme-staging-v02.api.letsencrypt.org/directory
    port: 8402
  become: true
"""

RETURN = r"""
obtained:
  description: The names that got a certificate (in check mode, would get one).
  returned: success
  type: list
  elements: str
  sample: [iris.example.org]
deployed:
  description: The names whose certificate HAProxy did not have, although certbot had it.
  returned: success
  type: list
  elements: str
removed:
  description: The names whose certificate was given up.
  returned: success
  type: list
  elements: str
"""

import glob
import os
import typing as t
from collections.abc import Sequence

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.modelyard.mlops.plugins.module_utils.certbot import DEPLOYED, PROGRAM, RENEWALS, kept

LINEAGES = "/etc/letsencrypt/live"


class Plan(t.NamedTuple):
    """What has to happen, as lists of names."""

    obtain: list[str]
    deploy: list[str]
    remove: list[str]

    @classmethod
    def make(cls, wanted: Sequence[str], keeps: Sequence[str], deployed: Sequence[str]) -> Plan:
        """Compare the names that are wanted with those that certbot keeps and those that HAProxy has."""
        return cls(
            obtain=[name for name in wanted if name not in keeps],
            deploy=[name for name in wanted if name in keeps and name not in deployed],
            remove=[name for name in keeps if name not in wanted],
        )


class Certbot:
    """Certbot and the ingress' program, run through the module."""

    def __init__(self, module: AnsibleModule) -> None:
        self._module = module
        self._options = module.params

    def obtain(self, name: str) -> None:
        """Get a certificate; certbot calls the ingress' program now and at each renewal."""
        self._run(
            f"certbot got no certificate for {name}; its name must lead to this host, and port 80 be open",
            ["certbot", "certonly", "--standalone", "--non-interactive", "--agree-tos"],
            [f"--email={self._options['email']}", f"--server={self._options['server']}"],
            ["--http-01-address=127.0.0.1", f"--http-01-port={self._options['port']}"],
            [f"--cert-name={name}", f"--domain={name}", f"--deploy-hook={PROGRAM} deploy"],
        )
        # A hook that fails is only a warning to certbot.
        if name not in deployed():
            self.deploy(name)

    def deploy(self, name: str) -> None:
        """Bring certbot's certificate to HAProxy, as its hook does."""
        lineage = {"RENEWED_LINEAGE": os.path.join(LINEAGES, name)}
        self._run(f"the certificate of {name} did not reach HAProxy", [PROGRAM, "deploy"], environment=lineage)

    def remove(self, name: str) -> None:
        """Give a certificate up, first in HAProxy."""
        self._run(f"the certificate of {name} is still in HAProxy", [PROGRAM, "remove", name])
        self._run(f"certbot still keeps {name}", ["certbot", "delete", "--non-interactive", f"--cert-name={name}"])

    def _run(self, problem: str, *words: list[str], environment: dict[str, str] | None = None) -> None:
        command = [word for part in words for word in part]
        code, out, err = self._module.run_command(command, environ_update=environment)
        if code:
            said = "\n".join((out + err).strip().splitlines()[-12:])
            self._module.fail_json(msg=f"{problem}:\n{said}")


def deployed() -> list[str]:
    """The names whose certificates HAProxy has as files."""
    return [os.path.basename(path)[: -len(".pem")] for path in glob.glob(os.path.join(DEPLOYED, "*.pem"))]


def _listing(names: Sequence[str]) -> str:
    return "".join(f"{name}\n" for name in sorted(names))


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "names": {"type": "list", "elements": "str", "required": True},
            "email": {"type": "str", "default": ""},
            "server": {"type": "str", "default": "https://acme-v02.api.letsencrypt.org/directory"},
            "port": {"type": "int", "default": 8402},
        },
        supports_check_mode=True,
    )
    renewals = glob.glob(os.path.join(RENEWALS, "*.conf"))
    keeps = kept(renewals)
    plan = Plan.make(module.params["names"], keeps, deployed())
    others = [name for name in plan.obtain if os.path.join(RENEWALS, f"{name}.conf") in renewals]
    if others:
        module.fail_json(
            msg=f"certbot keeps {', '.join(others)} for somebody else on this host: give that up with "
            f"`certbot delete --cert-name {others[0]}`, or take the name out of ingress_certbot"
        )
    if plan.obtain and not module.params["email"]:
        module.fail_json(msg=f"email: needed to get a certificate for {', '.join(plan.obtain)}")
    if not module.check_mode:
        certbot = Certbot(module)
        for step, names in (
            (certbot.obtain, plan.obtain),
            (certbot.deploy, plan.deploy),
            (certbot.remove, plan.remove),
        ):
            for name in names:
                step(name)
    module.exit_json(
        changed=any(plan),
        obtained=plan.obtain,
        deployed=plan.deploy,
        removed=plan.remove,
        diff={"before": _listing(keeps), "after": _listing(module.params["names"])},
    )


if __name__ == "__main__":
    main()
