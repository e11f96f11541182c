"""Encoders find what those of Keras Applications do."""

from functools import partial

import keras
import numpy as np
import pytest

from keras_pamunet.backend import channels_last, run_once
from keras_pamunet.models import FCN8, DeepLabV3Plus, UNet


def randomised(application, path):
    """A model of Keras Applications, its weights in a file."""
    with channels_last():
        model = application(input_shape=(64, 64, 3), include_top=False, weights=None)
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if weight.name != "kernel":
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    model.save_weights(path)
    return model


@pytest.mark.parametrize(
    # The next stage has its strides elsewhere, so other features.
    ("network", "application", "names"),
    [
        (UNet, keras.applications.ResNet50, ["conv2_block3_add"]),
        (DeepLabV3Plus, keras.applications.ResNet50, ["conv2_block3_add"]),
        (
            partial(FCN8, filters=8),
            keras.applications.VGG16,
            ["block3_pool"],
        ),
    ],
)
@pytest.mark.parametrize("channels", [3, 1])
def test_same_features(rng, tmp_path, network, application, names, channels):
    path = tmp_path / "encoder.weights.h5"
    source = randomised(application, path)
    model = network((64, 64, channels), encoder_weights=path)
    images = rng.integers(0, 256, (1, 64, 64, channels), "uint8")
    prepared = keras.applications.resnet.preprocess_input(
        images.repeat(3 // channels, axis=-1).astype("float32"),
        data_format="channels_last",
    )
    for name in names:
        theirs = keras.Model(source.input, source.get_layer(name).output)
        ours = keras.Model(model.input, model.get_layer(name).output)
        middle = slice(theirs.output.shape[1] // 2 - 1, theirs.output.shape[1] // 2 + 1)
        expected = np.asarray(run_once(theirs, prepared))[:, middle, middle]
        found = np.asarray(run_once(ours, images))[:, middle, middle]
        assert expected.std() > 0.1
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    copied = {x.name for x in source.layers if x.weights}
    held = {x.name: x for x in model.layers if x.weights}
    for name in copied:
        kernel = held[name].get_weights()[0]
        if name not in ("conv1_conv", "block1_conv1"):
            np.testing.assert_array_equal(
                kernel, source.get_layer(name).get_weights()[0]
            )
