import keras
import numpy as np
import pytest

from keras_pamunet import PAMUNet
from keras_pamunet.backend import run_once
from keras_pamunet.training import estimate_batch_statistics


@pytest.fixture(scope="module")
def batches():
    rng = np.random.default_rng(0)
    low = np.array([0, 100, 0]).reshape(3, 1, 1, 1, 1)
    return rng.integers(low, 256, (3, 4, 32, 32, 3)).astype("uint8")


@pytest.fixture(scope="module")
def model():
    # Small and without attention, for it is compiled time and again.
    return PAMUNet((32, 32, 3), expansion=1, attention=None)


def features(model, name, batches):
    part = keras.Model(model.input, model.get_layer(name).output)
    return np.stack([run_once(part, images) for images in batches])


def compare(layer, means, variances):
    np.testing.assert_allclose(layer.moving_mean, means, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(layer.moving_variance, variances, rtol=1e-3, atol=1e-5)


def test_mean_over_batches(model, batches):
    weights = [np.array(x) for x in model.trainable_variables]
    estimate_batch_statistics(model, batches)
    found = features(model, "stem", batches)
    means, variances = found.mean(axis=(1, 2, 3)), found.var(axis=(1, 2, 3))
    assert np.ptp(means, axis=0).max() > 0.01  # They differ from batch to batch.
    compare(model.get_layer("stem_bn"), means.mean(axis=0), variances.mean(axis=0))
    for one, other in zip(model.trainable_variables, weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_last_layer(model, batches):
    """Normalised by a batch's own statistics, that batch has them in every layer."""
    estimate_batch_statistics(model, batches[:1])
    found = features(model, "up_head", batches[:1])[0]
    compare(
        model.get_layer("up_head_bn"), found.mean(axis=(0, 1, 2)), found.var((0, 1, 2))
    )


def test_no_batch(model):
    with pytest.raises(ValueError, match="Expected batches of images"):
        estimate_batch_statistics(model, [])
