# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""Dashboards as code: `python -m dashboards` builds them into the role grafana.

A dashboard is a module with one function, `build`; add it to `DASHBOARDS` in `build.py`.
"""
