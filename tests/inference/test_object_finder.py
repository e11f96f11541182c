"""Objects are those of SciPy's labelling, whatever the slices."""

import numpy as np
import pytest
from scipy import ndimage

from keras_pamunet.inference.object_finder import ObjectFinder

# Corners count within a slice; between slices pixels must lie above each other.
TOUCHING = np.zeros((3, 3, 3), int)
TOUCHING[1], TOUCHING[:, 1, 1] = 1, 1


def expected_objects(labels, probabilities):
    rows = []
    for label in np.unique(labels[labels > 0]):
        numbers, count = ndimage.label(labels == label, TOUCHING)
        for number, place in enumerate(ndimage.find_objects(numbers), 1):
            z, y, x = place
            inside = numbers == number
            box = x.start, y.start, x.stop - x.start, y.stop - y.start
            mean = probabilities[inside].mean()
            rows.append((label, inside.sum(), box, (z.start + 1, z.stop), mean))
    return sorted(rows, key=lambda row: (-row[1], row[3], row[2]))


def found(finder, labels, probabilities):
    for one, other in zip(labels, probabilities):
        finder.add(one, other)
    return [
        (x.label, x.size, x.box, x.slices, pytest.approx(x.mean_probability))
        for x in finder.objects()
    ]


@pytest.mark.parametrize("slices", [1, 6])
@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("density", [0.1, 0.3, 0.6])
def test_objects(rng, slices, classes, density):
    labels = rng.integers(1, classes + 1, (slices, 12, 15), "uint8")
    labels[rng.random(labels.shape) > density] = 0
    probabilities = rng.random(labels.shape)
    finder = ObjectFinder()
    assert found(finder, labels, probabilities) == expected_objects(
        labels, probabilities
    )
    cleaned = np.stack([finder.clean(z, part) for z, part in enumerate(labels)])
    np.testing.assert_array_equal(cleaned, labels)


def test_small_objects(rng):
    labels = (rng.random((5, 20, 20)) < 0.25).astype("uint8")
    probabilities = rng.random(labels.shape)
    finder = ObjectFinder(4)
    rows = [row for row in expected_objects(labels, probabilities) if row[1] >= 4]
    assert 0 < len(rows) < len(expected_objects(labels, probabilities))
    assert found(finder, labels, probabilities) == rows
    numbers, _ = ndimage.label(labels, TOUCHING)
    large = np.bincount(numbers.ravel())[numbers] >= 4
    cleaned = np.stack([finder.clean(z, part) for z, part in enumerate(labels)])
    np.testing.assert_array_equal(cleaned, labels * large)


def test_largest_objects(rng):
    """Of each label one, if it is not too small."""
    labels = rng.integers(1, 4, (6, 20, 20), "uint8")
    labels[rng.random(labels.shape) > 0.5] = 0
    labels[labels == 3] = 0
    labels[0, 0, 0] = 3
    probabilities = rng.random(labels.shape)
    finder = ObjectFinder(min_size=2, largest=True)
    rows = expected_objects(labels, probabilities)
    first = [next(row for row in rows if row[0] == label) for label in (1, 2)]
    kept = found(finder, labels, probabilities)
    assert sorted(row[0] for row in kept) == [1, 2]
    assert sorted(row[1] for row in kept) == sorted(row[1] for row in first)
    cleaned = np.stack([finder.clean(z, part) for z, part in enumerate(labels)])
    expected = np.zeros_like(labels)
    for label in (1, 2):
        numbers, _ = ndimage.label(labels == label, TOUCHING)
        sizes = np.bincount(numbers.ravel())[1:]
        expected[numbers == 1 + sizes.argmax()] = label
    np.testing.assert_array_equal(cleaned, expected)


def test_nothing():
    finder = ObjectFinder()
    for _ in range(3):
        finder.add(np.zeros((4, 4), "uint8"), np.zeros((4, 4)))
    assert finder.objects() == []
