import dataclasses
import json

import pytest

from keras_pamunet.scores import Scores

SUMMARY = {"dice": 0.9, "iou": 0.8, "recall": 0.7, "precision": 0.6, "n": 1}
SCORES = Scores(subset="test", flips=None, summary=SUMMARY, images=[{"name": "a"}])


def test_scores():
    found = SCORES.dice, SCORES.iou, SCORES.recall, SCORES.precision
    assert found == (0.9, 0.8, 0.7, 0.6)
    with pytest.raises(dataclasses.FrozenInstanceError):
        SCORES.subset = "train"


def test_to_json():
    """Without groups there are no cases."""
    expected = {"subset": "test", "flips": None, "summary": SUMMARY}
    expected["images"] = [{"name": "a"}]
    found = SCORES.to_json()
    assert json.loads(json.dumps(found)) == expected and list(found) == list(expected)
    with_cases = dataclasses.replace(SCORES, cases=[{"group": "b"}])
    assert with_cases.to_json() == {**expected, "cases": [{"group": "b"}]}
