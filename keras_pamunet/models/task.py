"""What a network is for, and the two ends that follow from it."""

import dataclasses
from typing import Any

import keras
from keras import layers, ops

from keras_pamunet.layers import CropLike, PadToMultiple
from keras_pamunet.models.arguments import (
    MAX_CLASSES,
    check_choice,
    to_axes,
    to_integer,
    to_names,
    to_range,
    to_shape,
)
from keras_pamunet.targets import MASKS, default_names, label_count


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """Images in, masks out: the arguments that all networks have.

    Args:
        input_shape: `(height, width, channels)` of the images. Height and width may
            be `None`.
        num_classes: number of output channels.
        masks: `"exclusive"` or `"overlapping"`, see `PAMUNet`.
        class_names: names of the labels 1, 2, ..., see `PAMUNet`.
        input_range: `(lowest, highest)` value of the images.
        mirror_axes: of the batch, along which the images may be mirrored.
        dtype: dtype or dtype policy of the network.

    Raises:
        ValueError: for an argument out of its domain.
    """

    input_shape: tuple[int | None, int | None, int]
    num_classes: int = 1
    masks: str = "exclusive"
    class_names: tuple[str, ...] | None = None
    input_range: tuple[float, float] = (0, 255)
    mirror_axes: tuple[int, ...] = (1, 2)
    dtype: Any = None

    def __post_init__(self):
        check_choice("masks", self.masks, MASKS)
        self._set(
            input_shape=to_shape(self.input_shape),
            num_classes=to_integer("num_classes", self.num_classes, MAX_CLASSES),
            input_range=to_range("input_range", self.input_range),
        )
        labels = label_count(self.num_classes, self.masks) - 1 or 1
        self._set(
            class_names=to_names(self.class_names or default_names(labels), labels),
            mirror_axes=to_axes(self.mirror_axes),
        )
        try:
            self._set(dtype=keras.dtype_policies.get(self.dtype))
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise ValueError(
                f"Expected a dtype or dtype policy. Received: dtype={self.dtype!r} "
                f"({error})"
            ) from error

    @property
    def activation(self) -> str:
        """What makes probabilities of the logits."""
        exclusive = self.masks == "exclusive" and self.num_classes > 1
        return "softmax" if exclusive else "sigmoid"

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
