"""Predicts masks of image files. Needs no Keras: the model may be an `OnnxModel`."""

import errno
import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rich.progress

from keras_pamunet.data.cache import resize_image
from keras_pamunet.data.image_file import fit_channels, image_files, read_image
from keras_pamunet.data.value_range import check_range
from keras_pamunet.drawing import outline, to_rgb, write_picture
from keras_pamunet.files import make_folder
from keras_pamunet.predictions import Predictions

# Errors of the disk, which the next image would meet again.
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG)


def predict(
    model: Any,
    images: str | Path,
    output: str | Path,
    overlay: bool = False,
    overwrite: bool = False,
    progress: bool = True,
    flips: bool = True,
) -> tuple[list[Path], list[Path]]:
    """Predicts the masks of an image file or of a folder of them.

    A mask appears when it is complete, so the same call goes on after a break. The
    folder's `predictions.json` tells what each mask was made of, see
    `keras_pamunet.predictions.Predictions`.

    Args:
        model: a `PAMUNet` or an `OnnxModel`.
        images: an image file or a folder.
        output: folder for the masks, `<stem>.png` in the size of their image: 0 and
            255, or the labels if the model tells several classes apart.
        overlay: whether to write `<stem>_overlay.png`, too: the image with the
            mask's outline.
        overwrite: whether to write masks anew that are there. By default they are
            kept if they were made of the same image by the same model with the same
            settings, and else an error.
        progress: whether to show a progress bar.
        flips: whether to average over the four mirror images of each image
            (test-time augmentation), for four times the work.

    Returns:
        Paths of the masks that were written, and of those that were there and kept.

    Raises:
        FileNotFoundError: if there is no such file or folder.
        OSError: if the folder cannot be written.
        FloatingPointError: names the model, if its probabilities are NaN.
        ValueError: names the images that could not be read or have another number
            of channels than the model takes; the others are done all the same. Also
            if a mask would take the place of an image or of another mask, or one of
            other origin is there.
    """
    images, output = Path(images), Path(output)
    files = [images] if images.is_file() else image_files(images)
    _check_targets(files, output)
    masks = {output / f"{path.stem}.png": path for path in files}
    make_folder(output)
    predictions = Predictions(output, model, {"flips": flips})
    overlays = {x: x.with_name(f"{x.stem}_overlay.png") for x in masks if overlay}
    kept = predictions.plan(masks, overwrite, overlays)
    bright = 255 if model.activation == "sigmoid" else 1
    written, problems = [], []
    try:
        for mask, path in rich.progress.track(
            [(mask, path) for mask, path in masks.items() if mask not in kept],
            "Predicting",
            disable=not progress,
            transient=True,
        ):
            try:
                image = read_image(path)
                labels = predict_image(model, image, flips)
            except (ValueError, OSError) as error:
                problems.append(f"  {path}: {error}")
                continue
            predictions.confirm(mask)
            try:
                if overlay:  # Before the mask, which says that all is done.
                    picture = outline(to_rgb(image, model.input_range), labels)
                    write_picture(picture, overlays[mask])
                write_picture(labels * bright, mask)
            except (ValueError, OSError) as error:
                if isinstance(error, OSError) and error.errno in DISK_ERRORS:
                    raise
                problems.append(f"  {path}: {error}")
                continue
            written.append(mask)
    finally:
        if overwrite:
            predictions.add(written)
    if problems:
        raise ValueError(
            f"{len(problems)} of {len(files)} images could not be predicted:\n"
            + "\n".join(problems)
        )
    return written, kept


def _check_targets(files, output):
    """Makes sure that no mask takes the place of an image or of another mask."""
    if output.resolve() == files[0].parent.resolve():
        raise ValueError(
            f"Expected another folder for the masks than that of the images, {output}"
        )
    stems = {}
    for path in files:
        for stem in (path.stem, f"{path.stem}_overlay"):
            if stem in stems:
                raise ValueError(
                    "Expected images whose masks get different names. Received: "
                    f"{stems[stem].name} and {path.name}. Rename one of them."
                )
            stems[stem] = path


def predict_image(model: Any, image: np.ndarray, flips: bool = True) -> np.ndarray:
    """Predicts the mask of one image of any size.

    Args:
        model: a `PAMUNet` or an `OnnxModel`. If its input has a fixed size the image
            is resized to it and the probabilities back.
        image: raw values, `(height, width, channels)`.
        flips: see `predict`.

    Returns:
        The labels, `(height, width)` uint8: 0 and 1, or with `"softmax"` the classes.

    Raises:
        ValueError: for another number of channels than the model takes, or pixels
            that are NaN or infinite.
        FloatingPointError: as `predict_batch`.
    """
    check_exclusive(model)
    (probabilities,) = predict_batch(model, fit_image(model, image)[np.newaxis], flips)
    return to_labels(probabilities, image.shape[:2], model.activation)


def check_exclusive(model: Any) -> None:
    """Makes sure that a model has one label for each pixel.

    Raises:
        ValueError: if its classes may overlap.
    """
    if model.activation == "sigmoid" and model.num_classes > 1:
        raise ValueError(
            f"Expected a model of one class, or of activation='softmax'. Received: "
            f"{model.origin} of {model.num_classes} classes that may overlap, of which "
            "there is no one label a pixel. Take its probabilities: model.predict."
        )


def predict_batch(model: Any, images: np.ndarray, flips: bool = True) -> np.ndarray:
    """Probabilities of images that fit the model, with or without flips.

    Args:
        model: a `PAMUNet` or an `OnnxModel`.
        images: raw values, `(batch, height, width, channels)`.
        flips: see `predict`.

    Returns:
        `(batch, height, width, num_classes)`.

    Raises:
        FloatingPointError: names the model, if there are NaN or infinite ones.
    """
    probabilities = np.array(
        predict_flips(model, images) if flips else model.predict_on_batch(images)
    )
    if not np.isfinite(probabilities).all():
        raise FloatingPointError(
            f"Expected probabilities of {model.origin}. Received: NaN. Its weights are "
            "damaged, or its training went wrong."
        )
    return probabilities


def predict_flips(model: Any, images: np.ndarray) -> np.ndarray:
    """Mean of the predictions for the images and their three mirror images.

    Args:
        model: whatever has `predict_on_batch`.
        images: raw values, `(batch, height, width, channels)`.

    Returns:
        Probabilities, `(batch, height, width, num_classes)`, flipped back.
    """
    images = np.asarray(images)
    return np.mean(
        [
            np.flip(model.predict_on_batch(np.flip(images, axes)), axes)
            for axes in ((), 1, 2, (1, 2))
        ],
        axis=0,
    )


def fit_image(model: Any, image: np.ndarray) -> np.ndarray:
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


def input_size(model: Any, size: tuple[int, int]) -> tuple[int, int]:
    """`(height, width)` to resize images of `size` to, where a model's are fixed."""
    return tuple(fixed or own for fixed, own in zip(model.input_shape[1:3], size))


def to_labels(
    probabilities: np.ndarray, size: tuple[int, int], activation: str
) -> np.ndarray:
    """Labels, `size` uint8, of probabilities `(height, width, classes)` of any size."""
    if probabilities.shape[:2] != size:
        probabilities = cv2.resize(probabilities, size[::-1]).reshape(*size, -1)
    if activation == "softmax":
        return np.argmax(probabilities, axis=-1).astype("uint8")
    return (probabilities > 0.5).any(axis=-1).astype("uint8")
