# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""Each module's EXAMPLES show it with only what it requires and with every option, and are what the module accepts."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

COLLECTION = "modelyard.mlops"
PLUGINS = f"ansible_collections.{COLLECTION}.plugins"
NAMES = sorted(path.stem for path in (Path(__file__).resolve().parents[3] / "plugins/modules").glob("*.py"))

# How the names of the examples end.
MINIMAL = "with only what is required"
FULL = ("with every option", "with every other option")

# What a module needs though the option alone is not required, and what it does not take together.
NEEDED = {
    "app_release": {"image", "slots"},
    "certbot_certificates": {"email"},
    "mlflow_model": {"alias"},
    "service_config": {"files"},
}
EXCLUSIVE = {"mlflow_model": [("alias", "version")]}
VALUES: dict[str, Any] = {"int": 1, "float": 0.5, "bool": True, "list": [], "dict": {}, "str": "x", "path": "/x"}

Options = dict[str, Any]


@cache
def options(module: str) -> Options:
    """Return the documented options as an argument spec, but for those that only the task itself sets."""
    documentation = yaml.safe_load(import_module(f"{PLUGINS}.modules.{module}").DOCUMENTATION)
    stated = documentation["options"]
    for fragment in documentation["extends_documentation_fragment"]:
        file, _, part = fragment.removeprefix(f"{COLLECTION}.").partition(".")
        texts = import_module(f"{PLUGINS}.doc_fragments.{file}").ModuleDocFragment
        stated |= yaml.safe_load(getattr(texts, part.upper() or "DOCUMENTATION")).get("options", {})
    return {name: spec(option) for name, option in stated.items() if "task itself sets it" not in str(option)}


def spec(option: Options) -> Options:
    """Return what of an option's documentation belongs to an argument spec."""
    kept: Options = {
        key: option[key] for key in ("type", "elements", "required", "choices", "default") if key in option
    }
    if "suboptions" in option:
        kept["options"] = {name: spec(inner) for name, inner in option["suboptions"].items()}
    return kept


def examples(module: str) -> dict[str, Options]:
    """Return the arguments of each task that uses the module, by its name."""
    tasks = yaml.safe_load(import_module(f"{PLUGINS}.modules.{module}").EXAMPLES)
    name = f"{COLLECTION}.{module}"
    return {task["name"]: task[name] or {} for task in tasks if name in task}


def every_path(specs: Options, required: bool = False, prefix: str = "") -> Iterator[str]:
    """Yield the path of each option, or of each that is required where its parent is."""
    for name, option in specs.items():
        if option.get("required") or not required:
            yield f"{prefix}{name}"
            yield from every_path(option.get("options", {}), required, f"{prefix}{name}.")


def shown(specs: Options, arguments: Any, prefix: str = "") -> Iterator[str]:
    """Yield the path of each option that an example sets."""
    for values in arguments if isinstance(arguments, list) else [arguments]:
        for name, value in values.items():
            yield f"{prefix}{name}"
            if "options" in specs.get(name, {}):
                yield from shown(specs[name]["options"], value, f"{prefix}{name}.")


def filled(specs: Options, arguments: Any) -> Any:
    """Return an example's arguments with a value of the right type for each template."""
    if isinstance(arguments, list):
        return [filled(specs, values) for values in arguments]
    result = dict(arguments)
    for name, value in arguments.items():
        option = specs.get(name, {})
        if isinstance(value, str) and value.startswith("{{") and value.endswith("}}"):
            result[name] = VALUES[option.get("type", "str")]
        elif "options" in option:
            result[name] = filled(option["options"], value)
    return result


@pytest.mark.parametrize("module", NAMES)
def test_the_minimal_example_has_only_what_is_required(module: str) -> None:
    (arguments,) = [values for name, values in examples(module).items() if name.endswith(MINIMAL)]
    required = set(every_path(options(module), required=True)) | NEEDED.get(module, set())
    assert set(shown(options(module), arguments)) == required


@pytest.mark.parametrize("module", NAMES)
def test_the_full_examples_have_every_option(module: str) -> None:
    full = [values for name, values in examples(module).items() if name.endswith(FULL)]
    there = {path for arguments in full for path in shown(options(module), arguments)}
    assert there == set(every_path(options(module)))


@pytest.mark.parametrize(("module", "name"), [(module, name) for module in NAMES for name in examples(module)])
def test_an_example_is_accepted(module: str, name: str) -> None:
    validator = ArgumentSpecValidator(options(module), mutually_exclusive=EXCLUSIVE.get(module))
    assert validator.validate(filled(options(module), examples(module)[name])).error_messages == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "iris", "slots": "{{ slots }}", "gate": {"budget": "soon"}}, "budget"),
        ({"name": "iris", "strategy": "canary"}, "strategy"),
        ({"name": "iris", "modle": {}}, "modle"),
        ({"name": "iris", "model": {"name": "iris"}}, "path, version"),
    ],
)
def test_a_wrong_example_would_be_refused(arguments: Options, message: str) -> None:
    specs = options("app_release")
    (error,) = ArgumentSpecValidator(specs).validate(filled(specs, arguments)).error_messages
    assert message in error
