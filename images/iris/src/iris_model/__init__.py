# SPDX-License-Identifier: Apache-2.0
"""The example tenant of Modelyard: train, choose and serve a small model.

`data` and `model` are shared by two halves: training (scikit-learn, MLflow), and serving (Flask), which never imports
the former.
"""

from __future__ import annotations

__version__ = "1.0.0"


class IrisError(Exception):
    """Something the user can put right; its text says what was found and what to do."""
