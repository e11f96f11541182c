"""Metrics of masks: Dice, IoU, recall and precision, per image or pooled."""

from typing import Any

import keras
from keras import ops

from keras_pamunet.masks import check_masks


class MaskMetric(keras.metrics.Metric):
    """Base class of the metrics that are ratios of pixel counts.

    Args:
        threshold: a pixel is in the mask where its probability is above it. `None`
            takes the most probable channel instead (softmax).
        reduction: `"image"` scores every image and channel and averages the scores,
            as papers do; `"pooled"` adds up the pixels of all images first.
        empty_score: score where truth and prediction are both empty. `None` leaves
            such an image out of the mean. If only one of them is empty the score
            is 0.
        target_class_ids: channels to look at. Defaults to all of them.

    Call arguments:
        y_true: masks of 0 and 1 (or False and True), any dtype,
            `(batch, height, width, channels)`, or of volumes
            `(batch, slices, height, width, channels)`.
        y_pred: probabilities of the same shape.
        sample_weight: a weight for each image, `(batch,)`, or for each pixel,
            `(batch, height, width)`, with a last axis of 1 or of the masks' shape.

    Raises:
        ValueError: if `reduction` is unknown; when called, for masks and predictions
            of different shapes, and for arrays of other values than 0 to 1.
    """

    def __init__(
        self,
        threshold: float | None = 0.5,
        reduction: str = "image",
        empty_score: float | None = 1.0,
        target_class_ids: list[int] | None = None,
        name: str | None = None,
        dtype=None,
    ):
        super().__init__(name=name or type(self).__name__.lower(), dtype=dtype)
        if reduction not in ("image", "pooled"):
            raise ValueError(
                "Invalid value for argument `reduction`. Expected one of "
                f"('image', 'pooled'). Received: reduction={reduction!r}"
            )
        self.threshold = threshold
        self.reduction = reduction
        self.empty_score = empty_score
        self.target_class_ids = target_class_ids
        self._direction = "up"  # For callbacks: a higher score is better.
        # "image": the scores and their weights; "pooled": the ratio's two sides, and
        # the pixels of either mask.
        self.numerator = self.add_variable((), "zeros", name="numerator")
        self.denominator = self.add_variable((), "zeros", name="denominator")
        self.union = self.add_variable((), "zeros", name="union")

    def ratio(self, both: Any, only_true: Any, only_pred: Any) -> tuple[Any, Any]:
        """Numerator and denominator of the score from counts of pixels."""
        raise NotImplementedError  # The base class has none; each metric has.

    def update_state(self, y_true, y_pred, sample_weight=None):
        pixel_weight = image_weight = None
        if sample_weight is not None:
            sample_weight = ops.cast(ops.convert_to_tensor(sample_weight), "float32")
            if len(sample_weight.shape) < 3:
                image_weight = ops.reshape(sample_weight, (-1, 1))
            else:
                pixel_weight = sample_weight
        counts = self._counts(y_true, y_pred, pixel_weight)
        if self.reduction == "pooled":
            if image_weight is not None:
                counts = [count * image_weight for count in counts]
            counts = [ops.sum(count) for count in counts]
            numerator, denominator = self.ratio(*counts)
            self.union.assign_add(sum(counts))
        else:
            scores, weights = self._scores(counts)
            if pixel_weight is not None:
                axes = tuple(range(1, len(pixel_weight.shape)))
                seen = ops.any(pixel_weight > 0, axis=axes)
                weights = weights * ops.cast(seen, "float32")[:, None]
            if image_weight is not None:
                weights = weights * image_weight
            numerator, denominator = ops.sum(scores * weights), ops.sum(weights)
        self.numerator.assign_add(numerator)
        self.denominator.assign_add(denominator)

    def image_scores(self, y_true: Any, y_pred: Any) -> Any:
        """Scores of single images, `(batch, channels)`; NaN where left out.

        Raises:
            ValueError: for masks and predictions of different shapes.
        """
        scores, weights = self._scores(self._counts(y_true, y_pred))
        return ops.where(weights > 0, scores, float("nan"))

    def result(self):
        score = self.numerator / ops.maximum(self.denominator, 1e-7)
        if self.reduction == "image" or not self.empty_score:
            return score
        return ops.where(self.union > 0, score, self.empty_score)

    def _counts(self, y_true, y_pred, pixel_weight=None):
        check_masks(y_true)
        y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        sides = list(zip(y_true.shape, y_pred.shape))
        if (
            len(y_true.shape) < 3
            or len(y_pred.shape) != len(y_true.shape)
            or any(one != other for one, other in sides if None not in (one, other))
        ):
            raise ValueError(
                "Expected masks and predictions of one shape (batch, height, width, "
                "channels), or with slices. Received: y_true of shape "
                f"{tuple(y_true.shape)}, y_pred of shape {tuple(y_pred.shape)}"
            )
        y_true = ops.cast(y_true, "float32")
        y_pred = ops.cast(y_pred, "float32")
        if self.threshold is None:
            y_pred = ops.one_hot(ops.argmax(y_pred, axis=-1), y_pred.shape[-1])
        else:
            y_pred = ops.cast(y_pred > self.threshold, "float32")
        if self.target_class_ids is not None:
            y_true = ops.take(y_true, self.target_class_ids, axis=-1)
            y_pred = ops.take(y_pred, self.target_class_ids, axis=-1)
        weight = 1.0
        if pixel_weight is not None:
            weight = pixel_weight
            if len(weight.shape) < len(y_true.shape):
                weight = ops.expand_dims(weight, -1)
            elif self.target_class_ids is not None and weight.shape[-1] > 1:
                weight = ops.take(weight, self.target_class_ids, axis=-1)
        return [
            ops.sum(part * weight, axis=tuple(range(1, len(y_true.shape) - 1)))
            for part in (
                y_true * y_pred,
                y_true * (1 - y_pred),
                (1 - y_true) * y_pred,
            )
        ]

    def _scores(self, counts):
        numerator, denominator = self.ratio(*counts)
        union = sum(counts)
        # Recall of an empty truth and precision of an empty prediction are 0 / 0:
        # where the other mask is not empty that is a miss, 0.
        scores = ops.where(
            denominator > 0, numerator / ops.maximum(denominator, 1e-7), 0.0
        )
        if self.empty_score is None:
            return scores, ops.cast(union > 0, "float32")
        return ops.where(union > 0, scores, self.empty_score), ops.ones_like(scores)

    def get_config(self):
        return {
            **super().get_config(),
            "threshold": self.threshold,
            "reduction": self.reduction,
            "empty_score": self.empty_score,
            "target_class_ids": self.target_class_ids,
        }


@keras.saving.register_keras_serializable(package="keras_pamunet")
class Dice(MaskMetric):
    """Dice coefficient, `2 TP / (2 TP + FN + FP)`; arguments as in `MaskMetric`.

    Example:

    >>> model.compile(metrics=[keras_pamunet.metrics.Dice()])
    """

    def ratio(self, both, only_true, only_pred):
        return 2 * both, 2 * both + only_true + only_pred


@keras.saving.register_keras_serializable(package="keras_pamunet")
class IoU(MaskMetric):
    """Intersection over union, `TP / (TP + FN + FP)`; arguments as in `MaskMetric`.

    Example:

    >>> model.compile(metrics=[keras_pamunet.metrics.IoU(reduction="pooled")])
    """

    def ratio(self, both, only_true, only_pred):
        return both, both + only_true + only_pred


@keras.saving.register_keras_serializable(package="keras_pamunet")
class Recall(MaskMetric):
    """Share of the true mask that was found, `TP / (TP + FN)`.

    Arguments as in `MaskMetric`.

    Example:

    >>> model.compile(metrics=[keras_pamunet.metrics.Recall()])
    """

    def ratio(self, both, only_true, only_pred):
        return both, both + only_true


@keras.saving.register_keras_serializable(package="keras_pamunet")
class Precision(MaskMetric):
    """Share of the predicted mask that is true, `TP / (TP + FP)`.

    Arguments as in `MaskMetric`.

    Example:

    >>> model.compile(metrics=[keras_pamunet.metrics.Precision()])
    """

    def ratio(self, both, only_true, only_pred):
        return both, both + only_pred


def fitting(activation: str, num_classes: int) -> list[MaskMetric]:
    """New metrics that fit a network's output: Dice, IoU, recall and precision.

    Of classes that exclude each other they leave out the first, the background.

    Args:
        activation: the output's, `"sigmoid"` or, of classes that exclude each other,
            `"softmax"`.
        num_classes: channels of the output.
    """
    kinds = (Dice, IoU, Recall, Precision)
    if activation == "sigmoid":
        return [kind() for kind in kinds]
    objects = list(range(1, num_classes))
    return [kind(threshold=None, target_class_ids=objects) for kind in kinds]
