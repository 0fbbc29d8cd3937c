# SPDX-License-Identifier: Apache-2.0
"""Predictions as a CSV file: several models side by side, and an error where a row or a model failed."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from iris_model import cli, data, prediction

SAMPLES = "sepal_length,sepal_width,petal_length,petal_width\n5.1,3.5,1.4,0.2\n6.7,3.0,oops,2.3\n6.7,3.0,5.2,2.3\n"


def read(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def test_one_sample_prints_its_class_and_species(
    model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "predictions.csv"
    asked = ["predict", "--sample", "6.1,3.5,2.4,0.2", "--model-uri", str(model_folder), "--output", str(output)]
    assert cli.main(asked) == 0
    assert capsys.readouterr().out.startswith("0 setosa (probability ")
    (row,) = read(output)
    assert (row["model"], row["row"], row["prediction"], row["species"]) == (str(model_folder), "1", "0", "setosa")
    assert 0.5 < float(row["probability"]) <= 1
    assert row["error"] == ""


def test_a_row_or_a_model_that_fails_has_its_error_beside_those_that_do_not(
    model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("samples.csv").write_text(SAMPLES)
    assert cli.main(["predict", "samples.csv", "--model-uri", "missing", "--model-uri", str(model_folder)]) == 1
    rows = read(Path("model_predictions.csv"))
    assert list(rows[0]) == ["model", "row", "prediction", "species", "probability", "error"]
    assert [(row["model"], row["row"], row["prediction"], row["species"]) for row in rows] == [
        ("missing", "1", "", ""),
        ("missing", "2", "", ""),
        ("missing", "3", "", ""),
        (str(model_folder), "1", "0", "setosa"),
        (str(model_folder), "2", "", ""),
        (str(model_folder), "3", "2", "virginica"),
    ]
    assert all("missing is no model's folder" in row["error"] for row in rows[:3])
    assert [row["error"] for row in rows[3:]] == [
        "",
        "samples.csv: row 2 (line 3), column petal_length: a number is needed, found 'oops'",
        "",
    ]
    printed = capsys.readouterr()
    assert printed.out.splitlines() == ["missing: 3 failed", f"{model_folder}: 1 failed, 1 setosa, 1 virginica"]
    assert "model_predictions.csv: 2 predictions, 4 failed" in printed.err


def test_without_a_file_the_built_in_rows_are_predicted(model_folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "predictions.csv"
    assert cli.main(["predict", "--model-uri", str(model_folder), "--output", str(output)]) == 0
    assert len(read(output)) == 150


def test_where_nothing_can_be_written_there_is_a_message(
    model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "nowhere" / "predictions.csv"
    asked = ["predict", "--sample", "1,2,3,4", "--model-uri", str(model_folder), "--output", str(output)]
    assert cli.main(asked) == 1
    assert f"iris-model: {output}: cannot be written: No such file or directory" in capsys.readouterr().err


def test_a_probability_is_the_models(model_folder: Path, dataset: data.Dataset) -> None:
    rows = list(prediction.predict([str(model_folder)], data.Samples(dataset.features, {})))
    probabilities = prediction.load(str(model_folder)).predict(dataset.features)[1]
    assert [row.probability for row in rows] == pytest.approx(probabilities.max(axis=1).tolist(), abs=1e-6)
