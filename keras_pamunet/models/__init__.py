from keras_pamunet.models.load_model import load_model
from keras_pamunet.models.pamunet import PAMUNet

__all__ = ["PAMUNet", "load_model"]
