# SPDX-License-Identifier: Apache-2.0
"""`python -m delivery VERB`: what the Makefile and the workflows call."""

from __future__ import annotations

import sys

from .cli import main

sys.exit(main())
