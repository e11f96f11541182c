"""Layers as the networks put them one behind the other."""

import dataclasses
from typing import Any

from keras import layers

from keras_pamunet.layers import BilinearUpSampling2D, Conv2D


@dataclasses.dataclass(frozen=True)
class Blocks:
    """Layers of one dtype, and of batch normalisation with one momentum.

    Each method applies layers to a tensor of Keras, `(batch, height, width,
    channels)`. Convolutions keep the size, or divide it by `strides`, rounded up.

    Args:
        dtype: dtype policy.
        momentum: of the moving statistics.
        epsilon: what is added to the variance.
    """

    dtype: Any
    momentum: float
    epsilon: float = 1e-3

    def conv(
        self,
        x: Any,
        filters: int,
        kernel_size: int,
        strides: int = 1,
        *,
        name: str,
        use_bias: bool = False,
        **kwargs: Any,
    ) -> Any:
        """A convolution, which takes what else `Conv2D` does."""
        return Conv2D(
            filters,
            kernel_size,
            strides,
            use_bias=use_bias,
            name=name,
            **{
                "padding": "same",
                "data_format": "channels_last",
                "dtype": self.dtype,
                **kwargs,
            },
        )(x)

    def norm(self, x: Any, name: str) -> Any:
        """Batch normalisation."""
        return layers.BatchNormalization(
            epsilon=self.epsilon, momentum=self.momentum, dtype=self.dtype, name=name
        )(x)

    def relu(self, x: Any) -> Any:
        return layers.ReLU(dtype=self.dtype)(x)

    def conv_norm(self, x: Any, *args: Any, name: str, **kwargs: Any) -> Any:
        """`conv`, then batch normalisation of the name with `_bn` behind it."""
        return self.norm(self.conv(x, *args, name=name, **kwargs), f"{name}_bn")

    def conv_norm_relu(self, x: Any, *args: Any, name: str, **kwargs: Any) -> Any:
        return self.relu(self.conv_norm(x, *args, name=name, **kwargs))

    def halve(self, x: Any, name: str | None = None) -> Any:
        """Maximum pooling of 2x2 pixels."""
        return layers.MaxPooling2D(
            data_format="channels_last", dtype=self.dtype, name=name
        )(x)

    def join(self, *tensors: Any, name: str | None = None) -> Any:
        """The channels of all, one behind the other."""
        return layers.Concatenate(dtype=self.dtype, name=name)(list(tensors))

    def add(self, *tensors: Any, name: str | None = None) -> Any:
        return layers.Add(dtype=self.dtype, name=name)(list(tensors))

    def repeat(self, x: Any, name: str) -> Any:
        """Twice as large, each pixel repeated."""
        return layers.UpSampling2D(
            data_format="channels_last", dtype=self.dtype, name=name
        )(x)

    def enlarge(self, x: Any, factor: int, name: str, **kwargs: Any) -> Any:
        """Bilinear interpolation."""
        return BilinearUpSampling2D(
            factor, **{"dtype": self.dtype, "name": name, **kwargs}
        )(x)

    def logits(self, x: Any, num_classes: int, kernel_size: int) -> Any:
        """The convolution that ends a network, in float32."""
        return self.conv(
            x, num_classes, kernel_size, use_bias=True, dtype="float32", name="logits"
        )
