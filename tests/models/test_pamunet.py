"""What every PAM-UNet must keep to."""

import os
import subprocess
import sys
from importlib.util import find_spec

import keras
import numpy as np
import pytest
from keras import layers

from keras_pamunet import PAMUNet
from keras_pamunet.analysis.complexity import count
from keras_pamunet.backend import run_once
from keras_pamunet.losses import DiceBCE
from keras_pamunet.models import load_model
from keras_pamunet.models.task import checks_only
from tests.helpers import once
from tests.models.segmenter_contract import SegmenterContract

JAX = keras.backend.backend() == "jax"
ATTENTIONS = {  # attention: trainable parameters, multiply-adds at 128 x 128 x 3
    None: (3_795_425, 235_296_768),
    "luong": (3_829_145 + 4, 243_083_776),
    "self": (3_829_145 + 4, 834_951_168),
    "cross": (3_829_145 + 4, 834_951_168),
    "additive": (3_806_669, 237_839_360),
}


class TestPAMUNet(SegmenterContract):
    network = PAMUNet
    small = {"expansion": 1}
    other = {
        "expansion": 2,
        "attention": "self",
        "attention_regularization": 0.5,
        "score_activation": "sigmoid",
        "key_stride": 2,
    }


@once
@pytest.mark.parametrize("attention", [x for x in ATTENTIONS if x != "luong"])
def test_size(attention):
    model = PAMUNet(attention=attention)
    parameters, expected = ATTENTIONS[attention]
    assert sum(int(np.prod(w.shape)) for w in model.trainable_weights) == parameters
    assert count(model)["macs"] == expected


@pytest.mark.skipif(JAX, reason="compiles for each size anew")
def test_sizes_in_turn(rng):
    """From the second one on, TensorFlow's graph is one for all sizes."""
    model = PAMUNet((None, None, 3), expansion=1)
    for size in ((32, 32), (33, 64), (64, 40)):
        images = rng.integers(0, 256, (2, *size, 3), "uint8")
        expected = np.asarray(run_once(model, images))
        np.testing.assert_allclose(
            model.predict_on_batch(images), expected, rtol=1e-4, atol=1e-6
        )
        model.test_on_batch(images, images[..., :1] > 127)


def scaled(model, images):
    """What the stem is given."""
    (rescaling,) = (x for x in model.layers if isinstance(x, layers.Rescaling))
    return np.asarray(keras.Model(model.input, rescaling.output)(images))


def test_input_range(rng):
    """Raw HU are clipped, and mapped to -1 to 1."""
    model = PAMUNet((32, 32, 1), expansion=1, attention=None, input_range=(-200, 250))
    values = rng.uniform(-1000, 3000, (1, 32, 32, 1))
    expected = (np.clip(values, -200, 250) - 25) / 225
    np.testing.assert_allclose(scaled(model, values), expected, atol=1e-5)


def test_deep_images_in_half_precision():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = PAMUNet((32, 32, 1), 1, 1, None, input_range=(0, 65535))
    finally:
        keras.config.set_dtype_policy("float32")
    assert (scaled(model, np.full((1, 32, 32, 1), 65535.0)) == 1).all()


@pytest.mark.parametrize("attention", ["luong"] if JAX else ATTENTIONS)
def test_fit(rng, attention):
    """As it comes from the constructor, but for gamma and rate; every weight learns."""
    model = PAMUNet((64, 64, 3), attention=attention)
    model.optimizer.weight_decay = None  # Which changes weights without gradients.
    model.optimizer.learning_rate = 1.0  # A gamma of 1 has no room for tiny steps.
    model.compile(
        optimizer=model.optimizer,
        loss="binary_crossentropy",
        metrics=model.own_metrics(),
        # Faster than to trace a graph for two steps.
        run_eagerly=keras.backend.backend() == "tensorflow",
    )
    images = rng.integers(0, 256, (2, 64, 64, 3), "uint8")
    masks = rng.random((2, 64, 64, 1)) > 0.5
    for layer in model.layers:
        if attention not in (None, "additive") and layer.name.startswith("attention"):
            layer.gamma.assign(1.0)  # With 0 only gamma itself would learn.
    states = [model.get_weights()]
    history = model.fit(images, masks, verbose=0).history
    states.append(model.get_weights())
    assert np.isfinite(history["loss"]).all()
    assert set(history) == {"loss", "dice", "iou", "recall", "precision"}
    for weight, before, after in zip(model.weights, *states):
        assert np.isfinite(after).all(), weight.path
        assert (before != after).any(), weight.path


@pytest.mark.parametrize("attention", ["self", "cross", "additive"])
def test_attention_kinds(rng, tmp_path, attention):
    """What each gate is given and makes of it; odd sizes; saved and loaded."""
    model = PAMUNet((None, None, 3), expansion=1, attention=attention)
    gates = [layer for layer in model.layers if layer.name.startswith("attention")]
    assert len(gates) == 4
    for gate in gates:
        gate.set_weights([rng.normal(size=w.shape) for w in gate.weights])
        assert gate.attention_regularizer.factor == 0.01
    gate = model.get_layer("attention_2")
    skip, source = gate.input
    up = model.get_layer("up_2").output
    assert source is (skip if attention == "self" else up)
    expected = None if attention == "additive" else "softmax"
    assert model.score_activation == getattr(gate, "score_activation", None) == expected
    images = rng.integers(0, 256, (1, 33, 50, 3), "uint8")
    masks = np.asarray(run_once(model, images))
    assert masks.shape == (1, 33, 50, 1) and masks.std() > 1e-5
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.get_config() == model.get_config()
    assert loaded.compiled and loaded.jit_compile == model.jit_compile
    np.testing.assert_allclose(run_once(loaded, images), masks, atol=1e-6)


def test_default_scores():
    """Each attention has its own; also a copy with another attention."""
    model = PAMUNet((32, 32, 3), expansion=1)
    assert model.score_activation == "first_order"
    exact = model.clone(score_activation="sigmoid")
    assert exact.clone(attention="luong").score_activation == "sigmoid"
    assert exact.clone(attention="self").score_activation == "softmax"
    assert exact.clone(attention=None).score_activation is None
    given = exact.clone(attention="cross", score_activation="sigmoid")
    assert given.score_activation == "sigmoid"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, "sigmoid"),
        ({"attention": "luong"}, "sigmoid"),
        ({"score_activation": "softmax"}, "softmax"),
        ({"attention": "self"}, None),
        ({"attention": None}, None),
    ],
)
def test_scores_of_a_recipe(arguments, expected):
    found = PAMUNet.with_scores("sigmoid", arguments)
    assert found.get("score_activation") == expected


def test_default_compilation():
    """That of the default recipe; what is given takes its place."""
    model = PAMUNet((32, 32, 3), expansion=1)
    config = model.optimizer.get_config()
    assert isinstance(model.optimizer, keras.optimizers.AdamW)
    assert isinstance(model.loss, DiceBCE) and config["weight_decay"] == 1e-3
    np.testing.assert_allclose(config["learning_rate"], 1e-3)
    model.compile("sgd", metrics=[])
    assert isinstance(model.optimizer, keras.optimizers.SGD)
    assert isinstance(model.loss, DiceBCE)


@pytest.mark.skipif(JAX, reason="the layer's own tests see its loss on both")
def test_attention_regularization(rng):
    images = rng.integers(0, 256, (1, 32, 32, 3), "uint8")
    model = PAMUNet((32, 32, 3), expansion=1, attention_regularization=0.5)
    weaker = model.clone(attention_regularization=0.25)
    model(images), weaker(images)
    ours, theirs = (keras.ops.convert_to_numpy(sum(x.losses)) for x in (model, weaker))
    assert len(model.losses) == 4 and ours > 0
    np.testing.assert_allclose(ours, 2 * theirs, rtol=1e-5)


def test_switch_to_first_order_scores(rng, tmp_path):
    """The weights are those of the sigmoid, which the tangent is close to."""
    images = rng.integers(0, 256, (2, 32, 32, 3), "uint8")
    model = PAMUNet((32, 32, 3), expansion=1, score_activation="sigmoid")
    for gate in model.layers:
        if gate.name.startswith("attention"):
            gate.gamma.assign(3.0)
            gate.query.kernel.assign(0.1 * gate.query.kernel)
    model.save(tmp_path / "model.keras")
    switched = load_model(tmp_path / "model.keras").clone(
        score_activation="first_order"
    )
    gate = switched.get_layer("attention_0")
    assert gate.score_activation == "first_order"
    for one, other in zip(switched.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    masks = run_once(switched, images)
    np.testing.assert_allclose(masks, run_once(model, images), atol=1e-5)
    switched.save(tmp_path / "switched.keras")
    loaded = load_model(tmp_path / "switched.keras")
    assert loaded.score_activation == "first_order"
    np.testing.assert_allclose(run_once(loaded, images), masks, atol=1e-7)
    assert loaded.clone(score_activation="sigmoid").fingerprint == model.fingerprint


LOAD = """
import sys, keras, numpy as np
import keras_pamunet
from keras_pamunet.backend import run_once
stored = np.load(sys.argv[2])
model = keras.saving.load_model(sys.argv[1])
masks = run_once(model, stored["images"])
print(np.abs(np.asarray(masks) - stored["masks"]).max())
assert model.name == "pam_unet" and model.expansion == 2 and model.compiled
assert model.get_config()["input_shape"] == (33, 40, 1)
# XLA is for this back end to choose, not for the one that saved.
assert model.jit_compile == keras_pamunet.PAMUNet((33, 40, 1), 1, 1, None).jit_compile
"""


def test_saved_model_in_the_other_back_end(rng, tmp_path):
    backend = "tensorflow" if JAX else "jax"
    if find_spec(backend) is None:
        pytest.skip(f"needs {backend}")
    model = PAMUNet(
        (33, 40, 1), 2, expansion=2, score_activation="softmax", key_stride=2
    )
    model.set_weights([2 * w + 0.01 for w in model.get_weights()])
    model.save(tmp_path / "model.keras")
    images = rng.integers(0, 256, (1, 33, 40, 1), "uint8")
    masks = np.asarray(run_once(model, images))
    assert masks.std() > 1e-3
    np.savez(tmp_path / "stored.npz", images=images, masks=masks)
    loaded = subprocess.run(
        [sys.executable, "-c", LOAD, tmp_path / "model.keras", tmp_path / "stored.npz"],
        env={
            **os.environ,
            "KERAS_BACKEND": backend,
            "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        },
        capture_output=True,
        text=True,
    )
    assert loaded.returncode == 0, loaded.stderr
    assert float(loaded.stdout.split()[-1]) < 1e-4


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """Keras' own MobileNetV2 with weights that are all of one kind, and its file."""
    model = keras.applications.MobileNetV2((64, 64, 3), include_top=False, weights=None)
    rng = np.random.default_rng(0)
    weights = [rng.uniform(0.7, 1.3) * w + 0.01 for w in model.get_weights()]
    model.set_weights(weights)
    path = tmp_path_factory.mktemp("encoder") / "mobilenet.weights.h5"
    model.save_weights(path)
    return model, path


def features(model, images):
    top = model.get_layer("encoder_top_bn").output
    return run_once(keras.Model(model.input, layers.ReLU(6.0)(top)), images)


def test_encoder_weights(rng, encoder):
    theirs, path = encoder
    images = rng.integers(0, 256, (1, 64, 64, 3)).astype("float32")
    model = PAMUNet((64, 64, 3), encoder_weights=str(path))
    expected = np.asarray(run_once(theirs, images / 127.5 - 1))
    assert expected.std() > 1e-3
    np.testing.assert_allclose(features(model, images), expected, rtol=1e-3, atol=1e-4)
    assert model.get_config()["encoder_weights"] is None


def test_encoder_weights_without_network(monkeypatch):
    def fail(**arguments):
        raise Exception("URL fetch failure")  # As Keras does.

    monkeypatch.setattr(keras.applications, "MobileNetV2", fail)
    with pytest.raises(ValueError, match=".weights.h5 file.*URL fetch failure"):
        PAMUNet((32, 32, 3), encoder_weights="imagenet")


def test_grey_encoder_weights(rng, encoder):
    grey = rng.integers(0, 256, (1, 64, 64, 1)).astype("float32")
    one, three = (PAMUNet((64, 64, c), encoder_weights=str(encoder[1])) for c in (1, 3))
    # The stem alone: later layers hardly notice another scale.
    stems = [keras.Model(x.input, x.get_layer("stem").output) for x in (one, three)]
    expected = np.asarray(run_once(stems[1], grey.repeat(3, axis=-1)))
    np.testing.assert_allclose(run_once(stems[0], grey), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"attention": "self-made"}, "attention='self-made'"),
        ({"attention": "additive", "key_stride": 2}, "key_stride=2"),
        ({"attention": None, "score_activation": "softmax"}, "attention=None"),
        ({"score_activation": "tanh"}, "score_activation='tanh'"),
        ({"expansion": 65}, "expansion=65"),
        ({"expansion": "6"}, "expansion='6'"),
        ({"key_stride": 0}, "key_stride=0"),
        ({"key_stride": True}, "key_stride=True"),
        ({"attention": ["luong"]}, "attention="),
        ({"attention_regularization": -1}, "attention_regularization=-1"),
        ({"attention_regularization": "0"}, "attention_regularization='0'"),
        ({"score_activation": 3}, "score_activation=3"),
        ({"encoder_weights": "imagenet", "expansion": 4}, "expansion=4"),
    ],
)
def test_arguments(arguments, message):
    with pytest.raises(ValueError, match=message), checks_only():
        PAMUNet(**{"input_shape": (32, 32, 3), **arguments})


def test_configurations_of_before():
    """They named the activation, and the window of slices with 8 bits."""
    config = PAMUNet((32, 32, 1), 1, 1, None).get_config()
    for name in ("masks", "class_names", "mirror_axes"):
        del config[name]
    old = {"activation": "sigmoid", "window": [-200, 250.0]}
    model = PAMUNet.from_config({**config, **old})
    assert model.input_range == (-200, 250) and model.masks == "exclusive"
    old = {"activation": "sigmoid", "window": None, "num_classes": 2}
    model = PAMUNet.from_config({**config, **old})
    assert model.input_range == (0, 255) and model.masks == "overlapping"
    old = {"activation": "softmax", "num_classes": 3}
    model = PAMUNet.from_config({**config, **old})
    assert model.masks == "exclusive" and model.class_names == ("class 1", "class 2")


@pytest.mark.parametrize(
    ("attention", "expected"), [("luong", "sigmoid"), ("self", "softmax")]
)
def test_scores_that_older_configurations_leave_open(attention, expected):
    config = PAMUNet((32, 32, 1), 1, 1, attention).get_config()
    config["score_activation"] = None
    assert PAMUNet.from_config(config).score_activation == expected
    for name in ("score_activation", "attention"):
        del config[name]
    assert PAMUNet.from_config(config).score_activation == "sigmoid"


def test_classes_of_a_clone():
    model = PAMUNet((32, 32, 3), 3, 1, None, class_names=("liver", "tumour"))
    assert model.clone(expansion=1).class_names == ("liver", "tumour")
    with pytest.warns(UserWarning, match="logits"):
        assert model.clone(num_classes=1).class_names == ("object",)


@pytest.mark.parametrize("shape", [(3,), (3, 1)])
def test_image_weights_with_a_loss_of_pixels(rng, shape):
    """As the weighted mean of the images' losses."""
    model = PAMUNet((32, 32, 3), expansion=1, attention=None)
    truth = (rng.random((3, 32, 32, 1)) > 0.5).astype("float32")
    found = rng.uniform(0.1, 0.9, truth.shape).astype("float32")
    weights = np.float32([1, 0, 3])
    crossentropy = -np.log(np.where(truth > 0, found, 1 - found)).mean((1, 2, 3))
    expected = (crossentropy * weights).mean()
    for loss in ("binary_crossentropy", keras.losses.BinaryCrossentropy()):
        model.compile(loss=loss)
        ours = model.compute_loss(
            None,
            *map(keras.ops.convert_to_tensor, (truth, found, weights.reshape(shape))),
        )
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(ours), expected, rtol=1e-5
        )
