# SPDX-License-Identifier: Apache-2.0
"""The command line against a store in a file: who becomes champion, what is written, what predicts."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import mlflow
import pytest

from iris_model import cli, tracking, turns
from iris_model.pipeline import Rule

GOOD = ["pipeline", "--n-estimators", "10", "--folds", "3"]
BAD = ["pipeline", "--n-estimators", "1", "--max-depth", "1", "--folds", "3", "--minimum", "0.5"]


@pytest.fixture(autouse=True)
def _result(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, store: Path) -> None:
    monkeypatch.setenv("RESULT_FILE", str(tmp_path / "result.json"))
    monkeypatch.setenv("GIT_COMMIT", "abc1234")


def test_the_better_model_becomes_and_stays_champion(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    client = mlflow.MlflowClient()

    assert cli.main(GOOD) == 0
    first = json.loads((tmp_path / "result.json").read_text())
    assert json.loads(capsys.readouterr().out) == first
    assert (first["model_name"], first["model_version"], first["promoted"]) == ("iris", "1", True)
    run = client.get_run(first["run_id"])
    assert run.data.params["n_estimators"] == "10"
    assert run.data.metrics["cv_accuracy_mean"] == first["metrics"]["cv_accuracy_mean"]
    assert run.data.metrics["onnx_checked_rows"] > 100_000
    assert run.data.tags["mlflow.source.git.commit"] == "abc1234"
    pictures = {item.path for item in client.list_artifacts(first["run_id"]) if item.path.endswith(".svg")}
    assert pictures == {"confusion_matrix.svg", "feature_importance.svg"}
    assert run.inputs
    assert {i.tags[0].value for i in run.inputs.dataset_inputs} == {"training", "held-out"}

    assert cli.main(BAD) == 0
    second = json.loads((tmp_path / "result.json").read_text())
    assert (second["model_version"], second["promoted"]) == ("2", False)
    assert "does not reach the champion's" in second["reason"]
    assert str(client.get_model_version_by_alias("iris", "champion").version) == "1"
    challenger = client.get_model_version_by_alias("iris", "challenger")
    assert str(challenger.version) == "2"
    assert challenger.tags[turns.DECISION_TAG] == second["reason"]

    champion = tmp_path / "champion"
    champion.mkdir()
    model = tracking.download("models:/iris@champion", champion)
    assert client.get_model_version("iris", "1").tags[tracking.CHECKSUMS_TAG] == model.digest

    output = tmp_path / "predictions.csv"
    uris = ["--model-uri", "models:/iris@champion", "--run-id", second["run_id"]]
    assert cli.main(["predict", "--sample", "5.1,3.5,1.4,0.2", *uris, "--output", str(output)]) == 0
    assert "0 setosa" in capsys.readouterr().out
    rows = list(csv.DictReader(output.open()))
    assert [row["model"] for row in rows] == ["models:/iris@champion", f"runs:/{second['run_id']}/model"]
    assert rows[0]["prediction"] == "0"
    assert not rows[0]["error"]


def test_predict_reports_a_model_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "predictions.csv"
    arguments = ["predict", "--sample", "1,2,3,4", "--model-uri", "models:/none@champion", "--output", str(output)]
    assert cli.main(arguments) == 1
    assert "models:/none@champion cannot be fetched" in capsys.readouterr().err
    assert next(csv.DictReader(output.open()))["error"]


def test_bad_data_ends_before_mlflow_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    (tmp_path / "iris.csv").write_text("sepal_length\n")
    assert cli.main(["pipeline"]) == 1
    assert "the header must be" in capsys.readouterr().err
    assert not (tmp_path / "result.json").exists()


@pytest.mark.parametrize(
    ("rule", "champion", "promoted"),
    [
        (Rule(), None, True),
        (Rule(minimum=0.95), None, False),
        (Rule(), 0.9, True),
        (Rule(), 0.91, False),
        (Rule(margin=0.01), 0.9, False),
        (Rule(margin=-0.02), 0.91, True),
    ],
)
def test_the_rule(rule: Rule, champion: float | None, promoted: bool) -> None:
    decision, reason = rule.decide({"accuracy": 0.9}, None if champion is None else {"accuracy": champion})
    assert decision is promoted
    assert "accuracy 0.9000" in reason
