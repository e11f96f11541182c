import numpy as np

from keras_pamunet.data import Phantom


def test_phantom():
    phantom = Phantom(8, 48, seed=3)
    image, mask = phantom[5]
    assert image.shape == (48, 48, 3) and image.dtype == np.uint8
    assert 0 < mask.mean() < 0.8 and set(np.unique(mask)) == {0, 1}
    np.testing.assert_array_equal(phantom.select(["phantom_0005"])[0][0], image)
    assert (Phantom(8, 48, seed=4)[5][0] != image).any()
