"""Mobile-UNet."""

import numpy as np

from keras_pamunet.analysis.complexity import count
from keras_pamunet.models import MobileUNet


def test_size():
    """As counted by hand, and by torch in segmentation_models.pytorch's Unet."""
    model = MobileUNet()
    assert sum(int(np.prod(w.shape)) for w in model.trainable_weights) == 6_628_945
    assert count(model)["macs"] == 836_253_696
