from keras_pamunet.layers.additive_attention import AdditiveAttention
from keras_pamunet.layers.bilinear_up_sampling2d import BilinearUpSampling2D
from keras_pamunet.layers.conv2d import Conv2D
from keras_pamunet.layers.conv2d_transpose import Conv2DTranspose
from keras_pamunet.layers.crop_like import CropLike
from keras_pamunet.layers.depthwise_conv2d import DepthwiseConv2D
from keras_pamunet.layers.inverted_residual import InvertedResidual
from keras_pamunet.layers.mbconv import MBConv
from keras_pamunet.layers.pad_to_multiple import PadToMultiple
from keras_pamunet.layers.progressive_luong_attention import ProgressiveLuongAttention

__all__ = [
    "AdditiveAttention",
    "BilinearUpSampling2D",
    "Conv2D",
    "Conv2DTranspose",
    "CropLike",
    "DepthwiseConv2D",
    "InvertedResidual",
    "MBConv",
    "PadToMultiple",
    "ProgressiveLuongAttention",
]
