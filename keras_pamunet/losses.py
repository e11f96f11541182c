"""Losses for masks. The paper's own, eq. 6, is Keras' `BinaryCrossentropy`."""

import keras
from keras import ops
from keras.losses import BinaryCrossentropy

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
        y_true: masks of 0 and 1, any dtype, `(batch, height, width, channels)`.
        y_pred: probabilities of the same shape.

    Returns:
        One loss an image, `(batch,)`, reduced as Keras' losses are.

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

    def call(self, y_true, y_pred):
        # Not Keras' default of `y_pred.dtype`: sums of a float16 mask overflow.
        y_true = ops.cast(y_true, "float32")
        y_pred = ops.cast(y_pred, "float32")
        overlap = ops.sum(y_true * y_pred, axis=(1, 2))
        size = ops.sum(y_true, axis=(1, 2)) + ops.sum(y_pred, axis=(1, 2))
        dice = ops.mean((2 * overlap + self.smooth) / (size + self.smooth), axis=-1)
        crossentropy = ops.mean(
            keras.losses.binary_crossentropy(y_true, y_pred), axis=(1, 2)
        )
        return crossentropy + 1 - dice

    def get_config(self):
        return {**super().get_config(), "smooth": self.smooth}
