"""Parameters and multiply-adds of the networks as they come."""

import keras
import numpy as np
import pytest

from keras_pamunet.analysis.complexity import count
from keras_pamunet.models import find_network, list_models

# Network: parameters that are trained, and multiply-adds of an image of 128 x 128 x 3.
COUNTS = {
    # Those of segmentation_models.pytorch's DeepLabV3Plus with resnet50.
    "deeplab_v3_plus": (26_677_585, 2_285_568_000),
    "res_unet": (8_220_993, 11_306_795_008),
    # By hand; parameters as in the usual implementation of torch.
    "att_unet": (34_878_573, 16_606_232_576),
    # By hand: VGG16's convolutions 14,714,688, fc6 and fc7 119,545,856, and 5,158.
    "fcn8": (134_265_702, 6_923_977_984),
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
