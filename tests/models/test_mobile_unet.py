"""Mobile-UNet."""

from keras_pamunet.models import MobileUNet
from tests.models.segmenter_contract import SegmenterContract


class TestMobileUNet(SegmenterContract):
    network = MobileUNet
