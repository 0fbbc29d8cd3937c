# SPDX-License-Identifier: Apache-2.0
"""Turns Ansible's semantic markup into Markdown that reads well as plain text, too."""

from __future__ import annotations

import re
from collections.abc import Sequence

from antsibull_docs_parser import dom
from antsibull_docs_parser.parser import Context, parse


def to_markdown(text: str | Sequence[str]) -> str:
    """Return a description, one paragraph or several, as one line.

    :raises ValueError: the markup is wrong.
    """
    paragraphs = parse([text] if isinstance(text, str) else text, Context(), errors="exception", helpful_errors=True)
    return " ".join("".join(map(_part, paragraph)).strip() for paragraph in paragraphs)


def code(text: str) -> str:
    """Return text as code that may stand in a table."""
    return f"`{text}`".replace("|", r"\|")


def _part(part: dom.AnyPart) -> str:
    if isinstance(part, dom.TextPart):
        return re.sub(r"([|<*])", r"\\\1", part.text)
    if isinstance(part, dom.CodePart | dom.BoldPart | dom.ItalicPart):
        return code(part.text)
    if isinstance(part, dom.OptionNamePart | dom.ReturnValuePart):
        return code(part.name if part.value is None else f"{part.name}={part.value}")
    if isinstance(part, dom.OptionValuePart):
        return code(part.value)
    if isinstance(part, dom.EnvVariablePart):
        return code(part.name)
    if isinstance(part, dom.ModulePart):
        return code(part.fqcn)
    raise ValueError(f"a description has {part.type.name}, for which there is no Markdown here")
