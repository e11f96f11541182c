"""Networks by name."""

import pytest

from keras_pamunet import PAMUNet
from keras_pamunet.models import MobileUNet, find_network, list_models


def test_networks():
    assert {"pamunet", "mobile_unet"} <= set(list_models())
    assert find_network("pamunet") is PAMUNet
    assert find_network("mobile_unet") is MobileUNet
    with pytest.raises(ValueError, match="one of mobile_unet, pamunet. Received: 'u'"):
        find_network("u")
