# SPDX-License-Identifier: Apache-2.0
"""The delivery as a person or a workflow starts it: what `make` verbs call.

Each module is one room: `cli` names the verbs, `yard` knows an environment's places, `run` shows
phases and keeps the log, and the rest do one phase each. Ansible, Terraform and Docker do the work.
"""
