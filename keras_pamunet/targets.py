"""Turns labels into the targets of a network, and probabilities into labels."""

import numpy as np

MASKS = ("exclusive", "overlapping")


def label_count(num_classes: int, masks: str) -> int:
    """How many labels masks in files have for a network, the `num_classes` of sources.

    Args:
        num_classes: channels of the network's output.
        masks: `"exclusive"` or `"overlapping"`.
    """
    if masks == "overlapping" and num_classes > 1:
        return num_classes + 1
    return num_classes


def check_labels(mask: np.ndarray, num_classes: int) -> None:
    """Makes sure that a mask has the values that a network learns.

    Raises:
        ValueError: if it has labels beyond those of the classes.
    """
    top = max(num_classes - 1, 1)
    if mask.size and not (mask.min() >= 0 and mask.max() <= top):
        raise ValueError(
            f"Expected labels from 0 to {top}. Received: {mask.min()} to {mask.max()}"
        )


def to_targets(
    labels: np.ndarray, num_classes: int, masks: str = "exclusive"
) -> np.ndarray:
    """The targets of a network: a channel of 0 and 1 for each class.

    Args:
        labels: of any shape, 0 the background.
        num_classes: channels of the network's output.
        masks: `"exclusive"`: a channel for each label, the background's the first;
            of one class the labels themselves, 0 and 1. `"overlapping"`: a channel for
            each label but the background's, and what has a label belongs to the
            classes before it, too, as a tumour (2) belongs to its liver (1).

    Returns:
        uint8 of 0 and 1, `(..., num_classes)`.

    Raises:
        ValueError: for labels beyond the classes.
    """
    check_labels(labels, label_count(num_classes, masks))
    if masks == "overlapping":
        return (labels[..., np.newaxis] > np.arange(num_classes)).astype("uint8")
    if num_classes == 1:
        return labels[..., np.newaxis]
    return np.eye(num_classes, dtype="uint8")[labels]


def to_layers(
    probabilities: np.ndarray, masks: str = "exclusive", threshold: float = 0.5
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Turns probabilities into labels, of overlapping classes each by itself.

    Args:
        probabilities: `(..., num_classes)`.
        masks: see `to_targets`.
        threshold: of a single class, and of overlapping ones. Of several that exclude
            each other the likeliest is taken.

    Returns:
        Pairs of uint8 labels, 0 the background, and the probability of each pixel's
        own: one for all classes, or one for each class that may overlap others.
    """
    num_classes = probabilities.shape[-1]
    if masks == "exclusive" and num_classes > 1:
        labels = np.argmax(probabilities, axis=-1).astype("uint8")
        return [(labels, probabilities.max(axis=-1))]
    return [
        ((channel > threshold) * np.uint8(label), channel)
        for label, channel in enumerate(np.moveaxis(probabilities, -1, 0), 1)
    ]


def own_probabilities(
    probabilities: np.ndarray, labels: np.ndarray, masks: str = "exclusive"
) -> np.ndarray:
    """The probability that each pixel belongs to the class of its label.

    Args:
        probabilities: `(..., num_classes)`.
        labels: `(...)`, 0 the background, whose own is undefined.
        masks: see `to_targets`.
    """
    with_background = masks == "exclusive" and probabilities.shape[-1] > 1
    channels = labels if with_background else np.maximum(labels, 1) - 1
    index = channels[..., np.newaxis].astype(int)
    return np.take_along_axis(probabilities, index, axis=-1)[..., 0]


def to_labels(
    probabilities: np.ndarray, masks: str = "exclusive", threshold: float = 0.5
) -> np.ndarray:
    """Turns probabilities into labels, of overlapping classes the last that is found.

    See `to_layers` for arguments.
    """
    return flat([labels for labels, _ in to_layers(probabilities, masks, threshold)])


def flat(layers: list[np.ndarray]) -> np.ndarray:
    """One array of labels of several: the highest."""
    return layers[0] if len(layers) == 1 else np.max(layers, axis=0)


def is_class(layers: list[np.ndarray], label: int) -> np.ndarray:
    """Where a class is in any of the layers."""
    return flat([layer == label for layer in layers])


def of_objects(probabilities: np.ndarray, masks: str = "exclusive") -> np.ndarray:
    """The probability of each pixel to belong to any object."""
    if masks == "exclusive" and probabilities.shape[-1] > 1:
        return 1 - probabilities[..., 0]
    return probabilities.max(axis=-1)


def default_names(count: int) -> tuple[str, ...]:
    """Names of classes for which none are given."""
    if count == 1:
        return ("object",)
    return tuple(f"class {number}" for number in range(1, count + 1))
