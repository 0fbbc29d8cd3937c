# SPDX-License-Identifier: Apache-2.0
"""Sphinx's configuration of the documentation's site."""

from __future__ import annotations

import re

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

project = "modelyard.mlops"
copyright = "The Modelyard authors"  # noqa: A001  (Sphinx calls it so)

extensions = ["myst_parser", "sphinx_antsibull_ext"]
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]
nitpicky = True

html_theme = "furo"
html_title = "modelyard.mlops"
html_show_sphinx = False
html_copy_source = False
highlight_language = "yaml+jinja"

# What antsibull-docs' pages refer to and ansible-core's documentation has, which is not asked for it: a build needs no
# network.
ELSEWHERE = {
    "action_plugins": "plugins/action.html",
    "ansible_configuration_settings": "reference_appendices/config.html",
    "common_return_values": "reference_appendices/common_return_values.html",
}
BUILTIN = re.compile(r"ansible_collections\.ansible\.builtin\.(\w+_(module|lookup|filter|test))")


def find_elsewhere(
    _app: Sphinx, _environment: BuildEnvironment, node: pending_xref, content: nodes.TextElement
) -> nodes.reference | None:
    """Return the link to a label of ansible-core's documentation, or nothing for any other label."""
    builtin = BUILTIN.fullmatch(node["reftarget"])
    page = f"collections/ansible/builtin/{builtin[1]}.html" if builtin else ELSEWHERE.get(node["reftarget"])
    if page is None:
        return None
    return nodes.reference("", "", content, refuri=f"https://docs.ansible.com/ansible-core/devel/{page}")


def setup(app: Sphinx) -> None:
    """Have Sphinx ask."""
    app.connect("missing-reference", find_elsewhere)
