"""PAM-UNet: light medical image segmentation with Keras 3."""

from keras_pamunet import layers, losses, metrics, ops, regularizers
from keras_pamunet.models import PAMUNet

__version__ = "0.1.0"

__all__ = ["PAMUNet", "layers", "losses", "metrics", "ops", "regularizers"]
