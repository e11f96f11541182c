"""Mobile-UNet."""

from keras_pamunet.models import MobileUNet
from tests.models.segmenter_contract import SegmenterContract


class TestMobileUNet(SegmenterContract):
    network = MobileUNet
    # As counted by hand, and by torch in segmentation_models.pytorch's Unet.
    parameters = 6_628_945
    macs = 836_253_696
