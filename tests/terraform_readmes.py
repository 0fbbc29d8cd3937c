# SPDX-License-Identifier: Apache-2.0
"""Keeps what the READMEs of Terraform's modules say of example, variables and outputs the same as the code.

python tests/terraform_readmes.py            say which READMEs are stale
python tests/terraform_readmes.py --write    write them
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from house_rules import LICENCE

ROOT = Path(__file__).resolve().parents[1]
MARK = "<!-- From here on made of the code: `make docs`. -->"
# The sources are formatted, so a block ends where a line begins with its brace.
_BLOCK = re.compile(r'^(?P<kind>variable|output) "(?P<name>\w+)" \{\n(?P<body>.*?)^\}$', re.MULTILINE | re.DOTALL)
_TYPE = re.compile(r"^  type +=(?P<type> .*?)(?=^  \w|\Z|^$)", re.MULTILINE | re.DOTALL)


def main(arguments: list[str]) -> int:
    """Check or write all READMEs; return the exit code."""
    stale = 0
    for module in sorted((ROOT / "terraform/modules").iterdir()):
        readme = module / "README.md"
        text = readme.read_text()
        wanted = complete(text, module)
        if text == wanted:
            continue
        if arguments == ["--write"]:
            readme.write_text(wanted)
        else:
            print(f"{readme.relative_to(ROOT)}: stale: make docs")
            stale += 1
    return 1 if stale else 0


def complete(text: str, module: Path) -> str:
    """Return a README with its own beginning, and the rest as the module's code is now."""
    example = (module / "examples/complete/main.tf").read_text().removeprefix(f"# {LICENCE}\n")
    variables = "\n".join(_variables((module / "variables.tf").read_text()))
    outputs = "\n".join(
        f"| `{name}` | {_value(body, 'description')} |"
        for _, name, body in _BLOCK.findall((module / "outputs.tf").read_text())
    )
    return (
        f"{text.partition(MARK)[0].rstrip()}\n\n{MARK}\n\n"
        f"## Example\n\n[examples/complete](examples/complete/main.tf), which the tests apply:\n\n"
        f"```hcl\n{example}```\n\n"
        f"## Variables\n\n| variable | type | default | what it is |\n|---|---|---|---|\n{variables}\n\n"
        f"## Outputs\n\n| output | what it is |\n|---|---|\n{outputs}\n"
    )


def _variables(source: str) -> Iterator[str]:
    for _, name, body in _BLOCK.findall(source):
        found = _TYPE.search(body)
        kind = _short(found["type"]) if found else "any"
        default = _value(body, "default")
        yield f"| `{name}` | `{kind}` | {f'`{default}`' if default else 'required'} | {_value(body, 'description')} |"


def _short(kind: str) -> str:
    """Return a type on one line: of an object's attributes their names."""
    first = kind.strip().splitlines()[0]
    attributes = re.findall(r"^    (\w+) +=", kind, re.MULTILINE)
    if not attributes:
        return first
    return f"{first} {', '.join(attributes)} }}" + ")" * first.count("(")


def _value(body: str, attribute: str) -> str:
    """Return an attribute's value as it is written, a text without its quotes."""
    found = re.search(rf"^  {attribute} += (.*)$", body, re.MULTILINE)
    return found[1].strip('"').replace("|", "\\|") if found else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
