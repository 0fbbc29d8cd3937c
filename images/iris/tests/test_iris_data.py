# SPDX-License-Identifier: Apache-2.0
"""The CSV form, its refusals, and the split."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from iris_model import IrisError, data

HEADER = "sepal_length,sepal_width,petal_length,petal_width,species\n"


def test_what_is_exported_loads_as_the_same_rows(dataset: data.Dataset, tmp_path: Path) -> None:
    data.export(dataset, tmp_path / "iris.csv")
    loaded = data.load(tmp_path / "iris.csv")
    assert (tmp_path / "iris.csv").read_text().splitlines()[:2] == [HEADER.strip(), "5.1,3.5,1.4,0.2,setosa"]
    assert loaded.digest == dataset.digest
    assert len(loaded) == 150


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("a,b\n1,2\n", "the header must be"),
        (HEADER, "no rows"),
        (
            HEADER + "1,2,3,4,setosa\n1,2,x,4,setosa\n",
            "row 2 (line 3), column petal_length: a number is needed, found 'x'",
        ),
        (
            HEADER + "\n1,2,3,4,setosa\n\n1,,3,4,setosa\n",
            "row 2 (line 5), column sepal_width: a number is needed, found n",
        ),
        (HEADER + "1_0,2,3,4,setosa\n", "row 1 (line 2), column sepal_length: a number is needed, found '1_0'"),
        (HEADER + "1,2,3,nan,setosa\n", "row 1 (line 2), column petal_width: a finite number"),
        (HEADER + "1,2,3,1e300,setosa\n", "row 1 (line 2), column petal_width: a finite number"),
        (HEADER + "1,2,3,4,rosa\n", "row 1 (line 2), column species: one of setosa, versicolor, virginica is needed"),
        (HEADER + "1,2,3,4,\n", "virginica is needed, found nothing"),
        (HEADER + "1,2,3,4\n", "row 1 (line 2): 5 values are needed, found 4"),
        (HEADER + "1,2,3,4,\xe9", "is no CSV file in UTF-8"),
    ],
)
def test_a_bad_file_is_refused_with_its_place(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text, "latin-1")
    with pytest.raises(IrisError) as error:
        data.load(path)
    assert str(path) in str(error.value)
    assert words in str(error.value)


def test_a_missing_file_and_a_missing_folder_are_refused(dataset: data.Dataset, tmp_path: Path) -> None:
    with pytest.raises(IrisError, match=r"none\.csv: cannot be read: No such file"):
        data.load(tmp_path / "none.csv")
    with pytest.raises(IrisError, match=r"iris\.csv: cannot be written: No such file"):
        data.export(dataset, tmp_path / "nowhere" / "iris.csv")


def test_a_row_stays_on_its_side_when_the_data_changes(dataset: data.Dataset) -> None:
    _, held_out = dataset.split()
    shuffled = np.random.default_rng(1).permutation(len(dataset))[:100]
    _, held_out_of_fewer = dataset.take(shuffled).split()
    all_rows = {tuple(row) for row in held_out.features.tolist()}
    assert {tuple(row) for row in held_out_of_fewer.features.tolist()} <= all_rows
    assert 20 <= len(held_out) <= 40
    assert set(held_out.labels.tolist()) == {0, 1, 2}


def test_a_sample_is_one_row() -> None:
    features, errors = data.parse_sample("6.1, 3.5,2.4,0.2")
    assert (features.shape, errors) == ((1, 4), {})
    with pytest.raises(IrisError, match="--sample: 4 values are needed, found 3"):
        data.parse_sample("1,2,3")
    with pytest.raises(IrisError, match="--sample, column petal_length: a number is needed, found nothing"):
        data.parse_sample("1,2,,4")


def test_samples_need_no_species_and_a_wrong_one_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "samples.csv"
    path.write_text(HEADER + "1,2,3,4,whatever\n1,2,x,4,\n5,6,7,8,\n")
    features, errors = data.load_samples(path)
    assert np.array_equal(features[[0, 2]], [[1, 2, 3, 4], [5, 6, 7, 8]])
    assert np.isnan(features[1]).all()
    assert errors == {1: f"{path}: row 2 (line 3), column petal_length: a number is needed, found 'x'"}
    path.write_text("sepal_length,sepal_width,petal_length,petal_width\n1,2,3,4\n")
    assert data.load_samples(path).errors == {}
    path.write_text(HEADER)
    with pytest.raises(IrisError, match="no rows"):
        data.load_samples(path)
