# SPDX-License-Identifier: Apache-2.0
# The verbs of this repository. Each is short: the work is in playbooks/delivery (Python), the
# collection (Ansible), terraform/ and tests/. `make help` lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# Which environment (a folder of playbooks/inventory and terraform/environments), and under which
# name: two rehearsals run beside each other as YARD=one and YARD=two.
ENV ?= rehearsal
YARD ?= $(ENV)
ARGS ?=
export ENV YARD

VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
COLLECTION := collections/ansible_collections/modelyard/mlops
SCENARIOS := $(notdir $(patsubst %/molecule.yml,%,$(wildcard $(COLLECTION)/extensions/molecule/*/molecule.yml)))
# Those of hosts and controllers that some supported ansible-core has: `make sanity ARGS=--all-pythons` wants its core's.
PYTHONS := 3.9 3.10 3.11 3.12 3.13 3.14
DELIVERY := PYTHONPATH=$(CURDIR)/playbooks $(BIN)/python -m delivery
export PATH := $(BIN):$(PATH)
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg

##@ The two commands
.PHONY: up test
up: tools ## Deliver everything to the rehearsal's hosts on this machine, and say where it is
	@$(DELIVERY) up $(ARGS)

test: setup ## Run every test: unit, molecule, end to end
	@$(BIN)/python tests/run.py $(ARGS)

##@ Delivery (ENV=rehearsal or production)
.PHONY: deliver plan preview drift report terraform bootstrap images archives site train status load down secrets
.PHONY: credentials rollback backup restore
deliver: tools ## Terraform, images and site.yml: what a merge to main does
	@$(DELIVERY) deliver $(ARGS)

plan: tools ## Say what a delivery would change in the cloud
	@$(DELIVERY) plan

preview: tools ## Say what a delivery would change on the hosts
	@$(DELIVERY) preview

drift: tools ## Say what is no longer as the commit says, in the cloud and on the hosts
	@$(DELIVERY) drift

report: tools ## In a workflow: tell GitHub what WHAT=plan, preview, drift, deliver or train found
	@$(DELIVERY) report $(WHAT) $(NUMBER)

terraform: tools ## Only Terraform (and, in the rehearsal, the hosts that stand in for instances)
	@$(DELIVERY) terraform

bootstrap: tools ## Once per AWS account: the state's bucket, and access for REPOSITORY=owner/name
	@$(DELIVERY) bootstrap $(REPOSITORY)

images: tools ## Only build the images of this commit
	@$(DELIVERY) build

archives: tools ## Save the images of this commit as archives (docker save)
	@$(DELIVERY) archives

site: images ## Only playbooks/site.yml; ARGS="--check --diff --limit app" goes to ansible-playbook
	@$(DELIVERY) play site.yml $(ARGS)

train: tools ## Train once more and redeploy with the model that is best now
	@$(DELIVERY) train $(ARGS)

rollback: tools ## Bring an app's previous release back; APP=iris, optionally RELEASE=3
	@$(DELIVERY) play modelyard.mlops.rollback -e "app=$${APP:-iris}" $${RELEASE:+-e "release=$$RELEASE"} $(ARGS)

backup: tools ## Save MLflow's database and artifacts on their host; TO=folder brings the backup here too
	@$(DELIVERY) play modelyard.mlops.backup $(if $(TO),-e mlflow_backup_fetch=$(abspath $(TO))) $(ARGS)

restore: tools ## Have MLflow continue with a backup: the newest, BACKUP=name on the host, or FILE=path here
	@$(DELIVERY) play modelyard.mlops.restore $(if $(BACKUP),-e mlflow_restore_backup=$(BACKUP)) \
	  $(if $(FILE),-e mlflow_restore_file=$(abspath $(FILE))) $(ARGS)

status: tools ## Say what runs where, and its history
	@$(DELIVERY) play modelyard.mlops.status $(ARGS)
	@$(DELIVERY) status

load: setup ## Send predictions for a while: RATE=20 a second FOR=60 seconds, a share BAD=0.05, a share DRIFT=0.3
	@RATE=$(or $(RATE),20) FOR=$(or $(FOR),60) HOST=http://$$($(DELIVERY) address) $(BIN)/python tests/load/run.py

secrets: tools ## Make the environment's secrets that there are not yet: production's into its vault
	@$(DELIVERY) secrets

credentials: tools ## In a workflow: put the keys of its environment where SSH and Ansible look for them
	@$(DELIVERY) credentials

down: tools ## Remove everything that `make up` made, and nothing else
	@$(DELIVERY) down $${ARGS:+"$$ARGS"}

##@ The collection
.PHONY: changelog collection publish announce
changelog: setup ## Release galaxy.yml's version: make its changelog of the fragments, for a commit
	@cd $(COLLECTION) && $(BIN)/antsibull-changelog release

collection: tools ## Build it into dist/; for a release, with its TAG=v1.2.3
	@$(DELIVERY) collection $${TAG:+"$$TAG"}

publish: tools ## Publish on Galaxy what `make collection` built
	@$(DELIVERY) publish

announce: ## Make a release on GitHub of what `make collection` built, with its TAG=v1.2.3
	@gh release create "$${TAG:?is the release's, such as v1.2.3}" dist/* --verify-tag --notes-file dist/NOTES.md

##@ Development
.PHONY: lint sanity pythons importer unit on-core molecule e2e benchmark dashboards pictures docs lock scenarios
lint: setup $(VENV)/checkov/.done ## All linters
	@tests/lint

sanity: setup ## All of ansible-test's sanity tests, minutes; ARGS="pylint import" for some, CORE=2.17 for that core's
	@bin=$(if $(CORE),$$(tests/core_env $(CORE) $(PYTHON)),$(BIN)); "$$bin/python" tests/sanity.py $(ARGS)

pythons: setup ## Have uv install each Python that sanity can test on
	@$(BIN)/uv python install --quiet $(PYTHONS)

importer: setup ## What Galaxy's importer says of the built collection, two minutes
	@tests/importer

unit: setup ## Unit tests, seconds
	@$(BIN)/python tests/run.py unit $(ARGS)

on-core: setup ## The collection's unit tests on another ansible-core: CORE=2.17, or CORE=2.21 PYTHON=python3.13
	@tests/on_core $(CORE) $(PYTHON)

# HOST_BASE=debian:trixie-slim for another system on the hosts, CORE=2.17 for another ansible-core on the controller.
molecule: setup ## Test roles on systemd hosts: all, or ROLE=docker
	@$(if $(HOST_BASE),docker build --quiet --build-arg BASE="$(HOST_BASE)" --tag modelyard/host:molecule images/host)
	@$(if $(CORE),bin=$$(tests/core_env $(CORE) $(PYTHON)); export PATH="$$bin:$$PATH";) \
	  $(if $(HOST_BASE),MODELYARD_HOST_IMAGE=modelyard/host:molecule) $(BIN)/python tests/run.py molecule $(ROLE)

e2e: setup ## The whole delivery in an environment of its own
	@$(BIN)/python tests/run.py e2e

benchmark: setup ## Measure, beside the peer, in one run: TOPIC=a folder of tests/benchmarks
	@$(BIN)/python tests/benchmarks/$(TOPIC)/benchmark.py $(ARGS)

dashboards: setup ## Build the dashboards from their Python into the Grafana role
	@cd $(COLLECTION) && $(BIN)/python -m dashboards

docs: setup ## Bring the generated parts of READMEs up to date, and build the site into .cache/docs
	@PYTHONPATH=tests $(BIN)/python -m docs generate
	@$(BIN)/python tests/terraform_readmes.py --write
	@PYTHONPATH=tests $(BIN)/python -m docs site

pictures: setup ## Draw the dashboards with what a yard that is up has measured in the last MINUTES=30
	@ADDRESS=$$($(DELIVERY) address) PYTHONPATH=$(CURDIR)/playbooks:$(CURDIR)/collections $(BIN)/python tests/pictures.py

lock: setup ## Lock the Python requirements again, with hashes and without a registry's address
	@tests/lock $(ARGS)

scenarios: ## List the roles that have a molecule scenario, as JSON
	@python3 -c 'import json, sys; print(json.dumps(sys.argv[1:]))' $(SCENARIOS)

##@ Tools
.PHONY: setup tools clean help
setup: $(VENV)/.dev $(VENV)/iris/.done ## Install all that a contributor needs: the tools, and what the tests need

tools: $(VENV)/.tools ## Install only what deliveries need: tools into .venv, collections into .ansible

# Stamps say what was installed: a changed requirement installs again, an unchanged one costs nothing.
$(VENV)/.tools: requirements.txt requirements.yml playbooks/delivery/ansible-wheel.txt
	@playbooks/delivery/bootstrap $(VENV)
	@echo "▸ tools: installing into $(VENV)"
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@$(DELIVERY).collections
	@touch $@

$(VENV)/.dev: $(VENV)/.tools tests/requirements.txt
	@echo "▸ test tools: installing into $(VENV)"
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r tests/requirements.txt
	@touch $@

# The model service's libraries are a world of their own, as in its images.
$(VENV)/iris/.done: $(VENV)/.tools images/iris/tests/requirements.txt
	@echo "▸ the model service's libraries: installing into $(VENV)/iris"
	@playbooks/delivery/bootstrap $(VENV)/iris
	@$(VENV)/iris/bin/pip install --quiet --disable-pip-version-check --require-hashes -r images/iris/tests/requirements.txt
	@touch $@

# Checkov pins what our tools have newer; uv takes seconds where pip takes minutes.
$(VENV)/checkov/.done: $(VENV)/.dev tests/checkov/requirements.txt
	@echo "▸ checkov: installing into $(VENV)/checkov"
	@playbooks/delivery/bootstrap $(VENV)/checkov
	@$(BIN)/uv pip install --quiet --require-hashes --python $(VENV)/checkov -r tests/checkov/requirements.txt
	@touch $@

clean: ## Remove the tools' environment (run `make down` first)
	@if [ -d .modelyard ] && [ -n "$$(ls -d .modelyard/*/ 2>/dev/null)" ]; then \
	  echo "these are still up: $$(ls -d .modelyard/*/): run make down first" >&2; exit 1; fi
	@rm -rf $(VENV) .ansible .cache

help: ## List the verbs
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
