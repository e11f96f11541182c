"""Labels, targets and back."""

import numpy as np
import pytest

from keras_pamunet.targets import (
    flat,
    is_class,
    label_count,
    of_objects,
    own_probabilities,
    to_labels,
    to_layers,
    to_targets,
)


@pytest.mark.parametrize(
    ("num_classes", "masks", "count"),
    [
        (1, "exclusive", 1),
        (3, "exclusive", 3),
        (1, "overlapping", 1),
        (2, "overlapping", 3),
    ],
)
def test_there_and_back(rng, num_classes, masks, count):
    assert label_count(num_classes, masks) == count
    labels = rng.integers(0, max(count, 2), (4, 5), "uint8")
    targets = to_targets(labels, num_classes, masks)
    assert targets.shape == (4, 5, num_classes) and targets.dtype == np.uint8
    np.testing.assert_array_equal(to_labels(targets, masks), labels)
    labels[0, 0] = max(count, 2)
    with pytest.raises(ValueError, match="Expected labels"):
        to_targets(labels, num_classes, masks)


def test_overlapping_targets():
    targets = to_targets(np.array([0, 1, 2], "uint8"), 2, "overlapping")
    np.testing.assert_array_equal(targets, [[0, 0], [1, 0], [1, 1]])


def test_own_probabilities():
    """Those of the classes that labels name, also where another is likelier."""
    probabilities = np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3]])
    own = own_probabilities(probabilities, np.array([2, 1], "uint8"))
    np.testing.assert_array_equal(own, [0.1, 0.6])
    own = own_probabilities(probabilities, np.array([0, 3], "uint8"), "overlapping")
    assert own[1] == 0.3
    assert own_probabilities(np.array([0.4]), np.array(1, "uint8")) == 0.4


def test_layers():
    probabilities = np.array([[0.9, 0.1], [0.9, 0.6], [0.1, 0.6], [0.2, 0.3]])
    layers = to_layers(probabilities, "overlapping")
    (livers, liver), (tumours, tumour) = layers
    np.testing.assert_array_equal(livers, [1, 1, 0, 0])
    np.testing.assert_array_equal(tumours, [0, 2, 2, 0])
    np.testing.assert_array_equal(liver, probabilities[:, 0])
    np.testing.assert_array_equal(tumour, probabilities[:, 1])
    labels = [labels for labels, _ in layers]
    np.testing.assert_array_equal(flat(labels), [1, 2, 2, 0])
    np.testing.assert_array_equal(is_class(labels, 1), [True, True, False, False])
    np.testing.assert_array_equal(is_class(labels, 2), [False, True, True, False])
    np.testing.assert_array_equal(
        of_objects(probabilities, "overlapping"), [0.9, 0.9, 0.6, 0.3]
    )
    np.testing.assert_array_equal(
        to_labels(probabilities, "overlapping", 0.7), [1, 1, 0, 0]
    )


def test_classes_that_exclude_each_other():
    probabilities = np.array([[0.5, 0.4, 0.1], [0.1, 0.4, 0.5]])
    ((labels, own),) = to_layers(probabilities, "exclusive")
    np.testing.assert_array_equal(labels, [0, 2])
    np.testing.assert_array_equal(own, [0.5, 0.5])
    np.testing.assert_array_equal(of_objects(probabilities), [0.5, 0.9])
