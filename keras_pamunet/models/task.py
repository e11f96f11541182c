"""What a network is for, and the two ends that follow from it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import keras
from keras import layers, ops

from keras_pamunet.layers import CropLike, PadToMultiple
from keras_pamunet.models.arguments import (
    MAX_CLASSES,
    check_choice,
    check_number,
    check_weights_source,
    to_axes,
    to_integer,
    to_names,
    to_range,
    to_shape,
)
from keras_pamunet.targets import MASKS, default_names, label_count

_CHECKS_ONLY = ContextVar("checks_only", default=False)


class Task:
    """Images in, masks out: the arguments that all networks have.

    A network checks its own arguments before it calls `prepare`, see `checks_only`.

    Args:
        input_shape: `(height, width, channels)` of the images. Height and width may
            be `None`.
        num_classes: number of output channels.
        masks: `"exclusive"` or `"overlapping"`, see `PAMUNet`.
        class_names: names of the labels 1, 2, ..., see `PAMUNet`.
        input_range: `(lowest, highest)` value of the images.
        mirror_axes: of the batch, along which the images may be mirrored.
        encoder_weights: of networks that have some, see `PAMUNet`.
        batch_norm_momentum: of the moving statistics of batch normalisation.
        name: of the network.
        trainable: whether its weights are trained.
        dtype: dtype or dtype policy of the network.

    Raises:
        ValueError: for an argument out of its domain.
    """

    def __init__(
        self,
        *,
        input_shape: tuple[int | None, int | None, int],
        num_classes: int = 1,
        masks: str = "exclusive",
        class_names: Sequence[str] | None = None,
        input_range: tuple[float, float] = (0, 255),
        mirror_axes: Sequence[int] = (1, 2),
        encoder_weights: str | Path | None = None,
        batch_norm_momentum: float = 0.9,
        name: str,
        trainable: bool = True,
        dtype: Any = None,
    ):
        check_choice("masks", masks, MASKS)
        self.masks = masks
        self.input_shape = to_shape(input_shape)
        self.num_classes = to_integer("num_classes", num_classes, MAX_CLASSES)
        self.input_range = to_range("input_range", input_range)
        labels = label_count(self.num_classes, masks) - 1 or 1
        self.class_names = to_names(class_names or default_names(labels), labels)
        self.mirror_axes = to_axes(mirror_axes)
        check_weights_source("encoder_weights", encoder_weights)
        check_number("batch_norm_momentum", batch_norm_momentum, 1)
        self.batch_norm_momentum = batch_norm_momentum
        check_choice("trainable", trainable, (True, False))
        self.trainable = trainable
        if not isinstance(name, str) or "/" in name:
            raise ValueError(
                f"Expected a text without / as `name`. Received: name={name!r}"
            )
        self.name = name
        try:
            self.dtype = keras.dtype_policies.get(dtype)
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise ValueError(
                f"Expected a dtype or dtype policy. Received: dtype={dtype!r} ({error})"
            ) from error

    @property
    def activation(self) -> str:
        """What makes probabilities of the logits."""
        exclusive = self.masks == "exclusive" and self.num_classes > 1
        return "softmax" if exclusive else "sigmoid"

    def prepare(self, multiple: int = 32) -> tuple[Any, Any]:
        """The network's input, and the input in [-1, 1] padded for its strides.

        Args:
            multiple: of which height and width shall be multiples.

        Returns:
            `(inputs, x)`, tensors of Keras.

        Raises:
            ValueError: if the images are too small, see `PadToMultiple`.
        """
        low, high = self.input_range
        inputs = keras.Input(self.input_shape, name="image")
        x = ops.clip(ops.cast(inputs, "float32"), low, high)
        scale, offset = 2 / (high - low), -(high + low) / (high - low)
        x = layers.Rescaling(scale, offset, dtype="float32")(x)
        x = PadToMultiple(multiple, dtype=self.dtype, name="pad")(x)
        if _CHECKS_ONLY.get():
            raise _Checked
        return inputs, x

    def head(self, logits: Any, inputs: Any) -> Any:
        """The network's output: the logits in the images' size, as probabilities.

        Args:
            logits: float32, `(batch, height, width, num_classes)`, padded.
            inputs: the network's input.
        """
        x = CropLike(dtype="float32", name="crop")(logits, inputs)
        return layers.Activation(self.activation, dtype="float32", name="mask")(x)


class _Checked(Exception):
    """Ends a constructor once all its arguments are checked."""


@contextmanager
def checks_only() -> Iterator[None]:
    """Ends with the first network that is made in it, before that has any weights.

    Example:

    >>> from keras_pamunet import PAMUNet
    >>> with checks_only():
    ...     PAMUNet(expansion=4, attention="self")
    """
    token = _CHECKS_ONLY.set(True)
    try:
        yield
    except _Checked:
        pass
    finally:
        _CHECKS_ONLY.reset(token)
