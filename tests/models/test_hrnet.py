"""HRNetV2."""

from keras_pamunet.models import HRNet, hrnet_v2
from tests.models.segmenter_contract import SegmenterContract


class TestHRNet(SegmenterContract):
    network = HRNet
    small = {"width": 2}
    constants = {
        (hrnet_v2, "MODULES"): (1, 1, 1),
        (hrnet_v2, "REPEATS"): 1,
        (hrnet_v2, "STEM"): 4,
    }
    other = {"width": 3}
