import keras
import numpy as np
import pytest

from keras_pamunet.losses import DiceBCE
from keras_pamunet.regularizers import AttentionVariance


def formula(truth, probability, smooth):
    crossentropy = -np.where(truth, np.log(probability), np.log(1 - probability))
    overlap = (truth * probability).sum(axis=(1, 2))
    size = truth.sum(axis=(1, 2)) + probability.sum(axis=(1, 2))
    dice = (2 * overlap + smooth) / (size + smooth)
    return crossentropy.mean(axis=(1, 2, 3)) + 1 - dice.mean(axis=1)


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
