"""What a model's gates do to an image, as numbers and as a picture."""

import keras
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from keras_pamunet import PAMUNet
from keras_pamunet.analysis import attention_maps
from keras_pamunet.analysis.attention_maps import (
    attention_map,
    close_gates,
    gate_effects,
    gate_maps,
)
from keras_pamunet.backend import run_once
from keras_pamunet.cli import app
from keras_pamunet.figures import attention_sheet


def network(rng, attention, size=(40, 64), key_stride=1):
    settings = {"score_activation": "sigmoid"} if attention == "luong" else {}
    model = PAMUNet((*size, 3), 1, 1, attention, key_stride=key_stride, **settings)
    for gate in model.layers:
        if gate.name.startswith("attention"):
            gate.set_weights([rng.normal(size=w.shape) for w in gate.weights])
    return model


@pytest.mark.parametrize(
    ("attention", "key_stride"),
    [("luong", 2), ("additive", 1)]
    # The same operations, which JAX compiles for long.
    + [("self", 1), ("cross", 1)] * (keras.backend.backend() == "tensorflow"),
)
def test_gate_maps(rng, attention, key_stride):
    model = network(rng, attention, key_stride=key_stride)
    image = rng.integers(0, 256, (40, 64, 3), "uint8")
    levels = gate_maps(model, image, (39, 10))
    # 40 rows are padded to 64: the maps end where the image does.
    shapes = [(20, 32), (10, 16), (5, 8), (3, 4)]
    assert [maps["before"].shape for maps in levels] == shapes
    if key_stride == 2:
        shapes = [(10, 16), (5, 8), (3, 4), (2, 2)]
    assert [maps["attention"].shape for maps in levels] == shapes
    gate = model.get_layer("attention_1")
    part = keras.Model(model.input, [*gate.input, gate.output])
    skip, source, gated = run_once(part, image[np.newaxis])
    _, scores = gate(skip, source, return_attention_scores=True)
    scores = np.asarray(scores)[0]
    expected = {
        "before": np.asarray(skip)[0].mean(-1),
        "after": np.asarray(gated)[0].mean(-1),
        "attention": scores[..., 0],
    }
    if attention != "additive":
        keys = (16 // key_stride, 16 // key_stride)
        expected["attention"] = scores.mean(axis=0).reshape(keys)
        expected["pixel"] = scores[39 // 4 * 16 + 10 // 4].reshape(keys)
    assert set(levels[1]) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(
            levels[1][name],
            values[: 10 * len(values) // 16],
            rtol=1e-4,
            atol=1e-6,
            err_msg=name,
        )
    assert (levels[1]["before"] != levels[1]["after"]).any()


def test_gate_effects(rng):
    model = network(rng, "luong", (64, 64))
    images = rng.integers(0, 256, (3, 64, 64, 3), "uint8")
    gate = model.get_layer("attention_1")
    # No keys' weights: all scores are 0.5, and a pixel is like any other.
    gate.key.set_weights([0 * w for w in gate.key.get_weights()])
    model.get_layer("attention_2").gamma.assign(0.0)
    effects = gate_effects(model, images)
    assert effects[1]["uniform"] == pytest.approx(1, abs=1e-5)
    assert effects[2]["change"] == 0 and np.isnan(effects[2]["uniform"])
    gate = model.get_layer("attention_0")
    part = keras.Model(model.input, [gate.input[0], gate.output])
    skip, gated = run_once(part, images)
    added = np.asarray(gated) - np.asarray(skip)
    norms = np.linalg.norm(added) / np.linalg.norm(skip)
    assert effects[0]["change"] == pytest.approx(norms, rel=1e-4)
    spread = added.reshape(3, -1, 16).var(axis=1).mean() / (added**2).mean()
    assert 1 - effects[0]["uniform"] == pytest.approx(spread, rel=1e-2)
    closed = gate_effects(close_gates(model), images)
    assert [effect["change"] for effect in closed] == [0, 0, 0, 0]
    assert gate.gamma != 0
    with pytest.raises(ValueError, match="attention=None"):
        close_gates(network(rng, None))


def projected(projection, features):
    kernel, bias = (x.astype("float64") for x in projection.get_weights())
    features = np.asarray(features, "float64") @ kernel[0, 0] + bias
    return features.reshape(len(features), -1, kernel.shape[-1])


def test_sizes_of_scores(rng, monkeypatch):
    """Of all images and all pairs of pixels, some queries at a time."""
    model = network(rng, "luong", (64, 64))
    gate, other = (model.get_layer(f"attention_{level}") for level in (1, 2))
    other.query.set_weights([0 * w for w in other.query.get_weights()])
    images = rng.integers(0, 256, (3, 64, 64, 3), "uint8")
    skip, source = run_once(keras.Model(model.input, gate.input), images)
    query, key = projected(gate.query, skip), projected(gate.key, source)
    scores = abs(query @ key.transpose(0, 2, 1)) / 24**0.5
    # Half of them beyond 1.
    half = np.median(scores)
    gate.query.set_weights([w / half for w in gate.query.get_weights()])
    monkeypatch.setattr(attention_maps, "MAX_SCORES", 1000 * 256)
    effects = gate_effects(model, images)
    assert effects[1]["largest_score"] == pytest.approx(scores.max() / half, rel=1e-4)
    assert effects[1]["beyond_1"] == pytest.approx(0.5, abs=1e-3)
    assert effects[2]["largest_score"] == effects[2]["beyond_1"] == 0
    found = gate_effects(network(rng, "additive", (64, 64)), images)
    assert [set(effect) for effect in found] == [{"change", "uniform"}] * 4


def test_map_of_first_order_attention(rng):
    model = network(rng, "luong", (64, 64)).clone(score_activation="first_order")
    image = rng.integers(0, 256, (1, 64, 64, 3), "uint8")
    gate = model.get_layer("attention_1")
    skip, source = run_once(keras.Model(model.input, gate.input), image)
    query, key = projected(gate.query, skip), projected(gate.key, source)
    expected = 0.5 + query.mean(axis=1) @ key[0].T / 24**0.5 / 4
    np.testing.assert_allclose(
        attention_map(model, image, 1), expected.reshape(1, 16, 16), rtol=1e-4
    )


def test_attention_sheet():
    maps = np.array([[0, 1], [2, 4]], "float32")
    level = {"before": maps, "after": maps / 4, "attention": maps, "pixel": 8 * maps}
    image = np.zeros((2, 2, 3), "uint8")
    sheet = attention_sheet(image, [level, level], (1, 0)).astype(int)
    assert sheet.shape[1] == (320 + 4) + 4 * (320 + 4 + 14)
    assert sheet.shape[0] > 2 * (320 + 22)  # Below stands what it shows.
    marked = sheet[:320, :320]
    starts = [324 + 338 * number for number in range(4)]
    before, after, attention, pixel = (sheet[:320, x : x + 320] for x in starts)
    # Yellow at the pixel in the lower left, nowhere else.
    rows, columns = marked.any(axis=-1).nonzero()
    assert rows.min() > 225 and rows.max() < 255
    assert columns.min() > 65 and columns.max() < 95
    np.testing.assert_array_equal(before, attention)
    np.testing.assert_array_equal(attention, pixel)
    # On the same scale, the features after are those before divided by 4.
    assert after.max() < before.max()


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_commands(rng, tmp_path):
    path, image, picture = (tmp_path / x for x in ("m.keras", "i.png", "new/a.png"))
    network(rng, "luong", (32, 32)).save(path)
    Image.fromarray(rng.integers(0, 256, (50, 40, 3), "uint8")).save(image)
    options = ("attention", path, image, "-o", picture, "--pixel")
    assert run(*options, 49, 39).exit_code == 0
    height, width = np.asarray(Image.open(picture)).shape[:2]
    # The image is 40 x 50.
    assert height > 4 * (320 + 22) and width == 5 * (256 + 4) + 4 * 14
    done = run(*options, 50, 0)
    assert done.exit_code == 1
    assert "50 rows x 40 columns. Received: row 50" in done.stderr
    before = image.read_bytes()
    done = run("attention", path, image, "-o", image)
    assert done.exit_code == 1 and "another file than the image" in done.stderr
    assert image.read_bytes() == before
    network(rng, None, (32, 32)).save(path)
    done = run(*options, 0, 0)
    assert done.exit_code == 1 and "Expected a model with attention" in done.stderr


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return PAMUNet((32, 32, 3), expansion=1)


def test_attention_map(rng, model, monkeypatch):
    images = rng.integers(0, 256, (2, 32, 32, 3), "uint8")
    maps = attention_map(model, images, level=1)
    gate = model.get_layer("attention_1")
    skip, up = run_once(keras.Model(model.input, gate.input), images)
    _, scores = gate(skip, up, return_attention_scores=True)
    expected = np.asarray(scores).mean(axis=1).reshape(2, 8, 8)
    np.testing.assert_allclose(maps, expected, rtol=1e-5)
    scores_of, parts = type(gate).scores, []

    def some_scores(*arguments):
        parts.append(scores_of(*arguments))
        return parts[-1]

    monkeypatch.setattr(type(gate), "scores", some_scores)
    monkeypatch.setattr("keras_pamunet.analysis.attention_maps.MAX_SCORES", 300)
    np.testing.assert_allclose(attention_map(model, images, 1), expected, rtol=1e-5)
    assert max(np.size(part) for part in parts) == 4 * 64  # Not a row of queries.
    with pytest.raises(ValueError, match="'attention_4'. Its gates are: attention_3"):
        attention_map(model, images, level=4)
