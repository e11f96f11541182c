"""Parameters and multiply-adds of the networks as they come."""

import keras
import numpy as np
import pytest

from keras_pamunet.analysis.complexity import count
from keras_pamunet.models import find_network, list_models

# Network: parameters that are trained, and multiply-adds of an image of 128 x 128 x 3.
COUNTS = {
    # By hand: MobileNetV2 without its top 2,223,872 and 97,794,048, then the head's
    # 1280 + 1 and 4 x 4 x 1280.
    "mobile_encoder": (2_225_153, 97_814_528),
    # By hand, and by torch in segmentation_models.pytorch's Unet.
    "mobile_unet": (6_628_945, 836_253_696),
    "pamunet": (3_829_149, 834_951_168),
    # Those of segmentation_models.pytorch's Unet with resnet50.
    "unet": (32_521_105, 2_658_140_160),
}


def test_all_are_counted():
    assert list_models() == sorted(COUNTS)


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="the same on all back ends"
)
@pytest.mark.parametrize("name", COUNTS)
def test_counts(name):
    model = find_network(name)()
    assert model.input_shape == (None, 128, 128, 3)
    trained = sum(int(np.prod(x.shape)) for x in model.trainable_weights)
    assert (trained, count(model)["macs"]) == COUNTS[name]
