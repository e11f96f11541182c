"""The scores without Keras are those of the metrics."""

import numpy as np
import pytest

from keras_pamunet import metrics
from keras_pamunet.pixel_scores import image_scores, pixel_counts, ratios


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_scores_of_the_metrics(rng, activation):
    probabilities = rng.uniform(size=(5, 6, 7, 3)).astype("float32")
    labels = rng.integers(0, 3, (5, 6, 7))
    truth = np.eye(3, dtype="uint8")[labels]
    # Both are empty, or one of them.
    truth[:2], probabilities[1:3] = 0, np.array([0.4, 0.1, 0.1], "float32")
    found = image_scores(truth, probabilities, activation)
    scorers = metrics.fitting(activation, 3)
    assert list(found) == [scorer.name for scorer in scorers]
    for scorer in scorers:
        expected = np.asarray(scorer.image_scores(truth, probabilities))
        np.testing.assert_allclose(found[scorer.name], expected, rtol=1e-6)
    config = {**scorers[0].get_config(), "reduction": "pooled"}
    pooled = metrics.Dice.from_config(config)
    pooled.update_state(truth, probabilities)
    counts = pixel_counts(truth, probabilities, activation)
    ours = ratios(counts.sum(axis=(1, 2)))["dice"]
    assert float(ours) == pytest.approx(float(pooled.result()), rel=1e-6)
