#!/usr/bin/python
# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
# Apache-2.0 is compatible with the GNU General Public License v3.0, under which Ansible itself is.
"""Print lines as they are; the work is the action plugin's, on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: print_lines
short_description: Print lines as they are, once for all hosts
version_added: 0.1.0
author: The Modelyard authors (@modelyard)
description:
  - For tables and reports, which M(ansible.builtin.debug) shows wrapped, quoted, and for each host.
  - Runs on the controller, once for the hosts of a play.
extends_documentation_fragment:
  - modelyard.mlops.attributes
  - modelyard.mlops.attributes.action
attributes:
  check_mode:
    support: full
    details: It changes nothing.
  diff_mode:
    support: N/A
    details: It changes nothing that could be shown.
  idempotent:
    support: full
    details: It changes nothing.
  action:
    support: full
    details: All of it runs there.
options:
  lines:
    description: The lines.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Say what comes next, with only what is required
  modelyard.mlops.print_lines:
    lines: [The release serves. Now the old one is drained.]

- name: Say what runs, with every option
  modelyard.mlops.print_lines:
    lines: "{{ {inventory_hostname: status} | modelyard.mlops.release_table }}"
"""

RETURN = r"""{}"""
