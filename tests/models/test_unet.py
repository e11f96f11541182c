"""U-Net with ResNet50."""

from keras_pamunet.models import UNet, resnet50, unet_decoder
from tests.models.segmenter_contract import SegmenterContract


class TestUNet(SegmenterContract):
    network = UNet
    constants = {
        (resnet50, "STEM"): 8,
        (resnet50, "STAGES"): ((4, 1), (6, 2), (8, 1), (10, 1)),
        (unet_decoder, "FILTERS"): (16, 12, 8, 8, 4),
    }
