"""Predicts masks of image files. Needs no Keras: the model may be an `OnnxModel`."""

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rich.progress
from PIL import Image

from keras_pamunet.analysis.figures import outline, to_rgb
from keras_pamunet.data.cache import resize_image
from keras_pamunet.data.image_file import image_files, read_image


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

    A mask appears when it is complete, so the same call goes on after a break.

    Args:
        model: a `PAMUNet` or an `OnnxModel`.
        images: an image file or a folder.
        output: folder for the masks, `<stem>.png` in the size of their image: 0 and
            255, or the labels if the model tells several classes apart.
        overlay: whether to write `<stem>_overlay.png`, too: the image with the
            mask's outline.
        overwrite: whether to write masks anew that are there. By default they are
            kept in a folder, and an error for one image.
        progress: whether to show a progress bar.
        flips: whether to average over the four mirror images of each image
            (test-time augmentation), for four times the work.

    Returns:
        Paths of the masks that were written, and of those that were there and kept.

    Raises:
        FileNotFoundError: if there is no such file or folder.
        FileExistsError: if the mask of a single image is there.
        OSError: if the folder cannot be written.
        ValueError: names the images that could not be read or have another number
            of channels than the model takes; the others are done all the same. Also
            if a mask would take the place of an image or of another mask.
    """
    images, output = Path(images), Path(output)
    files = [images] if images.is_file() else image_files(images)
    _check_targets(files, output)
    targets = {path: output / f"{path.stem}.png" for path in files}
    kept = masks_to_keep(targets.values(), images.is_file(), overwrite)
    make_folder(output)
    written, problems = [], []
    for path in rich.progress.track(
        [path for path in files if targets[path] not in kept],
        "Predicting",
        disable=not progress,
        transient=True,
    ):
        try:
            image = read_image(path)
            mask = predict_image(model, image, flips)
        except ValueError as error:
            problems.append(f"  {path}: {error}")
            continue
        if overlay:  # Before the mask, which says that all is done.
            picture = outline(to_rgb(image, model.input_range), mask)
            Image.fromarray(picture).save(output / f"{path.stem}_overlay.png")
        bright = 255 if model.activation == "sigmoid" else 1
        with written_aside(targets[path]) as temporary:
            Image.fromarray(mask * bright).save(temporary)
        written.append(targets[path])
    if problems:
        raise ValueError(
            f"{len(problems)} of {len(files)} images could not be predicted:\n"
            + "\n".join(problems)
        )
    return written, kept


def masks_to_keep(masks: Iterable[Path], single: bool, overwrite: bool) -> list[Path]:
    """Those of the masks that are there, and not to be written anew.

    Raises:
        FileExistsError: if there is such a one and it is the `single` mask.
    """
    kept = [] if overwrite else [path for path in masks if path.exists()]
    if kept and single:
        raise FileExistsError(
            f"Expected a new file for the mask. Received: {kept[0]}, which exists. "
            "Name another, or overwrite it (--overwrite)."
        )
    return kept


def make_folder(folder: Path) -> None:
    """Makes a folder, and fails before long work if nothing can be written there.

    Raises:
        OSError: in that case.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise OSError(
            f"Expected a folder that can be written. Received: {folder} "
            f"({error.strerror}). Name another."
        ) from error


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """A path to write to; once that is done, the file takes the place of `path`."""
    temporary = path.with_name(f".partial-{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


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
    """
    inputs = fit_image(model, image)[np.newaxis]
    batch = predict_flips(model, inputs) if flips else model.predict_on_batch(inputs)
    return to_labels(np.array(batch[0]), image.shape[:2], model.activation)


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

    Raises:
        ValueError: for another number of channels than the model takes, pixels that
            are NaN or infinite, or see `check_range`.
    """
    channels = model.input_shape[-1]
    if image.ndim != 3 or image.shape[2] != channels:
        raise ValueError(
            f"Expected an image of shape (height, width, {channels}). Received: shape "
            f"{image.shape}"
        )
    if image.dtype.kind == "f" and not np.isfinite(image).all():
        raise ValueError("Expected finite pixels. Received: NaN or infinite pixels")
    check_range(image, model.input_range)
    return resize_image(image, input_size(model, image.shape[:2]))


def input_size(model: Any, size: tuple[int, int]) -> tuple[int, int]:
    """`(height, width)` to resize images of `size` to, where a model's are fixed."""
    return tuple(fixed or own for fixed, own in zip(model.input_shape[1:3], size))


def check_range(image: np.ndarray, input_range: tuple[float, float]) -> None:
    """Makes sure that an image is not all white to a model of 8-bit images.

    Raises:
        ValueError: if the model takes values up to 255 and the image has larger ones.
    """
    if tuple(input_range) == (0, 255) and image.dtype != "uint8" and image.max() > 255:
        raise ValueError(
            "Expected images of 8 bits, as the model was made for input_range=(0, 255)."
            f" Received: {image.dtype} values up to {image.max():g}"
        )


def to_labels(
    probabilities: np.ndarray, size: tuple[int, int], activation: str
) -> np.ndarray:
    """Labels, `size` uint8, of probabilities `(height, width, classes)` of any size."""
    if probabilities.shape[:2] != size:
        probabilities = cv2.resize(probabilities, size[::-1]).reshape(*size, -1)
    if activation == "softmax":
        return np.argmax(probabilities, axis=-1).astype("uint8")
    return (probabilities > 0.5).any(axis=-1).astype("uint8")
