"""Parameters and multiply-adds of the networks as they come."""

import keras
import numpy as np
import pytest

from keras_pamunet.analysis.complexity import count
from keras_pamunet.models import find_network
from tests.helpers import own_networks

# Network, arguments, parameters that are trained, and multiply-adds of an image of
# 128 x 128 x 3. Counted by hand, layer by layer. Those of unet, mobile_unet and
# deeplab_v3_plus are also those of torch for segmentation_models.pytorch.
COUNTS = [
    ("att_unet", {}, 34_878_573, 16_606_232_576),
    ("deeplab_v3_plus", {}, 26_677_585, 2_285_568_000),
    ("fcn8", {}, 134_265_702, 6_923_977_984),
    ("hrnet", {}, 9_636_241, 1_146_594_048),
    ("hrnet", {"width": 48}, 65_846_401, 5_826_674_688),
    ("mobile_encoder", {}, 2_225_153, 97_814_528),
    ("mobile_unet", {}, 6_628_945, 836_253_696),
    ("pamunet", {}, 3_829_149, 243_083_776),
    ("pamunet", {"score_activation": "sigmoid"}, 3_829_149, 834_951_168),
    ("res_unet", {}, 8_220_993, 11_306_795_008),
    ("unet", {}, 32_521_105, 2_658_140_160),
]


def test_all_are_counted():
    assert own_networks() == sorted({name for name, *_ in COUNTS})


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="the same on all back ends"
)
@pytest.mark.parametrize(("name", "arguments", "parameters", "macs"), COUNTS)
def test_counts(name, arguments, parameters, macs):
    model = find_network(name)(**arguments)
    assert model.input_shape == (None, 128, 128, 3)
    trained = sum(int(np.prod(x.shape)) for x in model.trainable_weights)
    assert (trained, count(model)["macs"]) == (parameters, macs)
