"""Scores of whole cases."""

from types import SimpleNamespace

import numpy as np
import pytest

from keras_pamunet.cases import CaseScores
from keras_pamunet.surface import assd, hd95, nsd

GROUPS = ["a", "b", "a", "b", "a", "c"]
SPACING = (2.0, 0.8, 0.7)


@pytest.fixture
def masks(rng):
    """Of two classes; the second is missed in "b", and false in "c"."""
    truth = rng.random((6, 12, 10, 2)) > 0.6
    found = truth ^ (rng.random(truth.shape) > 0.9)
    for index, group in enumerate(GROUPS):
        if group == "b":
            found[index, ..., 1] = False
        if group == "c":
            truth[index, ..., 1] = False
    return truth, found


def scored(masks, spacing):
    source = SimpleNamespace(groups=GROUPS, spacing=lambda group: spacing)
    cases = CaseScores(source, ("liver", "tumour"))
    for pair in zip(*masks):
        cases.add(*pair)
    return cases


def test_cases(masks):
    cases = scored(masks, SPACING)
    assert [row["group"] for row in cases.rows] == ["b", "a", "c"]
    for case in cases.rows:
        chosen = [group == case["group"] for group in GROUPS]
        assert case["n"] == sum(chosen)
        for index, row in enumerate(case["classes"]):
            truth, found = (x[chosen][..., index] for x in masks)
            both, t, f = (truth & found).sum(), truth.sum(), found.sum()
            if t and f:
                expected = {
                    "dice": 2 * both / (t + f),
                    "iou": both / (truth | found).sum(),
                    "recall": both / t,
                    "precision": both / f,
                    "hd95": hd95(truth, found, SPACING),
                    "assd": assd(truth, found, SPACING),
                    "nsd": nsd(truth, found, SPACING, 2.0),
                }
            else:
                expected = dict.fromkeys(("dice", "iou", "recall", "precision"), 0)
                expected |= {"hd95": None, "assd": None, "mssd": None, "nsd": 0}
            expected |= {"voe": 1 - expected["iou"], "rvd": (f - t) / t if t else None}
            assert {name: row[name] for name in expected} == pytest.approx(expected)
            assert row["truth_ml"] == pytest.approx(t * 2 * 0.8 * 0.7 / 1000)


def test_summary(masks):
    cases = scored(masks, SPACING)
    liver, tumour = cases.summary()
    dice = [row["classes"][0]["dice"] for row in cases.rows]
    assert liver["dice"] == pytest.approx(np.mean(dice)) and liver["n_missed"] == 0
    assert (tumour["n_with_truth"], tumour["n_missed"], tumour["n_false"]) == (2, 1, 1)
    (a,) = (row for row in cases.rows if row["group"] == "a")
    # The missed one is counted, and has no distance.
    assert tumour["hd95"] == a["classes"][1]["hd95"]
    assert tumour["dice"] == pytest.approx(a["classes"][1]["dice"] / 2)
    assert tumour["voe"] == pytest.approx((1 + a["classes"][1]["voe"]) / 2)
    assert tumour["rvd"] == pytest.approx((a["classes"][1]["rvd"] - 1) / 2)
    counts = [row["classes"][1]["objects"] for row in cases.rows]
    objects = tumour["objects"]
    assert objects["n_truth"] == sum(count["n_truth"] for count in counts)
    assert objects["recall"] == objects["n_hit"] / objects["n_truth"]


def test_no_spacing(masks):
    (row,) = scored(masks, None).summary()[:1]
    assert "hd95" not in row and "nsd" not in row and row["dice"] > 0


def test_images_of_different_sizes(rng):
    groups = ["a", "b", "a"]
    cases = CaseScores(
        SimpleNamespace(groups=groups, spacing=lambda group: None), ("polyp",)
    )
    masks = [rng.random((2, *size, 1)) > 0.5 for size in ((7, 5), (3, 3), (4, 9))]
    for truth, found in masks:
        cases.add(truth, found)
    of_a = [np.concatenate([masks[i][side].ravel() for i in (0, 2)]) for side in (0, 1)]
    (row,) = (row["classes"][0] for row in cases.rows if row["group"] == "a")
    expected = 2 * (of_a[0] & of_a[1]).sum() / (of_a[0].sum() + of_a[1].sum())
    assert row["dice"] == pytest.approx(expected)
