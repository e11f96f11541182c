"""Scores by object."""

import numpy as np
import pytest

from keras_pamunet.objects import count_objects, object_scores


def parts(mask):
    """The objects of a mask as sets of places, found by walking."""
    left = {*map(tuple, np.argwhere(mask))}
    steps = [np.array(step) - 1 for step in np.ndindex((3,) * mask.ndim)]
    objects = []
    while left:
        edge, found = [left.pop()], set()
        while edge:
            place = edge.pop()
            found.add(place)
            for step in steps:
                next_place = tuple(np.array(place) + step)
                if next_place in left:
                    left.remove(next_place)
                    edge.append(next_place)
        objects.append(found)
    return objects


@pytest.mark.parametrize("shape", [(30, 25), (9, 12, 10)])
@pytest.mark.parametrize("overlap", [0.1, 0.5])
def test_against_walking(rng, shape, overlap):
    truth = rng.random(shape) < (0.15 if len(shape) == 2 else 0.04)
    prediction = truth & (rng.random(shape) < 0.4)
    prediction[-3:] |= rng.random((3, *shape[1:])) < 0.05
    sides = []
    for mask, other in ((truth, prediction), (prediction, truth)):
        objects = parts(mask)
        hit = [np.mean([other[x] for x in found]) >= overlap for found in objects]
        sides += [len(objects), sum(hit)]
    assert [*count_objects(255 * truth, prediction, overlap).values()] == sides
    assert 0 < sides[1] < sides[0]


@pytest.mark.parametrize(("size", "hit"), [(10, 1), (11, 0)])
def test_least_overlap(size, hit):
    truth, prediction = np.zeros((2, 20, 3), bool)
    truth[:size, 1] = prediction[0, 1] = True
    assert count_objects(truth, prediction) == {
        "n_truth": 1,
        "n_hit": hit,
        "n_prediction": 1,
        "n_right": 1,
    }


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ((4, 2, 8, 6), (0.5, 0.75, 0.6)),
        ((2, 0, 3, 0), (0, 0, 0)),
        ((2, 0, 0, 0), (0, None, 0)),
        ((0, 0, 2, 0), (None, 0, 0)),
        ((0, 0, 0, 0), (None, None, None)),
    ],
)
def test_object_scores(counts, expected):
    names = ("n_truth", "n_hit", "n_prediction", "n_right")
    scores = object_scores(dict(zip(names, counts)))
    assert (*scores.values(),) == pytest.approx(expected)


def test_other_shapes():
    with pytest.raises(ValueError, match="one shape"):
        count_objects(np.zeros((2, 3)), np.zeros((3, 2)))
