#!/usr/bin/python
# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
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
attributes:
  check_mode:
    support: full
    description: It changes nothing.
  diff_mode:
    support: none
    description: It changes nothing.
options:
  lines:
    description: The lines.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Say what runs
  modelyard.mlops.print_lines:
    lines: "{{ {inventory_hostname: status} | modelyard.mlops.release_table }}"
"""

RETURN = r"""{}"""
