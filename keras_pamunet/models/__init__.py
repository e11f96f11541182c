from keras_pamunet.models.att_unet import AttUNet
from keras_pamunet.models.deeplab_v3_plus import DeepLabV3Plus
from keras_pamunet.models.fcn8 import FCN8
from keras_pamunet.models.hrnet import HRNet
from keras_pamunet.models.load_model import load_file, load_model
from keras_pamunet.models.mobile_encoder import MobileEncoder
from keras_pamunet.models.mobile_unet import MobileUNet
from keras_pamunet.models.pamunet import PAMUNet
from keras_pamunet.models.registry import check_arguments, find_network, list_models
from keras_pamunet.models.res_unet import ResUNet
from keras_pamunet.models.segmenter import Segmenter
from keras_pamunet.models.unet import UNet

__all__ = [
    "AttUNet",
    "DeepLabV3Plus",
    "FCN8",
    "HRNet",
    "MobileEncoder",
    "MobileUNet",
    "PAMUNet",
    "ResUNet",
    "Segmenter",
    "UNet",
    "check_arguments",
    "find_network",
    "list_models",
    "load_file",
    "load_model",
]
