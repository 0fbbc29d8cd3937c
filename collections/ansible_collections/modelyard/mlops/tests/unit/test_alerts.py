# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""Each alert is tested, and says where its runbook is; promtool itself runs on the host of the prometheus scenario."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml

COLLECTION = Path(__file__).resolve().parents[2]
REPOSITORY = "https://github.com/modelyard/modelyard/blob/main"
COLLECTION_PATH = "collections/ansible_collections/modelyard/mlops"
PROMETHEUS = COLLECTION / "roles/prometheus"
RULES = sorted((PROMETHEUS / "files/rules").glob("*.yml"))
TESTS = sorted((COLLECTION / "tests/rules").glob("*.yml"))


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def rules(path: Path, kind: str) -> list[dict[str, Any]]:
    return [rule for group in load(path)["groups"] for rule in group["rules"] if kind in rule]


ALERTS = {rule["alert"]: rule for path in RULES for rule in rules(path, "alert")}


def runbooks() -> dict[str, str]:
    """The sections of the runbooks."""
    text = (COLLECTION / "docs/runbooks.md").read_text(encoding="utf-8")
    title, *rest = re.split(r"^## ", text, flags=re.MULTILINE)
    assert title.startswith("# Runbooks")
    return {section.split("\n", 1)[0]: section for section in rest}


def test_alerts_have_names_of_their_own() -> None:
    assert len(ALERTS) == sum(len(rules(path, "alert")) for path in RULES)


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_explains_itself_and_names_its_runbook(name: str) -> None:
    assert ALERTS[name]["labels"]["severity"] in ("critical", "warning", "none")
    annotations = ALERTS[name]["annotations"]
    assert annotations["summary"]
    assert annotations["description"]
    # Alerts are read far from this repository, so it is the whole address.
    assert annotations["runbook_url"] == f"{REPOSITORY}/{COLLECTION_PATH}/docs/runbooks.md#{name.lower()}"


def test_each_alert_has_its_runbook_and_no_other_there_is() -> None:
    assert set(runbooks()) == set(ALERTS)
    for name, section in runbooks().items():
        assert re.findall(r"^\*\*(\w+)\.\*\*", section, flags=re.MULTILINE) == ["Means", "Look", "Do"], name


def fired() -> dict[str, set[str]]:
    """By alert, the labels with which the tests of the rules see it fire."""
    cases = [case for path in TESTS for test in load(path)["tests"] for case in test.get("alert_rule_test", [])]
    return {case["alertname"]: set(case["exp_alerts"][0]["exp_labels"]) for case in cases if case["exp_alerts"]}


def test_each_alert_is_seen_to_fire() -> None:
    assert set(fired()) == set(ALERTS)


def test_the_inhibition_in_the_example_compares_labels_that_both_alerts_have() -> None:
    (play,) = load(COLLECTION / "docs/examples/alertmanager/full.yml")
    every = {"environment"}  # what prometheus_labels puts on every series
    for rule in play["roles"][0]["vars"]["alertmanager_inhibit_rules"]:
        for side in ("source_matchers", "target_matchers"):
            (matcher,) = rule[side]
            assert set(rule["equal"]) <= fired()[matcher.removeprefix("alertname = ")] | every, side


def test_each_file_of_rules_is_tested() -> None:
    tested = {(test.parent / name).resolve() for test in TESTS for name in load(test)["rule_files"]}
    assert tested == set(RULES)


def test_the_rules_measure_against_the_objectives_that_the_role_records() -> None:
    template = jinja2.Environment(autoescape=False).from_string(
        (PROMETHEUS / "templates/objectives.yml.j2").read_text(encoding="utf-8")
    )
    objectives = load(PROMETHEUS / "vars/main.yml")["prometheus_objectives"]
    defaults = load(PROMETHEUS / "defaults/main.yml")
    values = {name: defaults[value.strip("{ }")] for name, value in objectives.items()}
    group = yaml.safe_load(template.render(prometheus_objectives=values))["groups"][0]
    recorded = {rule["record"]: rule["expr"] for rule in group["rules"]}
    assert recorded == {f"modelyard:objective:{name}": f"vector({value})" for name, value in values.items()}
    used = {name for rule in ALERTS.values() for name in re.findall(r"modelyard:objective:\w+", rule["expr"])}
    assert used == set(recorded)
