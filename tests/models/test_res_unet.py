"""Deep Residual U-Net."""

from keras_pamunet.models import ResUNet
from tests.models.segmenter_contract import SegmenterContract


class TestResUNet(SegmenterContract):
    network = ResUNet
    small = {"filters": 4}
    other = {"filters": 6}
    unfolded = 6  # The first of each unit, which follows a sum, but the first unit's.
