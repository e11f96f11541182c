"""Prediction of single images."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
from PIL import Image

from keras_pamunet import PAMUNet
from keras_pamunet.data import Folder
from keras_pamunet.inference.images import predict_images
from keras_pamunet.inference.predictor import fit_image, predict_batch, segment


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return PAMUNet((32, 32, 3), expansion=1, attention=None)


def test_predict_image_errors(model):
    with pytest.raises(ValueError, match=r"\(height, width, 3\).*\(8, 8, 5\)"):
        segment(model, np.zeros((8, 8, 5)))
    with pytest.raises(ValueError, match="NaN"):
        segment(model, np.full((8, 8, 3), np.nan))
    with pytest.raises(ValueError, match="8 bits.*Received: uint16 values up to 4095"):
        segment(model, np.full((8, 8, 3), 4095, "uint16"))


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_other_channels(rng, model, channels):
    """Grey and opacity are fitted to RGB, with a word."""
    image = rng.integers(0, 256, (40, 30, channels), "uint8")
    rgb = image[..., :3] if channels == 4 else image[..., :1].repeat(3, axis=-1)
    with pytest.warns(
        UserWarning, match=f"of {channels} channels is converted to the 3"
    ):
        found = segment(model, image, flips=False).mask
    np.testing.assert_array_equal(found, segment(model, rgb, flips=False).mask)


def test_fit_image():
    """A model may have one fixed side."""
    model = SimpleNamespace(input_shape=(None, None, 32, 3), input_range=(0, 255))
    assert fit_image(model, np.zeros((40, 50, 3), "uint8")).shape == (40, 32, 3)


def test_predict(folder, tmp_path, model):
    (folder / "images" / "case 05.png").write_text("no image")
    with pytest.raises(ValueError, match="1 of 12 images.*\n.*case 05"):
        predict_images(model, folder / "images", tmp_path / "masks", progress=False)
    assert len(list((tmp_path / "masks").glob("case ??.png"))) == 11
    image, _ = Folder(folder)[1]
    mask = np.asarray(Image.open(tmp_path / "masks" / "case 01.png"))
    np.testing.assert_array_equal(mask, 255 * segment(model, image).mask)
    assert mask.shape == (39, 40)
    with Image.open(tmp_path / "masks" / "overlays" / "case 01.png") as overlay:
        assert overlay.size == (40, 39)


def test_predict_keeps_images(folder, tmp_path, model):
    images = folder / "images"
    before = {path: path.read_bytes() for path in images.iterdir()}
    with pytest.raises(ValueError, match="another folder"):
        predict_images(model, images, images, progress=False)
    assert {path: path.read_bytes() for path in images.iterdir()} == before
    (images / "case 00.png").write_bytes(before[images / "case 01.png"])
    with pytest.raises(ValueError, match="case 00.jpg and case 00.png"):
        predict_images(model, images, tmp_path / "masks", progress=False)
    (images / "case 00.png").unlink()
    with pytest.raises(ValueError, match="Expected a folder for the masks of 12"):
        predict_images(model, images, images / "case 01.png", progress=False)


@pytest.mark.parametrize("axes", [(), (2,), (1, 2)])
def test_mirror_axes(rng, model, axes):
    """A mean is made over the mirror images that a model allows, and no others."""
    images = rng.integers(0, 256, (1, 32, 32, 3), "uint8")
    mirrored = model.clone(mirror_axes=axes)
    sets = {(): [()], (2,): [(), 2], (1, 2): [(), 1, 2, (1, 2)]}[axes]
    expected = np.mean(
        [np.flip(model.predict_on_batch(np.flip(images, x)), x) for x in sets], axis=0
    )
    np.testing.assert_allclose(predict_batch(mirrored, images), expected, atol=1e-6)


def test_pictures_for_a_model_of_hu(model):
    network = model.clone(input_range=(-200, 250))
    with pytest.raises(ValueError, match="values such as HU.*an image of 8 bits"):
        segment(network, np.zeros((32, 32, 3), "uint8"))
