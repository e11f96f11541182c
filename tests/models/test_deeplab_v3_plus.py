"""DeepLabv3+."""

from keras_pamunet.models import DeepLabV3Plus, deeplab_v3_plus, resnet50
from tests.models.segmenter_contract import SegmenterContract


class TestDeepLabV3Plus(SegmenterContract):
    network = DeepLabV3Plus
    small = {"filters": 6}
    constants = {
        (resnet50, "STEM"): 8,
        (resnet50, "STAGES"): ((4, 1), (6, 1), (8, 1), (10, 2)),
        (deeplab_v3_plus, "RATES"): (1, 2, 3),
    }
    other = {"filters": 8}


def test_dilated_in_place_of_strides():
    """The last stage keeps the size; its first convolution looks as far as before."""
    model = DeepLabV3Plus((64, 64, 3))
    found = [model.get_layer(f"conv5_block{i}_2_conv").dilation_rate for i in (1, 2, 3)]
    assert found == [(1, 1), (2, 2), (2, 2)]
    assert model.get_layer("conv5_block3_add").output.shape == (None, 4, 4, 2048)
    found = [model.get_layer(f"aspp_{i}_depthwise").dilation_rate for i in range(3)]
    assert found == [(12, 12), (24, 24), (36, 36)]
