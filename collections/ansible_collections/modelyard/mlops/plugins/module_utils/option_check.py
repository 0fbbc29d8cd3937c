# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""Find all that is wrong with the values of options: for the module that gets them, and for a role's whole list."""

from __future__ import annotations

import re
import typing as t

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

Options = t.Mapping[str, t.Any]

# What can be part of a path, of a container's name and of a backend's.
NAME = re.compile(r"[a-z][a-z0-9-]{0,40}")


class OptionError(Exception):
    """A value that no option of its kind can have."""


def check_count(count: int) -> None:
    """Refuse less than one.

    :raises OptionError: it is.
    """
    if count < 1:
        raise OptionError(f"{count} is too few: 1 is the least")


class Check(t.NamedTuple):
    """A value of an option, and what refuses it by raising an error."""

    option: str
    refuse: t.Callable[[t.Any], object]
    value: t.Any

    def problem(self, errors: tuple[type[Exception], ...]) -> str:
        """What it says, after the name of the option; empty if the value is right."""
        try:
            self.refuse(self.value)
        except errors as error:
            return f"{self.option}: {error}"
        return ""


def problems(checks: t.Iterable[Check], *errors: type[Exception]) -> list[str]:
    """What the checks refuse with one of the errors, each message with the name of its option."""
    return [problem for problem in (check.problem(errors) for check in checks) if problem]


def list_problems(
    variable: str, items: t.Iterable[Options], spec: dict[str, t.Any], check: t.Callable[[Options], list[str]]
) -> list[str]:
    """What is wrong with the items of a role's list, each message with the names of the variable and of the item.

    :param spec: the types and defaults that a module gives to what the check looks at.
    """
    found = []
    for item in items:
        # A validated specification may have filled an option with None.
        given = {name: item[name] for name in spec if item.get(name) is not None}
        result = ArgumentSpecValidator(spec).validate(given)
        wrong = result.error_messages or check(result.validated_parameters)
        found += [f"{variable}: {item['name']}: {problem}" for problem in wrong]
    return found
