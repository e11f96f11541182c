"""Losses for masks. The paper's own, eq. 6, is Keras' `BinaryCrossentropy`."""

from typing import Any

import keras
from keras import ops
from keras.losses import BinaryCrossentropy

from keras_pamunet.masks import check_masks

__all__ = ["BinaryCrossentropy", "DiceBCE"]


@keras.saving.register_keras_serializable(package="keras_pamunet")
class DiceBCE(keras.losses.Loss):
    """Binary cross-entropy plus soft Dice loss, both per image.

    `BCE + 1 - (2 * sum(t * p) + smooth) / (sum(t) + sum(p) + smooth)`, the sums
    over an image's pixels, the mean over its channels. Unlike `keras.losses.Dice`
    it looks at each image for itself, so that a small object counts as much as a
    large one.

    Args:
        smooth: keeps the Dice term defined where truth and prediction are empty.

    Call arguments:
        y_true: masks of 0 and 1, any dtype, `(batch, height, width, channels)`, or of
            volumes `(batch, slices, height, width, channels)`. A last axis of 1 may be
            left out.
        y_pred: probabilities of the same shape.
        sample_weight: a weight for each image, `(batch,)`, by which its loss is
            multiplied; or for each pixel, `(batch, height, width)`, `(batch, height,
            width, 1)` or of the masks' shape. Those multiply the cross-entropy, whose
            mean is still over all pixels, and each pixel in the three sums: pixels of
            weight 0 are ignored, and images of them have the loss 0.

    Returns:
        One loss an image, `(batch,)`, reduced as Keras' losses are.

    Raises:
        ValueError: when called, for masks and predictions of different shapes, and
            for arrays of other values than 0 to 1.

    Example:

    >>> model.compile(optimizer="adamw", loss=keras_pamunet.losses.DiceBCE())
    """

    def __init__(
        self,
        smooth: float = 1.0,
        reduction: str = "sum_over_batch_size",
        name: str = "dice_bce",
        dtype=None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.smooth = smooth

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        check_masks(y_true)
        if sample_weight is None:
            return super().__call__(y_true, y_pred)
        sample_weight = ops.convert_to_tensor(sample_weight)
        if all(side == 1 for side in sample_weight.shape[1:]):
            sample_weight = ops.reshape(sample_weight, (-1,))
            return super().__call__(y_true, y_pred, sample_weight)
        # Keras would multiply the images' losses, in which pixels are summed up.
        return super().__call__((y_true, sample_weight), y_pred)

    def call(self, y_true, y_pred):
        y_true, weight = y_true if isinstance(y_true, tuple) else (y_true, None)
        if len(y_true.shape) == len(y_pred.shape) - 1 and y_pred.shape[-1] == 1:
            y_true = ops.expand_dims(y_true, -1)
        sides = zip(y_true.shape, y_pred.shape)
        if len(y_true.shape) != len(y_pred.shape) or any(
            one != other for one, other in sides if None not in (one, other)
        ):
            raise ValueError(
                "Expected masks and predictions of one shape (batch, height, width, "
                "channels), or with slices. Received: y_true of shape "
                f"{tuple(y_true.shape)}, y_pred of shape {tuple(y_pred.shape)}"
            )
        # Not Keras' default of `y_pred.dtype`: sums of a float16 mask overflow.
        y_true = ops.cast(y_true, "float32")
        y_pred = ops.cast(y_pred, "float32")
        crossentropy = ops.binary_crossentropy(y_true, y_pred)
        true, pred, both = y_true, y_pred, y_true * y_pred
        if weight is not None:
            weight = ops.cast(weight, "float32")
            if len(weight.shape) < len(y_true.shape):
                weight = ops.expand_dims(weight, -1)
            crossentropy, true, pred, both = (
                x * weight for x in (crossentropy, true, pred, both)
            )
        pixels = tuple(range(1, len(y_true.shape) - 1))
        overlap, size = ops.sum(both, pixels), ops.sum(true, pixels)
        size = size + ops.sum(pred, pixels)
        dice = ops.mean((2 * overlap + self.smooth) / (size + self.smooth), axis=-1)
        return ops.mean(crossentropy, axis=(*pixels, -1)) + 1 - dice

    def get_config(self):
        return {**super().get_config(), "smooth": self.smooth}
