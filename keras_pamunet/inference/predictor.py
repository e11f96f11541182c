"""Finds objects in images. Needs no Keras: the model may be an `OnnxModel`."""

import warnings
from collections.abc import Sequence
from itertools import chain, combinations
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from keras_pamunet.data.image_file import fit_channels, read_image
from keras_pamunet.data.resized import resize_image
from keras_pamunet.data.value_range import check_range
from keras_pamunet.inference.object_finder import ObjectFinder
from keras_pamunet.inference.segmentation import Segmentation
from keras_pamunet.targets import flat, to_layers


class Predictor(Protocol):
    """What prediction asks of a model: a `Segmenter` or an `OnnxModel`.

    Attributes:
        input_shape: `(batch, height, width, channels)`, `None` where any will do.
        num_classes: channels of what it predicts.
        masks: `"exclusive"` or `"overlapping"`, see `keras_pamunet.PAMUNet`.
        class_names: of the labels 1, 2, ...
        input_range: `(lowest, highest)` value of the images.
        mirror_axes: along which images may be mirrored.
        activation: `"sigmoid"` or, of classes that exclude each other, `"softmax"`.
        attention: kind of its gates that can be looked at, `None` without.
        origin: where it is from, for messages.
        fingerprint: SHA-256 of what it predicts by.
        runtime: what it runs on: versions by name, and the `device`.
    """

    input_shape: tuple[int | None, int | None, int | None, int]
    num_classes: int
    masks: str
    class_names: tuple[str, ...]
    input_range: tuple[float, float]
    mirror_axes: tuple[int, ...]
    attention: str | None
    origin: str
    runtime: dict[str, str]

    @property
    def activation(self) -> str: ...

    @property
    def fingerprint(self) -> str: ...

    def predict_on_batch(self, images: np.ndarray) -> np.ndarray:
        """Probabilities, `(batch, height, width, num_classes)`, of raw images."""
        ...


def segment(
    model: Predictor,
    image: str | Path | np.ndarray,
    *,
    flips: bool = True,
    threshold: float = 0.5,
    min_area: int = 0,
) -> Segmentation:
    """Finds the objects in one image of any size.

    Args:
        model: a `Segmenter` or an `OnnxModel`. If its input has a fixed size the image
            is resized to it and the probabilities back.
        image: a file's path, or raw values, `(height, width, channels)` or
            `(height, width)` of a grey image.
        flips: whether to average over the mirror images along the model's
            `mirror_axes` (test-time augmentation): four of two axes, for four times
            the work.
        threshold: lowest probability of an object, and of each of several classes
            that overlap. Among classes that exclude each other the likeliest is
            taken.
        min_area: pixels. Smaller objects are left out.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged, for another number of channels than the
            model takes, pixels that are NaN or infinite, and a threshold that is not
            between 0 and 1 or given to a model whose classes exclude each other.
        FloatingPointError: as `predict_batch`.
    """
    check_threshold(model, threshold)
    if isinstance(image, str | Path):
        image = read_image(image)
    image = np.asarray(image)
    if image.ndim == 2:
        image = image[..., np.newaxis]
    (probabilities,) = predict_batch(model, fit_image(model, image)[np.newaxis], flips)
    return to_segmentation(model, image, probabilities, threshold, min_area)


def to_segmentation(
    model: Predictor,
    image: np.ndarray,
    probabilities: np.ndarray,
    threshold: float = 0.5,
    min_area: int = 0,
) -> Segmentation:
    """What probabilities of the model's size say of an image of its own size.

    Args:
        model: whose probabilities they are.
        image: raw values, `(height, width, channels)`.
        probabilities: `(height, width, num_classes)` of any size.
        threshold: see `segment`.
        min_area: see `segment`.
    """
    probabilities = resize_probabilities(probabilities, image.shape[:2])
    layers, objects = [], []
    for labels, own in to_layers(probabilities, model.masks, threshold):
        finder = ObjectFinder(min_area)
        finder.add(labels, own)
        layers.append(finder.clean(0, labels))
        objects += finder.objects()
    return Segmentation(
        image=image,
        mask=flat(layers),
        layers=layers,
        probabilities=probabilities,
        objects=objects,
        input_range=model.input_range,
        class_names=model.class_names,
    )


def check_threshold(model: Predictor, threshold: float) -> None:
    """Makes sure that a threshold fits a model.

    Raises:
        ValueError: if it is not between 0 and 1, or the model's classes exclude each
            other.
    """
    if not 0 < threshold < 1:
        raise ValueError(
            f"Expected a threshold between 0 and 1. Received: threshold={threshold}"
        )
    exclusive = model.masks == "exclusive" and model.num_classes > 1
    if exclusive and threshold != 0.5:
        raise ValueError(
            f"Expected no threshold for {model.origin}, whose classes exclude each "
            f"other: the likeliest is taken. Received: threshold={threshold}"
        )


def predict_batch(
    model: Predictor, images: np.ndarray, flips: bool = True
) -> np.ndarray:
    """Probabilities of images that fit the model, with or without flips.

    Args:
        model: a `Segmenter` or an `OnnxModel`.
        images: raw values, `(batch, height, width, channels)`.
        flips: see `segment`.

    Returns:
        `(batch, height, width, num_classes)`.

    Raises:
        FloatingPointError: names the model, if there are NaN or infinite ones.
    """
    probabilities = np.array(
        predict_flips(model, images, model.mirror_axes)
        if flips
        else model.predict_on_batch(images)
    )
    if not np.isfinite(probabilities).all():
        raise FloatingPointError(
            f"Expected probabilities of {model.origin}. Received: NaN. Its weights are "
            "damaged, or its training went wrong."
        )
    return probabilities


def predict_flips(
    model: Predictor, images: np.ndarray, axes: Sequence[int] = (1, 2)
) -> np.ndarray:
    """Mean of the predictions for the images and their mirror images.

    Args:
        model: whatever has `predict_on_batch`.
        images: raw values, `(batch, height, width, channels)`.
        axes: along which the images are mirrored, each by itself and all together.

    Returns:
        Probabilities, `(batch, height, width, num_classes)`, flipped back.
    """
    images = np.asarray(images)
    sets = chain.from_iterable(
        combinations(axes, count) for count in range(len(axes) + 1)
    )
    return np.mean(
        [
            np.flip(model.predict_on_batch(np.flip(images, chosen)), chosen)
            for chosen in sets
        ],
        axis=0,
    )


def fit_image(model: Predictor, image: np.ndarray) -> np.ndarray:
    """Resizes an image `(height, width, channels)` to what a model takes.

    Grey becomes RGB, equal channels become grey, and opacity is left out; see
    `keras_pamunet.data.image_file.fit_channels`.

    Raises:
        ValueError: for any other number of channels than the model takes, pixels that
            are NaN or infinite, or see `check_range`.

    Warns:
        UserWarning: if the image had another number of channels.
    """
    channels = model.input_shape[-1]
    fitted = fit_channels(image, channels)
    if fitted is not image:
        warnings.warn(
            f"An image of {image.shape[2]} channels is converted to the {channels} of "
            "the model, as are others like it.",
            stacklevel=2,
        )
        image = fitted
    if image.dtype.kind == "f" and not np.isfinite(image).all():
        raise ValueError("Expected finite pixels. Received: NaN or infinite pixels")
    check_range(image, model.input_range)
    return resize_image(image, input_size(model, image.shape[:2]))


def input_size(model: Predictor, size: tuple[int, int]) -> tuple[int, int]:
    """`(height, width)` to resize images of `size` to, where a model's are fixed."""
    height, width = (fixed or own for fixed, own in zip(model.input_shape[1:3], size))
    return height, width


def resize_probabilities(
    probabilities: np.ndarray, size: tuple[int, int]
) -> np.ndarray:
    """Probabilities `(height, width, classes)` of another size, between pixels."""
    if probabilities.shape[:2] == size:
        return probabilities
    return cv2.resize(probabilities, size[::-1]).reshape(*size, -1)


def resize_labels(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Labels `(height, width)` of another size, with smooth borders."""
    classes = np.arange(int(labels.max()) + 1)
    one_hot = (labels[..., np.newaxis] == classes).astype("float32")
    return np.argmax(resize_probabilities(one_hot, size), axis=-1).astype("uint8")
