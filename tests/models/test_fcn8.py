"""FCN-8s."""

import keras
import numpy as np

from keras_pamunet.models import FCN8, vgg16
from tests.models.segmenter_contract import SegmenterContract


class TestFCN8(SegmenterContract):
    network = FCN8
    small = {"filters": 8}
    constants = {(vgg16, "STAGES"): ((4, 2), (6, 1), (8, 1), (8, 1), (8, 1))}
    other = {"filters": 6}
    head = ("score_fc7", "up_2", "score_pool4", "up_4", "score_pool3", "logits")


def test_enlarges_bilinearly(rng):
    """As it comes, each class by itself; compared where no edge is near."""
    for name, factor in (("up_2", 2), ("logits", 8)):
        layer = FCN8((32, 32, 3), num_classes=3, filters=8).get_layer(name)
        logits = rng.normal(size=(1, 8, 8, 3)).astype("float32")
        expected = keras.layers.UpSampling2D(
            factor, data_format="channels_last", interpolation="bilinear"
        )(logits)
        inside = (slice(None), slice(factor, -factor), slice(factor, -factor))
        np.testing.assert_allclose(
            np.asarray(layer(logits))[inside], np.asarray(expected)[inside], atol=1e-5
        )
