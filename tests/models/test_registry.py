"""Networks by name."""

import pytest

from keras_pamunet import PAMUNet
from keras_pamunet.cli.options import Network
from keras_pamunet.models import MobileUNet, find_network, list_models


def test_networks():
    assert find_network("pamunet") is PAMUNet
    assert find_network("mobile_unet") is MobileUNet
    (option,) = (x for x in Network.__metadata__)
    assert all(name in option.help for name in list_models())
    with pytest.raises(
        ValueError, match=f"one of {', '.join(list_models())}. Received: 'u'"
    ):
        find_network("u")
