# SPDX-License-Identifier: Apache-2.0
"""`python -m iris_model`: how the images start it."""

from __future__ import annotations

import sys

from iris_model.cli import main

sys.exit(main())
