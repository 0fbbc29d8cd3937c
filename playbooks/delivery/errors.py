# SPDX-License-Identifier: Apache-2.0
"""The one exception that a person sees as a message instead of a traceback."""

from __future__ import annotations


class DeliveryError(Exception):
    """Something a person can act on: says what was found and what to do."""
