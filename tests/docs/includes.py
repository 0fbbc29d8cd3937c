# SPDX-License-Identifier: Apache-2.0
"""Fills the generated blocks of Markdown files: examples that tests run, options from the specs, tables of modules.

A block stands between two comments and is replaced as a whole:

    <!-- example: docs/examples/docker/minimal.yml -->
    <!-- end -->

`example: PATH` is that file, `support: ENTRY` what a role's entry point supports by its spec, `options: ENTRY` its
options, `modules` the collection's modules with what each supports. Paths start at the collection's folder.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from docs import COLLECTION, FILES, ROOT
from docs.markup import code, to_markdown

BLOCK = re.compile(r"(<!-- (example|support|options|modules):? ?([^\n]*?) -->\n).*?(<!-- end -->)", re.DOTALL)
# A test insists on it.
EXAMPLES = "The [full example](#with-everything) above shows each option that is explained here."
# A longer default makes the table unreadable; the file that has it is named instead.
LONGEST_DEFAULT = 60

Spec = dict[str, Any]


def fill(markdown: Path) -> str:
    """Return a file's text with every block as it should be.

    :raises OSError: a file that a block names is not there.
    :raises KeyError: a role has no such entry point.
    """

    def block(match: re.Match[str]) -> str:
        begin, kind, argument, end = match.groups()
        return f"{begin}\n{_KINDS[kind](markdown, argument)}\n\n{end}"

    return BLOCK.sub(block, markdown.read_text())


def example(_markdown: Path, path: str) -> str:
    """Return a playbook without its licence line and the mark of its beginning."""
    lines = (COLLECTION / path).read_text().splitlines()
    text = "\n".join(line for line in lines if line != "---" and not line.startswith("# SPDX"))
    return f"```yaml\n{text.strip()}\n```"


def support(markdown: Path, entry: str) -> str:
    """Return the table of what a role supports of check mode, diff mode and being run again."""
    rows = ["| | support | meaning |", "|---|---|---|"]
    for name, attribute in _entry(markdown, entry)["attributes"].items():
        told = [to_markdown(attribute[part]) for part in ("description", "details") if part in attribute]
        rows.append(f"| {name.replace('_', ' ')} | {attribute['support']} | {' '.join(told)} |")
    return "\n".join(rows)


def options(markdown: Path, entry: str) -> str:
    """Return the tables of a role's options: one of the role, and one for each option that has options of its own.

    Those of the role itself come with the word where examples of them are.
    """
    stated: Spec = _entry(markdown, entry).get("options", {})
    defaults = yaml.safe_load((markdown.parent / "defaults/main.yml").read_text()) or {}
    for name, spec in stated.items():
        if name in defaults:
            spec["default"] = defaults[name]
    tables = [EXAMPLES, _table(stated)] if entry == "main" else [_table(stated)]
    for name, spec in stated.items():
        if "options" in spec:
            each = "Each of" if spec["type"] == "list" else "In"
            tables += [f"{each} {code(name)}:", _table(dict(_flat(spec["options"])))]
    return "\n\n".join(tables)


def modules(_markdown: Path, _argument: str) -> str:
    """Return the table of the modules, with links to their source: whole addresses, as Galaxy resolves no others."""
    rows = ["| module | what it does | check | diff | idempotent |", "|---|---|---|---|---|"]
    for path in sorted((COLLECTION / "plugins/modules").glob("*.py")):
        documentation = read_documentation(path)
        attributes = documentation["attributes"]
        support = [attributes[name]["support"] for name in ("check_mode", "diff_mode", "idempotent")]
        link = f"[{path.stem}]({FILES}{path.relative_to(ROOT)})"
        cells = [link, to_markdown(documentation["short_description"]), *support]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def read_documentation(module: Path) -> Spec:
    """Return a module's DOCUMENTATION, without what fragments add."""
    text = re.search(r'^DOCUMENTATION = r?"""\n(.*?)^"""', module.read_text(), re.DOTALL | re.MULTILINE)
    if text is None:
        raise ValueError(f"{module} has no DOCUMENTATION")
    documentation: Spec = yaml.safe_load(text[1])
    return documentation


def _entry(markdown: Path, entry: str) -> Spec:
    """Return the spec of an entry point of the role that a README is of."""
    spec: Spec = yaml.safe_load((markdown.parent / "meta/argument_specs.yml").read_text())["argument_specs"][entry]
    return spec


def _flat(specs: Spec, prefix: str = "") -> Iterator[tuple[str, Spec]]:
    """Yield nested options by their path, parents first."""
    for name, spec in specs.items():
        yield f"{prefix}{name}", spec
        yield from _flat(spec.get("options", {}), f"{prefix}{name}.")


def _table(specs: Spec) -> str:
    rows = [f"| {code(name)} | {_type(spec)} | {_default(spec)} | {_meaning(spec)} |" for name, spec in specs.items()]
    return "\n".join(["| option | type | default | meaning |", "|---|---|---|---|", *rows])


def _type(spec: Spec) -> str:
    elements = f" of {spec['elements']}" if "elements" in spec else ""
    return f"{spec['type']}{elements}"


def _default(spec: Spec) -> str:
    if spec.get("required"):
        return "**required**"
    if "default" not in spec:
        return ""
    value = spec["default"]
    text = value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
    return code(text) if len(text) <= LONGEST_DEFAULT else "[see there](defaults/main.yml)"


def _meaning(spec: Spec) -> str:
    text = to_markdown(spec["description"])
    choices = [code(choice) for choice in spec.get("choices", [])]
    told = all(choice in text for choice in choices)
    return text if told else f"{text} One of {', '.join(choices)}."


_KINDS: dict[str, Callable[[Path, str], str]] = {
    "example": example,
    "support": support,
    "options": options,
    "modules": modules,
}
