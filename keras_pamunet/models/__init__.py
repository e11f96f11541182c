from keras_pamunet.models.load_model import load_model
from keras_pamunet.models.pamunet import PAMUNet
from keras_pamunet.models.predict_flips import predict_flips

__all__ = ["PAMUNet", "load_model", "predict_flips"]
