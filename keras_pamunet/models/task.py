"""What a network is for, and the two ends that follow from it."""

import dataclasses
from typing import Any

import keras
from keras import layers, ops

from keras_pamunet.layers import CropLike, PadToMultiple
from keras_pamunet.models.arguments import (
    MAX_CLASSES,
    check_choice,
    to_integer,
    to_range,
    to_shape,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """Images in, masks out: the arguments that all networks have.

    Args:
        input_shape: `(height, width, channels)` of the images. Height and width may
            be `None`.
        num_classes: number of output channels.
        activation: `"sigmoid"` for one mask or overlapping ones, `"softmax"` for
            classes that exclude each other.
        input_range: `(lowest, highest)` value of the images.
        window: of CT, the `(lowest, highest)` HU that became 0 and 255 in the images.
        dtype: dtype or dtype policy of the network.

    Raises:
        ValueError: for an argument out of its domain.
    """

    input_shape: tuple[int | None, int | None, int]
    num_classes: int = 1
    activation: str = "sigmoid"
    input_range: tuple[float, float] = (0, 255)
    window: tuple[float, float] | None = None
    dtype: Any = None

    def __post_init__(self):
        check_choice("activation", self.activation, ("sigmoid", "softmax"))
        self._set(
            input_shape=to_shape(self.input_shape),
            num_classes=to_integer("num_classes", self.num_classes, MAX_CLASSES),
            input_range=to_range("input_range", self.input_range),
        )
        if self.activation == "softmax" and self.num_classes < 2:
            raise ValueError(
                "Expected `num_classes` of 2 or more with activation='softmax', the "
                f"background included. Received: num_classes={self.num_classes}"
            )
        if self.window is not None:
            self._set(window=to_range("window", self.window))
            if self.input_range != (0, 255):
                raise ValueError(
                    "Expected `window` only with input_range=(0, 255), which it maps "
                    f"to. Received: window={self.window}, input_range="
                    f"{self.input_range}"
                )
        try:
            self._set(dtype=keras.dtype_policies.get(self.dtype))
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise ValueError(
                f"Expected a dtype or dtype policy. Received: dtype={self.dtype!r} "
                f"({error})"
            ) from error

    def _set(self, **values):
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def prepare(self, multiple: int = 32) -> tuple[Any, Any]:
        """The network's input, and the input in [-1, 1] padded for its strides.

        Args:
            multiple: of which height and width shall be multiples.

        Returns:
            `(inputs, x)`, tensors of Keras.
        """
        low, high = self.input_range
        inputs = keras.Input(self.input_shape, name="image")
        x = ops.clip(ops.cast(inputs, "float32"), low, high)
        scale, offset = 2 / (high - low), -(high + low) / (high - low)
        x = layers.Rescaling(scale, offset, dtype="float32")(x)
        return inputs, PadToMultiple(multiple, dtype=self.dtype, name="pad")(x)

    def head(self, logits: Any, inputs: Any) -> Any:
        """The network's output: the logits in the images' size, as probabilities.

        Args:
            logits: float32, `(batch, height, width, num_classes)`, padded.
            inputs: the network's input.
        """
        x = CropLike(dtype="float32", name="crop")(logits, inputs)
        return layers.Activation(self.activation, dtype="float32", name="mask")(x)
