import keras
import numpy as np
import pytest

from keras_pamunet.losses import DiceBCE
from keras_pamunet.regularizers import AttentionVariance


def formula(truth, probability, smooth, weight=1.0):
    crossentropy = -np.where(truth, np.log(probability), np.log(1 - probability))
    overlap = (weight * truth * probability).sum(axis=(1, 2))
    size = (weight * truth).sum(axis=(1, 2)) + (weight * probability).sum(axis=(1, 2))
    dice = (2 * overlap + smooth) / (size + smooth)
    return (weight * crossentropy).mean(axis=(1, 2, 3)) + 1 - dice.mean(axis=1)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "float32"])
@pytest.mark.parametrize("channels", [1, 3])
def test_formula(rng, dtype, channels):
    truth = rng.random((4, 5, 6, channels)) > 0.7
    truth[0] = False
    probability = rng.uniform(0.05, 0.95, truth.shape)
    expected = formula(truth, probability, 0.5)
    loss = DiceBCE(smooth=0.5, reduction=None)
    np.testing.assert_allclose(
        loss(truth.astype(dtype), probability.astype("float32")), expected, rtol=1e-5
    )
    mean = DiceBCE(smooth=0.5)(truth.astype(dtype), probability.astype("float32"))
    np.testing.assert_allclose(mean, expected.mean(), rtol=1e-5)


@pytest.mark.parametrize("last", [(), (1,), (2,)])
def test_pixel_weights(rng, last):
    truth = rng.random((3, 5, 6, 2)) > 0.5
    probability = rng.uniform(0.05, 0.95, truth.shape).astype("float32")
    weight = rng.uniform(0, 2, (3, 5, 6, *last)).astype("float32")
    weight[:, :3] = 0
    weight[2] = 0
    channels = weight if last else weight[..., np.newaxis]
    expected = formula(truth, probability, 1.0, channels)
    loss = DiceBCE(reduction=None)
    found = loss(truth, probability, weight)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert float(found[2]) == 0
    # Nothing is seen where the weight is 0.
    other = np.where(channels > 0, truth, ~truth)
    np.testing.assert_array_equal(loss(other, probability, weight), found)
    mean = DiceBCE()(truth, probability, weight)
    np.testing.assert_allclose(mean, expected.mean(), rtol=1e-5)
    # The weighted cross-entropy is Keras' own.
    if not last:
        ours = DiceBCE(smooth=1e9)(truth, probability, weight)  # Dice is 1.
        theirs = keras.losses.BinaryCrossentropy()(truth, probability, weight)
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize("shape", [(3,), (3, 1), (3, 1, 1)])
def test_image_weights(rng, shape):
    truth = rng.random((3, 5, 6, 1)) > 0.5
    probability = rng.uniform(0.05, 0.95, truth.shape).astype("float32")
    weight = np.float32([1, 0, 3]).reshape(shape)
    expected = (formula(truth, probability, 1.0) * [1, 0, 3]).mean()
    found = DiceBCE()(truth, probability, weight)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_masks_that_are_none(rng):
    truth = (rng.random((3, 4, 4, 1)) > 0.5).astype("uint8")
    probability = rng.random(truth.shape).astype("float32")
    with pytest.raises(ValueError, match="values from 0 to 255. Divide"):
        DiceBCE()(255 * truth, probability)
    # Without the last axis: a product with (3, 4, 4) would mix the images.
    np.testing.assert_array_equal(
        DiceBCE()(truth[..., 0], probability), DiceBCE()(truth, probability)
    )
    with pytest.raises(ValueError, match=r"y_true of shape \(3, 4, 4, 1\)"):
        DiceBCE()(truth, probability.repeat(2, axis=-1))


def test_config():
    loss = keras.losses.deserialize(keras.losses.serialize(DiceBCE(smooth=2.0)))
    assert isinstance(loss, DiceBCE) and loss.smooth == 2.0


def test_attention_variance():
    regularizer = keras.regularizers.deserialize(
        keras.regularizers.serialize(AttentionVariance(0.5))
    )
    variance = np.array([1, 3], "float32")
    np.testing.assert_allclose(regularizer(keras.ops.convert_to_tensor(variance)), 1.0)
    with pytest.raises(ValueError, match="factor=-1"):
        AttentionVariance(-1)


@pytest.mark.parametrize("weighted", [False, True])
def test_volumes(rng, weighted):
    """A volume is one image, whose slices are more of its pixels."""
    truth = rng.random((2, 3, 4, 5, 2)) > 0.7
    probability = rng.uniform(0.05, 0.95, truth.shape).astype("float32")
    weights = rng.random((2, 3, 4, 5)).astype("float32") if weighted else None
    flat = [x.reshape(2, 12, 5, 2) for x in (truth, probability)]
    loss = DiceBCE()
    ours = loss(truth, probability, weights)
    theirs = loss(*flat, weights if weights is None else weights.reshape(2, 12, 5))
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)
