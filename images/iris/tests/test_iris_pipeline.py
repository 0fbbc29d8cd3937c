# SPDX-License-Identifier: Apache-2.0
"""The command line against a store in a file: who becomes champion, what is written, what predicts."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import mlflow
import pytest

from iris_model import IrisError, cli, data, tracking, turns
from iris_model.artefact import CHECK_ROWS
from iris_model.pipeline import Rule
from iris_model.training import Hyperparameters

PARAMETERS = Hyperparameters(n_estimators=10, folds=3)
GOOD = ["pipeline", "--n-estimators", "10", "--folds", "3"]
BAD = ["pipeline", "--n-estimators", "1", "--max-depth", "1", "--folds", "3", "--minimum", "0.5"]


@pytest.fixture(autouse=True)
def _result(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, store: Path) -> None:
    monkeypatch.setenv("RESULT_FILE", str(tmp_path / "result.json"))
    monkeypatch.setenv("GIT_COMMIT", "abc1234")
    monkeypatch.setenv("IMAGE_KEY", "sha256:0123")


def check_run(result: dict[str, Any]) -> None:
    """Assert that all there is to know of a run of GOOD was logged."""
    client = mlflow.MlflowClient()
    run = client.get_run(result["run_id"])
    assert run.data.params == {name: str(value) for name, value in asdict(PARAMETERS).items()}
    figures = {"cv_accuracy_mean", "cv_accuracy_std", "cv_macro_f1_mean", "cv_log_loss_mean"}
    assert set(result["metrics"]) == figures | {"accuracy", "macro_f1", "log_loss"}
    assert run.data.metrics == {**result["metrics"], "onnx_checked_rows": 117 + CHECK_ROWS}
    assert run.data.tags["mlflow.source.git.commit"] == "abc1234"
    assert run.data.tags["modelyard.image_key"] == "sha256:0123"

    training, held_out = data.builtin().split()
    assert {item.tags[0].value: item.dataset.digest for item in run.inputs.dataset_inputs} == {
        "training": training.digest[: tracking.DIGEST_LENGTH],
        "held-out": held_out.digest[: tracking.DIGEST_LENGTH],
    }
    pictures = {item.path for item in client.list_artifacts(result["run_id"]) if item.path.endswith(".svg")}
    assert pictures == {"confusion_matrix.svg", "feature_importance.svg"}
    flavours = {"model": {"onnx", "python_function"}, "sklearn": {"sklearn", "python_function"}}
    for model, expected in flavours.items():  # what serves, and what it was made of
        assert set(mlflow.models.get_model_info(f"runs:/{result['run_id']}/{model}").flavors) == expected
    info = mlflow.models.get_model_info(f"runs:/{result['run_id']}/model")
    assert [column.shape for column in info.signature.inputs] == [(-1, 4)]
    assert [column.name for column in info.signature.outputs] == ["labels", "probabilities"]
    assert info.saved_input_example_info


def test_the_better_model_becomes_and_stays_champion(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    client = mlflow.MlflowClient()

    assert cli.main(GOOD) == 0
    first = json.loads((tmp_path / "result.json").read_text())
    assert json.loads(capsys.readouterr().out) == first
    assert (first["model_name"], first["model_version"], first["promoted"]) == ("iris", "1", True)
    check_run(first)

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


def test_the_champion_is_measured_now_and_not_taken_at_its_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Data that is turned around makes a model which is perfect on it, and on the true rows the worst there is."""
    monkeypatch.setenv("MODEL_NAME", "turned")
    dataset = data.builtin()
    turned = replace(dataset, labels=(dataset.labels + 1) % 3)
    data.export(turned, tmp_path / "turned.csv")
    assert cli.main([*GOOD, "--data", str(tmp_path / "turned.csv")]) == 0
    boasting = json.loads(capsys.readouterr().out)
    assert boasting["promoted"]
    assert boasting["metrics"]["accuracy"] > 0.85

    assert cli.main([*BAD, "--minimum", "0.3"]) == 0
    modest = json.loads(capsys.readouterr().out)
    assert modest["metrics"]["accuracy"] < boasting["metrics"]["accuracy"]
    assert modest["promoted"]
    champions = float(modest["reason"].rpartition(" ")[2].rstrip("."))
    assert champions < 0.2


def test_predict_reports_a_model_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "predictions.csv"
    arguments = ["predict", "--sample", "1,2,3,4", "--model-uri", "models:/none@champion", "--output", str(output)]
    assert cli.main(arguments) == 1
    assert "models:/none@champion cannot be fetched: MLflow at sqlite:///" in capsys.readouterr().err
    assert next(csv.DictReader(output.open()))["error"]


def test_bad_data_ends_before_mlflow_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    (tmp_path / "iris.csv").write_text("sepal_length\n")
    assert cli.main(["pipeline"]) == 1
    assert "the header must be" in capsys.readouterr().err
    assert not (tmp_path / "result.json").exists()


def test_a_result_that_cannot_be_written_ends_before_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RESULT_FILE", str(tmp_path / "nowhere" / "result.json"))
    assert cli.main(GOOD) == 1
    assert f"there is no folder {tmp_path}/nowhere" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["train"], ["predict", "--sample", "1,2,3,4"]])
def test_an_mlflow_that_does_not_answer_is_one_short_line(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri("http://somebody:secret@127.0.0.1:9")
    try:
        assert cli.main(command) == 1
    finally:
        mlflow.set_tracking_uri(before)
    said = capsys.readouterr().err.splitlines()[-1]
    assert "MLflow at http://127.0.0.1:9 does not answer ([Errno 111] Connection refused); start it, or set" in said
    assert "secret" not in said


def test_a_folder_that_cannot_hold_a_store_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)  # root may write anywhere
    with pytest.raises(IrisError, match="cannot be written to: go to another folder, or set MLFLOW_TRACKING_URI"):
        tracking.connect()


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


@pytest.mark.parametrize("option", ["--margin", "--minimum"])
def test_a_rule_that_is_no_number_is_refused(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["pipeline", option, "nan"]) == 1
    assert f"iris-model: {option} nan: must be a number" in capsys.readouterr().err
