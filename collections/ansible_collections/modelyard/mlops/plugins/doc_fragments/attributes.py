# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""What the attributes of modules mean; each module says which it supports, and how far."""

from __future__ import annotations


class ModuleDocFragment:
    """The fragments."""

    DOCUMENTATION = r"""
attributes:
  check_mode:
    description: With C(--check), says what it would change, and changes nothing.
  diff_mode:
    description: With C(--diff), shows what it changes, or in check mode would change.
  idempotent:
    description: Run again with the same options on the same host, it changes nothing and says so.
"""

    # For modules with a part that runs on the controller.
    ACTION = r"""
attributes:
  action:
    description: Has a part that runs on the controller.
"""
