import cv2
import numpy as np

from keras_pamunet.data import Augment, Cache, Folder
from keras_pamunet.data.cache import resize_image


def test_long_integers(rng):
    image = rng.integers(0, 4000, (16, 16, 1), "int32")
    pair = Augment(value_range=(0, 4000))(
        resize_image(image, (16, 16)), np.zeros((16, 16), "uint8"), rng
    )
    assert pair[0].shape == (16, 16, 1)


def test_cache(folder):
    pairs = Cache(Folder(folder), (20, 24))
    image, mask = pairs[0]
    assert image.shape == (20, 24, 3) and mask.shape == (20, 24)
    full_image, full_mask = Folder(folder)[0]
    expected = cv2.resize(full_image, (24, 20), interpolation=cv2.INTER_AREA)
    assert np.abs(image.astype(int) - expected).mean() < 4  # JPEG, decoded coarsely
    assert abs(mask.mean() - full_mask.mean()) < 0.05
    assert pairs[0][0] is image
    assert Cache(Folder(folder), (20, 24), max_bytes=0)[0][0] is not image
