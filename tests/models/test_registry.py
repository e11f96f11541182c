"""Networks by name."""

import pytest

from keras_pamunet import PAMUNet
from keras_pamunet.models import (
    MobileUNet,
    check_arguments,
    find_network,
    list_models,
    pamunet,
)


def test_networks():
    assert find_network("pamunet") is PAMUNet
    assert find_network("mobile_unet") is MobileUNet
    with pytest.raises(
        ValueError, match=f"one of {', '.join(list_models())}. Received: 'u'"
    ):
        find_network("u")


def test_arguments_are_checked_without_a_network(monkeypatch):
    def fail(*arguments):
        raise AssertionError("made")

    monkeypatch.setattr(pamunet, "mobilenet_v2", fail)
    check_arguments(PAMUNet, {"attention": "self", "key_stride": 2})
    for arguments, message in (
        ({"attention": None, "key_stride": 2}, "Expected .*key_stride=2"),
        ({"nmae": "a"}, "Did you mean name"),
    ):
        with pytest.raises(ValueError, match=message):
            check_arguments(PAMUNet, arguments)
    with pytest.raises(AssertionError, match="made"):
        PAMUNet()
