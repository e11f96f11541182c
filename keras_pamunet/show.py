"""Draws pairs of a data set, and what a model's attention does to an image."""

from pathlib import Path

import keras
import numpy as np

from keras_pamunet.analysis.attention_maps import gate_maps
from keras_pamunet.data.augment import Augment
from keras_pamunet.data.image_file import read_image
from keras_pamunet.data.pairs import Pairs
from keras_pamunet.drawing import check_suffix, own_range, to_rgb, write_picture
from keras_pamunet.figures import attention_sheet, contact_sheet
from keras_pamunet.inference.predictor import fit_image


def show(source: Pairs, output: str | Path, count: int = 8, seed: int = 0) -> None:
    """Writes a contact sheet: image | mask | overlay, and the same augmented.

    Args:
        source: a `Folder` or other source of pairs.
        output: path of the picture, such as `sheet.png`.
        count: number of pairs.
        seed: draws the pairs and the augmentation.

    Raises:
        ValueError: if there is no pair or one cannot be read, the ending of `output`
            is unknown, or it is a file of the source.
        OSError: if `output` cannot be written.
    """
    check_suffix(output)
    _check_other(output, getattr(source, "files", ()))
    if not len(source):
        raise ValueError("Expected pairs to show. Received: none")
    rng = np.random.default_rng(seed)
    rows = []
    for index in rng.choice(len(source), min(count, len(source)), replace=False):
        image, mask = source[index]
        value_range = own_range(image)
        changed, changed_mask = Augment(value_range=value_range)(image, mask, rng)
        rows.append(
            [
                (source.names[index], to_rgb(image, value_range), mask),
                ("augmented", to_rgb(changed, value_range), changed_mask),
            ]
        )
    write_picture(contact_sheet(rows), output)


def show_attention(
    model: keras.Model,
    image: str | Path,
    output: str | Path,
    pixel: tuple[int, int] | None = None,
) -> None:
    """Draws what each of a model's gates does to an image.

    Args:
        model: a `PAMUNet` with attention.
        image: path of the image, which is resized to what the model takes.
        output: path of the picture, such as `attention.png`, with a row for each gate
            (see `keras_pamunet.figures.attention_sheet`).
        pixel: `(row, column)` in the image; whom the last map belongs to. Defaults to
            the pixel in the middle.

    Raises:
        ValueError: for an image that cannot be read or that the model does not take, a
            pixel outside it, a model without attention, and an `output` that is the
            image itself or has an unknown ending.
        OSError: if `output` cannot be written.
    """
    check_suffix(output)
    _check_other(output, [image])
    original = read_image(image)
    seen = fit_image(model, original)
    size = original.shape[:2]
    row, column = pixel or (size[0] // 2, size[1] // 2)
    if not (0 <= row < size[0] and 0 <= column < size[1]):
        raise ValueError(
            f"Expected a pixel in {image}, {size[0]} rows x {size[1]} columns. "
            f"Received: row {row}, column {column}"
        )
    seen_pixel = row * seen.shape[0] // size[0], column * seen.shape[1] // size[1]
    maps = gate_maps(model, seen, seen_pixel)
    picture = to_rgb(original, model.input_range)
    sheet = attention_sheet(picture, maps, (row, column))
    write_picture(sheet, output)


def _check_other(output, images):
    """Makes sure that a picture takes no image's place."""
    output = Path(output)
    for image in images if output.exists() else ():
        if Path(image).exists() and output.samefile(image):
            raise ValueError(f"Expected another file than the image itself, {image}")
