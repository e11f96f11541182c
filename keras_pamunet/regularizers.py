"""Regularisers of PAM-UNet."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_pamunet")
class AttentionVariance(keras.regularizers.Regularizer):
    """Penalises attention maps whose scores differ much (eq. 7).

    `ProgressiveLuongAttention` calls it with the variance of each image's scores
    and adds the result to the model's loss.

    Args:
        factor: the lambda of eq. 8.

    Raises:
        ValueError: if `factor` is negative or NaN.

    Example:

    >>> regularizer = keras_pamunet.regularizers.AttentionVariance(0.5)
    >>> float(regularizer(keras.ops.array([0.125, 0.375])))  # 0.5 * 0.25
    0.125

    Reference:
        - PAM-UNet, arXiv 2405.01503, eqs. 7 and 8.
    """

    def __init__(self, factor: float = 0.01):
        if not factor >= 0:
            raise ValueError(
                "Invalid value for argument `factor`. Expected a number of 0 or "
                f"more. Received: factor={factor!r}"
            )
        self.factor = float(factor)

    def __call__(self, score_variance: Any) -> Any:
        """Returns `factor` times the mean of `score_variance`, shape `(batch,)`."""
        return self.factor * ops.mean(score_variance)

    def get_config(self) -> dict:
        return {"factor": self.factor}
