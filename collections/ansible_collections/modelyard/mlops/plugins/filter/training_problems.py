# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""Find what is wrong with the options of trainings, before the first of them begins."""

from __future__ import annotations

import typing as t

from ansible_collections.modelyard.mlops.plugins.module_utils.training import jobs_problems

DOCUMENTATION = r"""
name: training_problems
short_description: Find what is wrong with the options of trainings, before the first of them begins
version_added: 0.1.0
author: The Modelyard authors (@modelyard)
description:
  - Looks at each training's name, image and memory, with the same rules as M(modelyard.mlops.training_run) has.
positional: memory
options:
  _input:
    description: The trainings, as in C(training_run_jobs).
    type: list
    elements: dict
    required: true
  memory:
    description: As in C(training_run_memory).
    type: str
    default: ""
"""

EXAMPLES = r"""
problems: "{{ [{'name': 'iris', 'image': 'train:1', 'memory': 'lots'}] | modelyard.mlops.training_problems('2g') }}"
# => ["training_run_jobs: iris: memory: 'lots' is no size: write a number and k, m or g, such as 512m"]
"""

RETURN = r"""
_value:
  description:
    - The messages, each with the name of the variable, or with those of the variable, the training and the option.
      Empty if all is right.
  type: list
  elements: str
"""


def training_problems(jobs: t.Sequence[t.Mapping[str, t.Any]], memory: str = "") -> list[str]:
    """All that is wrong."""
    return jobs_problems(jobs, memory)


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """By name."""
        return {"training_problems": training_problems}
