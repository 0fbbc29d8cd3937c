#!/usr/bin/python
# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
# Apache-2.0 is compatible with the GNU General Public License v3.0, under which Ansible itself is.
"""Install Debian packages, at a version where one is named."""

from __future__ import annotations

DOCUMENTATION = r"""
module: apt_packages
short_description: Install Debian packages, at a version where one is named
description:
  - Installs what is missing, and puts a package that has a version at exactly that version, upwards or downwards.
  - A package with a version is held, so that no other C(apt) on the host moves it. Taking the version away releases it.
  - The package lists are fetched only when something has to be installed. With everything in place, the module reads
    the package database once and touches no network.
  - Unlike M(ansible.builtin.apt), it previews on a host that has neither package lists nor C(python3-apt) yet.
version_added: 0.1.0
author: The Modelyard authors (@modelyard)
extends_documentation_fragment:
  - modelyard.mlops.attributes
attributes:
  check_mode:
    support: full
    details: Says what would be installed, held and released. Does not ask whether the repository has it.
  diff_mode:
    support: full
    details: Shows each package with its version and hold.
  idempotent:
    support: full
options:
  packages:
    description:
      - The packages, each with its version.
      - An empty version means any. A version may be a pattern such as V(5:27.5.1-*).
    type: dict
    required: true
notes:
  - Recommended packages are not installed.
"""

EXAMPLES = r"""
- name: Install HAProxy at any version, with only what is required
  modelyard.mlops.apt_packages:
    packages:
      haproxy: ""
  become: true

- name: Install Docker's engine at one version, with every option
  modelyard.mlops.apt_packages:
    packages:
      docker-ce: "5:27.5.1-*"
      docker-ce-cli: "5:27.5.1-*"
      containerd.io: ""
  become: true
"""

RETURN = r"""
installed:
  description: The packages that were installed, upgraded or downgraded (in check mode, would be).
  returned: always
  type: list
  elements: str
  sample: [docker-ce]
held:
  description: The packages that have been held.
  returned: always
  type: list
  elements: str
released:
  description: The packages that are no longer held.
  returned: always
  type: list
  elements: str
"""

import fnmatch
import typing as t

from ansible.module_utils.basic import AnsibleModule

QUERY = ["dpkg-query", "--show", "--showformat=${Package} ${db:Status-Want} ${db:Status-Status} ${Version}\n"]
APT_GET = ["apt-get", "--yes", "--quiet", "-o", "DPkg::Lock::Timeout=300"]
INSTALL_OPTIONS = ["--no-install-recommends", "--allow-downgrades", "--allow-change-held-packages"]
ENVIRONMENT = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}

# package -> (version, held)
State = dict[str, tuple[str, bool]]


class Plan(t.NamedTuple):
    """What has to happen, as lists of package names."""

    install: list[str]
    hold: list[str]
    release: list[str]


def parse(output: str) -> State:
    """Read the answer to `QUERY`, leaving out what is not installed."""
    state: State = {}
    for line in output.splitlines():
        package, want, status, version = line.split(" ", 3)
        if status == "installed":
            state[package] = (version, want == "hold")
    return state


def plan(wanted: dict[str, str], state: State) -> Plan:
    """Compare what is wanted with what is installed."""
    install, hold, release = [], [], []
    for package, version in wanted.items():
        installed, held = state.get(package, ("", False))
        if not installed or (version and not fnmatch.fnmatchcase(installed, version)):
            install.append(package)
        if version and not held:
            hold.append(package)
        if held and not version:
            release.append(package)
    return Plan(install, hold, release)


def describe(wanted: t.Iterable[str], state: State) -> str:
    """The packages as lines of text, for a diff."""
    lines = []
    for package in sorted(wanted):
        version, held = state.get(package, ("", False))
        lines.append(f"{package} {version or 'not installed'}{' (held)' if held else ''}\n")
    return "".join(lines)


def expected(wanted: dict[str, str], state: State, todo: Plan) -> State:
    """The state after `todo`, as far as it is known before."""
    after = dict(state)
    for package, version in wanted.items():
        current = after.get(package, ("", False))[0]
        after[package] = ((version or "newest") if package in todo.install else current, bool(version))
    return after


class Apt:
    """The commands of apt and dpkg, run through the module."""

    def __init__(self, module: AnsibleModule) -> None:
        self._module = module

    def state(self, packages: t.Iterable[str]) -> State:
        """What is installed of `packages`; dpkg-query's exit code 1 says that it does not know one of them."""
        code, out, err = self._module.run_command([*QUERY, *packages], environ_update=ENVIRONMENT)
        if code > 1:
            self._module.fail_json(msg=f"dpkg-query failed: {err.strip()}")
        return parse(out)

    def install(self, wanted: dict[str, str], packages: list[str]) -> None:
        """Fetch the lists, then install `packages`."""
        names = [f"{package}={wanted[package]}" if wanted[package] else package for package in packages]
        self._run([*APT_GET, "update"], "fetch the package lists")
        self._run([*APT_GET, *INSTALL_OPTIONS, "install", *names], f"install {', '.join(names)}")

    def mark(self, action: str, packages: list[str]) -> None:
        """`apt-mark hold` or `unhold`."""
        self._run(["apt-mark", action, *packages], f"{action} {', '.join(packages)}")

    def _run(self, command: list[str], purpose: str) -> None:
        code, out, err = self._module.run_command(command, environ_update=ENVIRONMENT)
        if code:
            reason = "\n".join((err.strip() or out.strip()).splitlines()[-10:])
            self._module.fail_json(msg=f"apt could not {purpose}:\n{reason}")


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={"packages": {"type": "dict", "required": True}},
        supports_check_mode=True,
    )
    wanted = {package: str(version or "") for package, version in module.params["packages"].items()}
    apt = Apt(module)
    before = apt.state(wanted)
    todo = plan(wanted, before)
    after = expected(wanted, before, todo)
    if not module.check_mode:
        if todo.install:
            apt.install(wanted, todo.install)
        if todo.hold:
            apt.mark("hold", todo.hold)
        if todo.release:
            apt.mark("unhold", todo.release)
        if any(todo):
            after = apt.state(wanted)
    module.exit_json(
        changed=any(todo),
        installed=todo.install,
        held=todo.hold,
        released=todo.release,
        diff={"before": describe(wanted, before), "after": describe(wanted, after)},
    )


if __name__ == "__main__":
    main()
