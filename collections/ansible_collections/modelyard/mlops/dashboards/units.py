# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""Values as Grafana's units write them; the few units that the dashboards use."""

from __future__ import annotations

import math

_SECONDS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
_BYTES = ((2.0**40, "TiB"), (2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"))
_DECIMAL = ((1e9, " Bil"), (1e6, " Mil"), (1e3, " K"))
_SUFFIXES = {"reqps": " req/s", "cps": " c/s"}


def shown(value: float, unit: str) -> str:
    """Return a value with its unit.

    :raises KeyError: no dashboard has used this unit so far.
    """
    if not math.isfinite(value):
        return str(value)
    if unit == "percentunit":
        return f"{_short(value * 100)}%"
    if unit == "bool_yes_no":
        return "Yes" if value else "No"
    if unit == "s":
        return _scaled(value, _SECONDS, "{} {}") or "0 s"
    if unit in ("bytes", "Bps"):
        return (_scaled(value, _BYTES, "{} {}") or f"{_short(value)} B") + ("/s" if unit == "Bps" else "")
    if unit in ("short", "none"):
        return (_scaled(value, _DECIMAL, "{}{}") if unit == "short" else None) or _short(value)
    return f"{_short(value)}{_SUFFIXES[unit]}"


def step(value: float, unit: str) -> float:
    """Return what one stands for in the text of a value, so that an axis has round texts rather than round values."""
    units = {"s": _SECONDS, "bytes": _BYTES, "Bps": _BYTES, "percentunit": ((0.01, "%"),)}.get(unit, ())
    return next((factor for factor, _name in units if abs(value) >= factor), 1.0)


def _scaled(value: float, units: tuple[tuple[float, str], ...], form: str) -> str | None:
    for factor, name in units:
        if abs(value) >= factor:
            return form.format(_short(value / factor), name)
    return None


def _short(value: float) -> str:
    """Three digits are enough for a look."""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    text = f"{value:.{digits}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return f"{value:.1g}" if text in ("0", "-0") and value else text
