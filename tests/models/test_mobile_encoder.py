"""The encoder alone."""

from keras_pamunet.models import MobileEncoder
from keras_pamunet.training import estimate_batch_statistics
from tests.models.segmenter_contract import SegmenterContract, draw


class TestMobileEncoder(SegmenterContract):
    network = MobileEncoder

    @classmethod
    def settle(cls, model, rng):
        # Without skips, the image is lost on its way through other statistics.
        estimate_batch_statistics(model, [draw(rng, 32, 32, count=32)])
