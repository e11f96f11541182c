from keras_pamunet.models.pamunet import PAMUNet

__all__ = ["PAMUNet"]
