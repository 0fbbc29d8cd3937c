# SPDX-License-Identifier: Apache-2.0
"""What the documentation says is so: links lead somewhere, commands exist, and messages are those of the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from docs import COLLECTION, FILES, REPOSITORY, ROOT, linked_file
from docs.includes import EXAMPLES, fill, options, read_documentation, support
from docs.markup import to_markdown
from docs.site import relink
from house_rules import repository_files

MARKDOWN = [ROOT / path for path in repository_files() if path.endswith(".md")]
ROLES = sorted(path.parent for path in COLLECTION.glob("roles/*/README.md"))
MODULES = sorted((COLLECTION / "plugins/modules").glob("*.py"))
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE_BLOCK = re.compile(r"^ *```.*?^ *```$", re.DOTALL | re.MULTILINE)
# What Ansible's own modules do not support, as their code has it (fetch claims more); and those that a role uses to
# look, in check mode as well.
UNSUPPORTED = {
    "ansible.builtin.command": {"check_mode", "diff_mode"},
    "ansible.builtin.fetch": {"check_mode", "diff_mode"},
    "ansible.builtin.user": {"diff_mode"},
}
LOOK = ("ansible.builtin.getent", "ansible.builtin.uri")
# What stands in a quoted message for what differs from case to case.
GAP = "…"


def anchors(path: Path) -> set[str]:
    """Return the anchors that GitHub gives a file's headings."""
    found: list[str] = []
    for heading in re.findall(r"^#+ +(.+)$", CODE_BLOCK.sub("", path.read_text()), re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
        found.append(f"{slug}-{found.count(slug)}" if slug in found else slug)
    return set(found)


@pytest.mark.parametrize("path", MARKDOWN, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    for link in LINK.findall(CODE_BLOCK.sub("", path.read_text())):
        name, _, anchor = link.partition("#")
        target = linked_file(name, path)
        if target is None:
            continue
        assert target.exists(), f"{link}: there is no {target}"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), f"{link}: {target.name} has no such heading"


def test_galaxy_shows_the_readme_with_links_that_lead_somewhere() -> None:
    links = LINK.findall(CODE_BLOCK.sub("", (COLLECTION / "README.md").read_text()))
    assert [link for link in links if not link.startswith(("https://", "#"))] == []
    # Of our own, only addresses of files are known to be right; galaxy.yml has the issues.
    ours = {link for link in links if link.startswith(REPOSITORY) and not link.startswith(FILES)}
    assert ours <= {yaml.safe_load((COLLECTION / "galaxy.yml").read_text())["issues"]}


@pytest.mark.parametrize("path", MARKDOWN, ids=lambda path: str(path.relative_to(ROOT)))
def test_verbs_of_make_exist(path: Path) -> None:
    verbs = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    text = path.read_text()
    code = "\n".join(CODE_BLOCK.findall(text) + re.findall(r"`[^`\n]+`", text))
    named = set(re.findall(r"(?:^[ $]*|[`(;&|] ?)make ([a-z][a-z0-9-]*)", code, re.MULTILINE))
    assert named <= verbs, f"the Makefile has no {named - verbs}"


@cache
def messages() -> str:
    """Return what the code can say: each text as one line, with a gap for what it fills in."""
    folders = [ROOT / "playbooks", COLLECTION / "plugins", COLLECTION / "roles", COLLECTION / "playbooks"]
    texts: list[str] = []
    for path in [file for folder in folders for file in sorted(folder.rglob("*"))]:
        if path.suffix == ".py":
            texts += _texts(ast.parse(path.read_text()))
        elif path.suffix == ".yml":
            texts.append(re.sub(r"\{\{.*?\}\}", GAP, path.read_text()).replace("''", "'"))
            texts.append(path.read_text())
    return "\n".join(" ".join(text.split()) for text in texts)


def _texts(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else GAP for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def quoted() -> list[str]:
    headings = re.findall(r"^### `+ ?(.+?) ?`+$", (COLLECTION / "docs/errors.md").read_text(), re.MULTILINE)
    assert len(headings) >= 25
    return headings


@pytest.mark.parametrize("message", quoted())
def test_an_explained_error_is_one_of_the_code(message: str) -> None:
    # Of a code span in the text itself, the heading shows the backticks.
    pattern = re.escape(message.strip(f"{GAP} :")).replace(re.escape(GAP), ".{0,60}?")
    assert re.search(pattern, messages()), f"no code says `{message}` any more"


@pytest.mark.parametrize("role", ROLES, ids=lambda role: str(role.name))
def test_a_role_has_its_page(role: Path) -> None:
    text = (role / "README.md").read_text()
    entries = yaml.safe_load((role / "meta/argument_specs.yml").read_text())["argument_specs"]
    wanted = [f"example: docs/examples/{role.name}/{which}.yml" for which in ("minimal", "full")]
    wanted += [f"{block}: {entry}" for entry in entries for block in ("support", "options")]
    assert text.startswith(f"# modelyard.mlops.{role.name}\n")
    assert [block for block in wanted if f"<!-- {block} -->" not in text] == []


def tasks(role: Path, file: str) -> Iterator[dict[str, Any]]:
    """Yield the tasks of a role's file, and of those that it imports."""
    for task in yaml.safe_load((role / "tasks" / file).read_text()):
        if imported := task.get("ansible.builtin.import_tasks"):
            yield from tasks(role, imported)
        else:
            yield task


def unsupported(task: dict[str, Any]) -> set[str]:
    """Return what a task does not support in full."""
    (module,) = [name for name in task if "." in name]
    if module.startswith("modelyard.mlops."):
        attributes = read_documentation(COLLECTION / f"plugins/modules/{module.rpartition('.')[2]}.py")["attributes"]
        return {name for name, attribute in attributes.items() if attribute["support"] in ("partial", "none")}
    if module == "ansible.builtin.command" and "creates" in task[module]:
        return {"diff_mode"}
    acts = task.get("check_mode") is False and module not in LOOK
    return UNSUPPORTED.get(module, set()) | ({"check_mode"} if acts else set())


@pytest.mark.parametrize("role", ROLES, ids=lambda role: str(role.name))
def test_a_role_says_what_it_supports(role: Path) -> None:
    specs = yaml.safe_load((role / "meta/argument_specs.yml").read_text())["argument_specs"]
    for entry, spec in specs.items():
        attributes = spec["attributes"]
        assert list(attributes) == ["check_mode", "diff_mode", "idempotent"]
        lacking = {name for name, attribute in attributes.items() if attribute["support"] != "full"}
        assert lacking == set().union(*map(unsupported, tasks(role, f"{entry}.yml"))), entry
        assert [name for name in sorted(lacking) if "details" not in attributes[name]] == []


def stated(specs: dict[str, dict[str, object]], prefix: str = "") -> Iterator[str]:
    """Yield the path of each option, but for those that are another role's to explain."""
    for name, spec in specs.items():
        if not str(spec["description"]).startswith("See "):
            yield f"{prefix}{name}"
            inner = spec.get("options", {})
            assert isinstance(inner, dict)
            yield from stated(inner, f"{prefix}{name}.")


def given(values: object, prefix: str = "") -> Iterator[str]:
    """Yield the path of each key of an example."""
    for value in values if isinstance(values, list) else [values]:
        if isinstance(value, dict):
            for name, inner in value.items():
                yield f"{prefix}{name}"
                yield from given(inner, f"{prefix}{name}.")


@pytest.mark.parametrize("role", ROLES, ids=lambda role: str(role.name))
def test_the_full_example_shows_every_option(role: Path) -> None:
    specs = yaml.safe_load((role / "meta/argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
    (play,) = yaml.safe_load((COLLECTION / f"docs/examples/{role.name}/full.yml").read_text())
    # One thing or the other: a model follows an alias, or stays at a version.
    assert set(stated(specs)) - set(given(play["roles"][0]["vars"])) <= {"app_deploy_apps.model.version"}


def test_every_example_is_previewed_on_a_fresh_host() -> None:
    converge = yaml.safe_load((COLLECTION / "extensions/molecule/examples/converge.yml").read_text())
    run = [play["ansible.builtin.import_playbook"].removeprefix("../../../") for play in converge]
    there = [str(path.relative_to(COLLECTION)) for path in COLLECTION.glob("docs/examples/*/*.yml")]
    assert sorted(run) == sorted(there)
    scenario = (COLLECTION / "extensions/molecule/examples/molecule.yml").read_text()
    secrets = {name for path in there for name in re.findall(r"\bvault_\w+", (COLLECTION / path).read_text())}
    assert [name for name in sorted(secrets) if f" {name}: " not in scenario] == []


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.stem))
def test_a_module_says_what_it_supports(module: Path) -> None:
    documentation = read_documentation(module)
    supports = {name: attribute["support"] for name, attribute in documentation["attributes"].items()}
    text = module.read_text()
    action = COLLECTION / "plugins/action" / module.name
    assert "modelyard.mlops.attributes" in documentation["extends_documentation_fragment"]
    assert {"check_mode", "diff_mode", "idempotent"} <= set(supports)
    assert ("action" in supports) == action.exists()
    if "AnsibleModule(" in text:
        assert (supports["check_mode"] == "full") == ("supports_check_mode=True" in text)
        utilities = re.findall(r"plugins\.module_utils\.(release_run|service_config)\b", text)
        sources = [text.partition("RETURN = ")[2]]
        sources += [(COLLECTION / f"plugins/module_utils/{name}.py").read_text() for name in utilities]
        assert (supports["diff_mode"] == "full") == any(re.search(r"\bdiff\b", source) for source in sources)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("V(a|b) or C(c)", r"`a\|b` or `c`"),
        ("O(one) and O(two=3), M(a.b.c)", "`one` and `two=3`, `a.b.c`"),
        (["First.", "E(HOME) <x>."], r"First. `HOME` \<x>."),
    ],
)
def test_markup(text: str | list[str], shown: str) -> None:
    assert to_markdown(text) == shown


def test_wrong_markup_is_an_error() -> None:
    with pytest.raises(ValueError, match="O"):
        to_markdown("O(never closed")


def test_options_are_a_table_with_nested_ones_below(tmp_path: Path) -> None:
    for folder in ("meta", "defaults"):
        (tmp_path / folder).mkdir()
    inner = {"port": {"type": "int", "default": 1, "description": "A port."}}
    specs = {
        "r_list": {"type": "list", "elements": "dict", "description": "Things.", "options": inner},
        "r_way": {"type": "str", "choices": ["a", "b"], "required": True, "description": "V(a), or not."},
    }
    (tmp_path / "meta/argument_specs.yml").write_text(yaml.safe_dump({"argument_specs": {"main": {"options": specs}}}))
    (tmp_path / "defaults/main.yml").write_text("r_list: '{{ others }}'\n")
    assert options(tmp_path / "README.md", "main").splitlines() == [
        EXAMPLES,
        "",
        "| option | type | default | meaning |",
        "|---|---|---|---|",
        "| `r_list` | list of dict | `{{ others }}` | Things. |",
        "| `r_way` | str | **required** | `a`, or not. One of `a`, `b`. |",
        "",
        "Each of `r_list`:",
        "",
        "| option | type | default | meaning |",
        "|---|---|---|---|",
        "| `port` | int | `1` | A port. |",
    ]


def test_support_is_a_table_with_the_details(tmp_path: Path) -> None:
    (tmp_path / "meta").mkdir()
    attributes = {
        "check_mode": {"support": "partial", "description": "Says it.", "details": "Not of O(this)."},
        "idempotent": {"support": "full", "description": "Stays."},
    }
    specs = {"argument_specs": {"backup": {"attributes": attributes}}}
    (tmp_path / "meta/argument_specs.yml").write_text(yaml.safe_dump(specs))
    assert support(tmp_path / "README.md", "backup").splitlines() == [
        "| | support | meaning |",
        "|---|---|---|",
        "| check mode | partial | Says it. Not of `this`. |",
        "| idempotent | full | Stays. |",
    ]


def test_a_block_is_replaced_as_a_whole(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    begin = "<!-- example: docs/examples/docker/minimal.yml -->"
    readme.write_text(f"before\n{begin}\nstale\n<!-- end -->\nafter\n")
    text = fill(readme)
    assert text.startswith(f"before\n{begin}\n\n```yaml\n- name: ")
    assert text.endswith("```\n\n<!-- end -->\nafter\n")
    assert "stale" not in text
    assert "SPDX" not in text


def test_links_are_the_sites_own() -> None:
    page = COLLECTION / "docs/howto/roll-back.md"
    pages = {page: Path("docs/howto/roll-back.md"), COLLECTION / "README.md": Path("index.md")}
    text = "[a](../../README.md#install) [b](../../galaxy.yml) [c](https://example.org/) [d](#here)"
    whole = f"[e]({FILES}collections/ansible_collections/modelyard/mlops/README.md#install) "
    shown = relink(whole + text, page, pages)
    assert shown.startswith("[e](../../index.md#install) ")
    assert "[a](../../index.md#install)" in shown
    assert re.search(r"\[b\]\(https://[^)]+/tree/main/collections/.*/galaxy.yml\)", shown)
    assert shown.endswith("[c](https://example.org/) [d](#here)")
