from keras_pamunet.models.load_model import load_file, load_model
from keras_pamunet.models.pamunet import PAMUNet

__all__ = ["PAMUNet", "load_file", "load_model"]
