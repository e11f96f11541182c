"""Networks by name."""

import pytest

from keras_pamunet import PAMUNet
from keras_pamunet.models import MobileUNet, find_network, list_models


def test_networks():
    assert find_network("pamunet") is PAMUNet
    assert find_network("mobile_unet") is MobileUNet
    with pytest.raises(
        ValueError, match=f"one of {', '.join(list_models())}. Received: 'u'"
    ):
        find_network("u")
