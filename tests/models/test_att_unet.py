"""Attention U-Net."""

from keras_pamunet.models import AttUNet
from tests.models.segmenter_contract import SegmenterContract


class TestAttUNet(SegmenterContract):
    network = AttUNet
    small = {"filters": 4}
    other = {"filters": 6}
