import cv2
import numpy as np
import pytest

from keras_pamunet.data import Augment, Folder, Resized
from keras_pamunet.data.resized import resize_image, resize_mask


def test_long_integers(rng):
    image = rng.integers(0, 4000, (16, 16, 1), "int32")
    pair = Augment(value_range=(0, 4000))(
        resize_image(image, (16, 16)), np.zeros((16, 16), "uint8"), rng
    )
    assert pair[0].shape == (16, 16, 1)


def test_cache(folder):
    pairs = Resized(Folder(folder), (20, 24))
    image, mask = pairs[0]
    assert image.shape == (20, 24, 3) and mask.shape == (20, 24)
    full_image, full_mask = Folder(folder)[0]
    expected = cv2.resize(full_image, (24, 20), interpolation=cv2.INTER_AREA)
    assert np.abs(image.astype(int) - expected).mean() < 4  # JPEG, decoded coarsely
    assert abs(mask.mean() - full_mask.mean()) < 0.05
    assert pairs[0][0] is image
    assert Resized(Folder(folder), (20, 24), cache_bytes=0)[0][0] is not image


def test_subset(folder):
    pairs = Resized(Folder(folder), (20, 24))
    (image, _), part = pairs[2], pairs.select([pairs.names[2]])
    assert part.names == [pairs.names[2]]
    np.testing.assert_array_equal(part[0][0], image)


@pytest.mark.parametrize("size", [(64, 64), (24, 100), (200, 150)])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 13])
@pytest.mark.parametrize("dtype", ["bool", "i1", "u1", "i2", ">u2", "i4", "u4", "f8"])
def test_any_kind_of_image(rng, dtype, channels, size):
    """Each channel as OpenCV resizes it alone, in the values of the image."""
    image = rng.integers(0, 100, (96, 90, channels)).astype(dtype)
    found = resize_image(image, size)
    shrinks = size[0] < 96 and size[1] < 90
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    own = found.dtype == dtype and found.dtype.isnative
    assert own or found.dtype == "float32"
    for at in range(channels):
        expected = cv2.resize(
            image[..., at].astype(found.dtype), size[::-1], interpolation=interpolation
        )
        # OpenCV rounds otherwise where there are two channels.
        np.testing.assert_allclose(found[..., at].astype("f8"), expected, atol=1)


def test_large_integers_keep_their_values():
    image = np.full((8, 8, 1), 3_000_000_000, "uint32")
    assert (resize_image(image, (4, 4)) == 3e9).all()
    assert (resize_image(-image.astype("int64"), (8, 8)) == -3e9).all()


def test_masks_of_any_type():
    mask = np.eye(8, dtype=bool).repeat(4, 0).repeat(4, 1)
    for dtype in ("bool", "int64", "float32"):
        found = resize_mask(mask.astype(dtype), (8, 8))
        np.testing.assert_array_equal(found, np.eye(8, dtype="uint8"))
    with pytest.raises(ValueError, match="labels from 0 to 255. Received: 0 to 256"):
        resize_mask(mask.astype("uint16") * 256, (8, 8))


def test_no_image():
    for shape in ((9, 9), (0, 9, 3)):
        with pytest.raises(ValueError, match="Expected an image"):
            resize_image(np.zeros(shape, "uint8"), (4, 4))
