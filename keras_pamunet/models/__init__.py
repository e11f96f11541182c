from keras_pamunet.models.load_model import load_file, load_model
from keras_pamunet.models.mobile_encoder import MobileEncoder
from keras_pamunet.models.mobile_unet import MobileUNet
from keras_pamunet.models.pamunet import PAMUNet
from keras_pamunet.models.registry import check_arguments, find_network, list_models
from keras_pamunet.models.segmenter import Segmenter
from keras_pamunet.models.unet import UNet

__all__ = [
    "MobileEncoder",
    "MobileUNet",
    "PAMUNet",
    "Segmenter",
    "UNet",
    "check_arguments",
    "find_network",
    "list_models",
    "load_file",
    "load_model",
]
