import numpy as np
import pytest
from PIL import Image

from keras_pamunet.data import Folder, check


def damage_truncated(folder):
    path = folder / "images/case 03.jpg"
    path.write_bytes(path.read_bytes()[:-200])


def damage_no_image(folder):
    (folder / "images/case 03.jpg").write_text("no image")


def damage_mask_size(folder):
    Image.fromarray(np.zeros((9, 9), "uint8")).save(folder / "masks/case 03.png")


def damage_grey_mask(folder):
    values = np.arange(40, dtype="uint8") * 6 * np.ones((39, 1), "uint8")
    Image.fromarray(values).save(folder / "masks/case 03.png")


def damage_labels(folder):
    Image.fromarray(np.eye(39, 40, dtype="uint8") * 2).save(
        folder / "masks/case 03.png"
    )


def damage_third_value(folder):
    values = np.eye(39, 40, dtype="uint8")
    values[-1] = 255
    Image.fromarray(values).save(folder / "masks/case 03.png")


def damage_nan_mask(folder):
    values = np.full((39, 40), np.nan, "float32")
    (folder / "masks/case 03.png").unlink()
    Image.fromarray(values).save(folder / "masks/case 03.tif")


def damage_coloured_mask(folder):
    values = np.zeros((39, 40, 3), "uint8")
    values[0, 0] = (255, 0, 0)
    Image.fromarray(values).save(folder / "masks/case 03.png")


def damage_channels(folder):
    Image.fromarray(np.zeros((39, 40), "uint8")).save(folder / "images/case 03.jpg")


def damage_nan(folder):
    (folder / "images/case 03.jpg").unlink()
    values = np.zeros((39, 40), "float32")
    values[2, 3] = np.nan
    Image.fromarray(values).save(folder / "images/case 03.tif")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_truncated, "truncated"),
        (damage_no_image, "cannot identify"),
        (damage_mask_size, "9 x 9 pixels. Received: 40 x 39 pixels"),
        (damage_grey_mask, "two values.*Received: 40 values"),
        (damage_labels, "two values.*Received: 2 values \\(0, 2\\)"),
        (damage_third_value, "two values.*Received: 3 values \\(0, 1, 255\\)"),
        (damage_nan_mask, "two values.*Received: 1 values \\(nan\\)"),
        (damage_coloured_mask, "mask of several colours"),
        (damage_channels, "3 channels. Received: 1 channels"),
        (damage_nan, "Received: 1 NaN"),
    ],
)
def test_unfit_pairs(folder, damage, message):
    damage(folder)
    pairs = Folder(folder)
    with pytest.raises(ValueError, match=f"(?s)1 of 12 pairs.*{message}") as error:
        check([pairs], progress=False)
    assert "case 03" in str(error.value)
    with pytest.raises(ValueError, match=message):
        pairs.read(3, (32, 32))


def test_empty_mask_warns(folder):
    Image.fromarray(np.zeros((39, 40), "uint8")).save(folder / "masks/case 03.png")
    with pytest.warns(UserWarning, match="1 of 12 masks are empty: case 03"):
        check([Folder(folder)], progress=False)
