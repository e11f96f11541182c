"""CKA of layers, against the formula on the features of all images."""

import csv
import itertools
import math

import cv2
import keras
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from keras_pamunet import PAMUNet
from keras_pamunet.analysis.cka import layer_similarity, write_similarity
from keras_pamunet.analysis.layer_grams import LayerGrams
from keras_pamunet.backend import run_once
from keras_pamunet.cli import app
from keras_pamunet.data import Folder, Phantom

LAYERS = ["stem", "encoder_[12]", "attention_?", "up_0", "logits"]


def hsic(one, two):
    """Song et al., JMLR 13, 2012, section 3: over all quadruples of images."""
    total = 0.0
    for i, j, q, r in itertools.permutations(range(len(one)), 4):
        total += one[i, j] * (two[i, j] + two[q, r] - 2 * two[i, q])
    return total / math.perm(len(one), 4)


def unbiased(one, two):
    """Nguyen et al., eq. 3."""
    n, ones = len(one), np.ones(len(one))
    k, t = (matrix - np.diag(np.diag(matrix)) for matrix in (one, two))
    return (
        np.trace(k @ t)
        + (ones @ k @ ones) * (ones @ t @ ones) / ((n - 1) * (n - 2))
        - 2 / (n - 2) * (ones @ k @ t @ ones)
    ) / (n * (n - 3))


def features(network, names, images):
    outputs = [network.get_layer(name).output for name in names]
    found = run_once(keras.Model(network.input, outputs), images)
    return [np.asarray(x, "float64").reshape(len(images), -1) for x in found]


def grams(network, names, images):
    return [rows @ rows.T for rows in features(network, names, images)]


def expected_cka(batches):
    """Of lists of Gram matrices, a list for each batch."""

    def mean(first, second):
        values = [
            [[unbiased(x, y) for y in b[second]] for x in b[first]] for b in batches
        ]
        return np.mean(values, axis=0)

    cross = mean(0, 1)
    own = [np.diag(mean(side, side)) for side in (0, 1)]
    return cross / np.sqrt(np.multiply.outer(*own))


@pytest.fixture(scope="module")
def networks():
    keras.utils.set_random_seed(0)
    one = PAMUNet((32, 32, 3), expansion=1)
    # Of another size, and features far from a mean of 0.
    other = PAMUNet((None, None, 3), expansion=1, attention="additive")
    for layer in other.layers:
        if layer.name == "stem_bn":
            gamma, beta, *rest = layer.get_weights()
            layer.set_weights([gamma, beta + 5, *rest])
    return one, other


def test_the_two_formulas_agree(rng):
    rows, others = rng.normal(size=(2, 6, 9))
    pair = rows @ rows.T, others @ others.T
    assert hsic(*pair) == pytest.approx(unbiased(*pair), rel=1e-9)
    # Centring the features changes nothing.
    rows = rows - rows.mean(axis=0)
    assert hsic(rows @ rows.T, pair[1]) == pytest.approx(hsic(*pair), rel=1e-9)


def test_whole_set_as_one_batch(networks):
    source = Phantom(12, 32)
    found = layer_similarity(
        *networks, source, layers=LAYERS, batch_size=12, size=32, progress=False
    )
    names = [
        "stem",
        "encoder_1",
        "encoder_2",
        "attention_3",
        "attention_2",
        "attention_1",
        "up_0",
        "attention_0",
        "logits",
    ]
    assert found["rows"] == found["columns"] == names
    assert found["images"] == 12
    images = np.stack([image for image, _ in source])
    batch = tuple(grams(network, names, images) for network in networks)
    np.testing.assert_allclose(found["cka"], expected_cka([batch]), atol=1e-4)
    assert found["cka"].max() > 0.5 > found["cka"].min()


def test_batches(networks):
    """Images that fill no batch are left out, each network gets its own size."""
    one, other = networks
    source = Phantom(11, 40)
    found = layer_similarity(
        one, other, source, layers=["stem", "logits"], batch_size=5, size=64, seed=3
    )
    assert found["images"] == 10
    order = np.random.default_rng(3).permutation(11)[:10].reshape(2, 5)
    images = {
        side: np.stack(
            [
                cv2.resize(
                    image,
                    (side, side),
                    interpolation=cv2.INTER_AREA if side < 40 else cv2.INTER_LINEAR,
                )
                for image, _ in source
            ]
        )
        for side in (32, 64)
    }
    names = ["stem", "logits"]
    batches = [
        (grams(one, names, images[32][batch]), grams(other, names, images[64][batch]))
        for batch in order
    ]
    np.testing.assert_allclose(found["cka"], expected_cka(batches), atol=1e-4)


def test_with_itself(networks, monkeypatch):
    one, _ = networks
    calls = []
    predict = LayerGrams.predict_on_batch
    monkeypatch.setattr(
        LayerGrams, "predict_on_batch", lambda *x: calls.append(1) or predict(*x)
    )
    found = layer_similarity(one, one, Phantom(8, 32), layers=LAYERS, batch_size=8)
    np.testing.assert_allclose(found["cka"], found["cka"].T)
    np.testing.assert_allclose(np.diag(found["cka"]), 1)
    assert len(calls) == 1  # Features are computed once.


def test_dead_layers(networks):
    """A layer that is the same for all images is like none, not even itself."""
    dead = networks[0].clone()
    dead.get_layer("logits").set_weights(
        [0 * w for w in dead.get_layer("logits").get_weights()]
    )
    found = layer_similarity(
        dead, dead, Phantom(4, 32), layers=["stem", "logits"], batch_size=4
    )
    np.testing.assert_array_equal(np.isnan(found["cka"]), [[0, 1], [1, 1]])


def test_unfit_calls(networks, folder):
    one, _ = networks
    for batch_size in (3, 13):
        with pytest.raises(ValueError, match=f"4 images or more.*{batch_size}, 12 im"):
            layer_similarity(one, one, Phantom(12, 32), batch_size=batch_size)
    with pytest.raises(ValueError, match="layers like none.* stem"):
        layer_similarity(one, one, Phantom(4, 32), layers=["none"], batch_size=4)
    grey = PAMUNet((32, 32, 1), expansion=1)
    with pytest.raises(ValueError, match=r"case \d\d, for a model in mem.*width, 1\)"):
        layer_similarity(one, grey, Folder(folder), batch_size=4)
    broken = one.clone()
    weights = broken.get_layer("up_1").get_weights()
    broken.get_layer("up_1").set_weights([w * np.nan for w in weights])
    with pytest.raises(FloatingPointError, match="features of 'up_1'"):
        layer_similarity(broken, broken, Phantom(4, 32), batch_size=4)


def test_picture_and_numbers(tmp_path):
    cka = np.array([[1.0, 0.0, np.nan], [0.5, 0.25, -0.125]])
    similarity = {
        "rows": ["a$_$", "b"],
        "columns": ["x", "y", "z"],
        "cka": cka,
        "images": 8,
    }
    write_similarity(similarity, tmp_path / "cka.png", ("one $x", "another"))
    picture = np.asarray(Image.open(tmp_path / "cka.png"))
    colours = {tuple(colour) for colour in picture.reshape(-1, 3).tolist()}
    # The ends of viridis, and grey where there is no number.
    assert {(253, 231, 36), (68, 1, 84), (204, 204, 204)} <= colours
    rows = list(csv.reader((tmp_path / "cka.csv").read_text().splitlines()))
    assert rows[0] == ["", "x", "y", "z"]
    assert [row[0] for row in rows[1:]] == ["a$_$", "b"]
    np.testing.assert_array_equal(np.array(rows[1:])[:, 1:].astype(float), cka)


def test_command(networks, folder, tmp_path):
    networks[0].save(tmp_path / "a.keras")
    networks[1].save(tmp_path / "b.keras")
    models = [str(tmp_path / name) for name in ("a.keras", "b.keras")]
    command = ["cka", *models, "--data", str(folder), "-o", str(tmp_path / "new/x.png")]
    options = ["--layer", "stem", "--layer", "up_*", "--size", "32", "-q"]
    done = CliRunner().invoke(app, [*command, *options, "--batch-size", "6"])
    assert done.exit_code == 0, done.output
    rows = list(csv.reader((tmp_path / "new/x.csv").read_text().splitlines()))
    assert rows[0] == [
        "",
        "stem",
        "up_3",
        "up_2",
        "up_1",
        "up_0",
        "up_head",
        "up_head_bn",
    ]
    assert len(rows) == 8
    done = CliRunner().invoke(app, [*command, *options])
    assert done.exit_code == 1 and "batch_size=20, 12 images" in done.stderr
    done = CliRunner().invoke(app, [*command[:-1], "x.txt"])
    assert done.exit_code == 1 and "Expected a picture" in done.stderr
