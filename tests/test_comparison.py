import csv
import json

import numpy as np
import pytest

from keras_pamunet.bootstrap import mean_interval
from keras_pamunet.comparison import SCORES, compare, write_comparison
from keras_pamunet.scores import Scores


def result_of(dice, groups=None):
    """As `evaluate` returns it, as far as it is looked at."""
    rows = [
        {"name": f"{index},\n", **dict.fromkeys(SCORES, value)}
        for index, value in enumerate(dice)
    ]
    for row, group in zip(rows, groups or ()):
        row["group"] = group
    summary = {"dice": float(np.mean(dice))}
    return Scores(subset="test", flips=True, summary=summary, images=rows)


def test_compare(rng, tmp_path):
    first = rng.beta(8, 1, 40)
    noise = rng.normal(0, 0.01, 40)
    results = {
        "a": result_of(first),
        "better": result_of(first + 0.02 + noise),
        "worse": result_of(first - 0.02 + noise),
        "alike": result_of(first + noise - noise.mean() + 0.0005),
        "same": result_of(first),
    }
    found = compare(results)
    differences = found.differences
    assert list(differences) == ["better", "worse", "alike", "same"]
    for name, verdict in (
        ("better", "higher"),
        ("worse", "lower"),
        ("alike", "not told apart"),
        ("same", "not told apart"),
    ):
        for score in SCORES:
            assert differences[name][score]["verdict"] == verdict
    dice = differences["better"]["dice"]
    assert differences["better"]["to"] == "a"
    assert dice["mean"] == pytest.approx(np.mean(0.02 + noise))
    # Of the differences, which is far from the difference of the intervals.
    assert dice["interval"] == pytest.approx(mean_interval(0.02 + noise))
    assert np.ptp(dice["interval"]) < 0.2 * np.ptp(mean_interval(first))
    assert differences["same"]["dice"]["interval"] == [0, 0]
    assert found.summaries["a"]["dice"] == np.mean(first)
    assert found.bootstrap["resampled"] == "images"
    write_comparison(found, tmp_path)
    assert json.loads((tmp_path / "comparison.json").read_text()) == found.to_json()
    with (tmp_path / "comparison.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["name", *results]
    assert [row[0] for row in rows] == [f"{index},\n" for index in range(40)]
    np.testing.assert_array_equal([float(row[1]) for row in rows], first)


def test_compare_groups(rng, tmp_path):
    groups = [*"aaaabbbbcccc"]
    by_group = np.repeat([0.01, 0.02, -0.015], 4)
    first = rng.uniform(0.5, 0.9, 12)
    found = compare(
        {"x": result_of(first, groups), "y": result_of(first + by_group, groups)}
    )
    dice = found.differences["y"]["dice"]
    assert dice["interval"] == pytest.approx(mean_interval([0.01, 0.02, -0.015]))
    assert dice["verdict"] == "not told apart"
    assert found.bootstrap["resampled"] == "groups"
    assert found.bootstrap["n_resampled"] == 3
    write_comparison(found, tmp_path)
    assert (tmp_path / "comparison.csv").read_text().startswith("name,group,x,y\n")


def test_one_image():
    found = compare({"x": result_of([0.5]), "y": result_of([0.9])})
    dice = found.differences["y"]["dice"]
    assert dice["mean"] == pytest.approx(0.4) and dice["interval"] is None
    assert dice["verdict"] == "not told apart"


def test_errors():
    with pytest.raises(ValueError, match="two or more models. Received: x"):
        compare({"x": result_of([0.5])})
    other = result_of([0.5, 0.6])
    other.images.reverse()
    with pytest.raises(ValueError, match="others of y than of x"):
        compare({"x": result_of([0.5, 0.6]), "y": other})
