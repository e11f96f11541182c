"""Pictures are drawn and written as they should be."""

import numpy as np
import pytest
from PIL import Image

from keras_pamunet.drawing import own_range, to_rgb, write_picture


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "uint32", "float64"])
def test_to_rgb(rng, dtype, channels):
    """The lowest value is black, the highest white, and others lie between in line."""
    limits = {"int8": (-128, 127), "int16": (-1000, 3000), "uint32": (0, 4e9)}
    low, high = limits.get(dtype, (0, 255))
    image = rng.uniform(low, high, (9, 12, channels))
    image[0, 0], image[0, 1] = low, high
    image = image.astype(dtype)
    picture = to_rgb(image, own_range(image))
    assert picture.shape == (9, 12, 3) and picture.dtype == np.uint8
    shown = image[..., :3] if channels >= 3 else image[..., [0, 0, 0]]
    expected = 255 * (shown.astype("f8") - low) / (high - low)
    np.testing.assert_allclose(picture, expected, atol=0.51)


def test_to_rgb_of_one_value():
    for dtype in ("int16", "float32"):
        image = np.full((4, 4, 1), 7, dtype)
        assert not to_rgb(image, own_range(image)).any()
    assert not to_rgb(np.zeros((4, 4, 1)), (0, 0)).any()


def test_write_picture(tmp_path, rng):
    picture = rng.integers(0, 256, (9, 12, 3), "uint8")
    write_picture(picture, tmp_path / "new/a.PNG")
    with Image.open(tmp_path / "new/a.PNG") as found:
        np.testing.assert_array_equal(found, picture)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.PNG"]
    for name in ("a.xyz", "a", "a.eps", "a.pdf"):
        with pytest.raises(ValueError, match=f"Expected a picture.*{name}"):
            write_picture(picture, tmp_path / name)
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="Cannot write .*a.png"):
        write_picture(picture, tmp_path / "file/a.png")


def test_writes_through_no_link(tmp_path, rng):
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "a.png").symlink_to(tmp_path / "mine")
    write_picture(rng.integers(0, 256, (9, 12, 3), "uint8"), tmp_path / "a.png")
    assert (tmp_path / "mine").read_text() == "mine"
    assert not (tmp_path / "a.png").is_symlink()
