"""Gram matrices of what the layers of a network make."""

import keras
import numpy as np
import pytest

from keras_pamunet import PAMUNet
from keras_pamunet.analysis.layer_grams import LayerGrams
from keras_pamunet.backend import run_once
from keras_pamunet.models import MobileUNet


def built(network, patterns=(), size=32, batch=4):
    grams = LayerGrams(network, patterns)
    grams.build((batch, size, size, 3))
    return grams


def centred_gram(features):
    rows = np.asarray(features, "float64").reshape(len(features), -1)
    rows -= rows.mean(axis=0)
    return rows @ rows.T


def test_features_are_those_of_the_layers(rng):
    """Of layers of the graph, and of those inside others."""
    network = PAMUNet((32, 32, 3), expansion=2)
    names = ["stem", "encoder_1", "encoder_1/block_0/expand", "attention_1"]
    grams = built(network, [names[3], names[0], "encoder_1*"], batch=5)
    images = rng.integers(0, 256, (5, 32, 32, 3), "uint8")
    found = dict(zip(grams.names, grams.predict_on_batch(images)))
    assert list(found)[:2] == ["stem", "encoder_1/block_0/expand"]
    # A block is listed once all in it is done.
    assert list(found)[-2:] == ["encoder_1", "attention_1"]
    before, *outputs = run_once(
        keras.Model(
            network.input,
            [network.get_layer("encoder_0").output]
            + [network.get_layer(names[index]).output for index in (0, 1, 3)],
        ),
        images,
    )
    kernel = network.get_layer("encoder_1").blocks[0].steps[0].get_weights()[0]
    inner = np.asarray(before) @ kernel[0, 0]
    for name, features in zip([*names[:2], names[3], names[2]], [*outputs, inner]):
        np.testing.assert_allclose(
            found[name], centred_gram(features), rtol=1e-4, atol=1e-4, err_msg=name
        )


def test_chosen_layers():
    grams = built(PAMUNet((32, 32, 3), expansion=6))
    # 53 convolutions of MobileNetV2 without its classifier, of which the first block
    # has one less than the others; and of each decoder's level the transposed one, the
    # gate, the concatenation and three convolutions; and two of the head.
    assert len(grams.names) == 52 + 4 * 6 + 2
    assert grams.names[:3] == [
        "stem",
        "encoder_0/block_0/depthwise",
        "encoder_0/block_0/project",
    ]
    assert grams.names[-1] == "logits"
    assert grams.names[-7:-5] == ["attention_0", "join_0"]
    assert not any(
        name.endswith("_bn") or name.startswith("attention_0/") for name in grams.names
    )
    assert len(built(MobileUNet((32, 32, 3))).names) == 52 + 10 + 4 + 1


def test_other_networks():
    """Nested networks, layers that are called twice, outputs of other shapes."""
    inputs = keras.Input((16, 16, 3), name="image")
    twice = keras.layers.Conv2D(3, 3, padding="same", name="twice")
    inner = keras.Sequential([keras.layers.Conv2D(4, 1, name="conv")], name="inner")
    x = keras.layers.Add(name="sum")([twice(inputs), twice(twice(inputs))])
    x = keras.layers.GlobalAveragePooling2D(name="pool")(inner(x))
    network = keras.Model(inputs, keras.layers.Dense(2, name="dense")(x))
    grams = built(network, size=16)
    assert sorted(grams.names) == ["inner/conv", "sum"] + ["twice"] * 3
    # Nothing stays behind in the network.
    assert not any("call" in vars(layer) for layer in network.layers)
    with pytest.raises(ValueError, match=r"layers like dense, no\*, .* image, twice"):
        built(network, ["dense", "no*"], size=16)
