"""Draws pairs of a data set, as they are and augmented."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from keras_pamunet.analysis.figures import contact_sheet, to_rgb
from keras_pamunet.data.augment import Augment


def show(source: Any, output: str | Path, count: int = 8, seed: int = 0) -> None:
    """Writes a contact sheet: image | mask | overlay, and the same augmented.

    Args:
        source: a `Folder` or other source of pairs.
        output: path of the picture, such as `sheet.png`.
        count: number of pairs.
        seed: draws the pairs and the augmentation.

    Raises:
        ValueError: if a pair cannot be read, or the ending of `output` is unknown.
        OSError: if `output` cannot be written.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for index in rng.choice(len(source), min(count, len(source)), replace=False):
        image, mask = source[index]
        low, high = (0, 255) if image.dtype == np.uint8 else (image.min(), image.max())
        value_range = (low, max(high, low + 1))
        changed, changed_mask = Augment(value_range=value_range)(image, mask, rng)
        rows.append(
            [
                (source.names[index], to_rgb(image, value_range), mask),
                ("augmented", to_rgb(changed, value_range), changed_mask),
            ]
        )
    output = Path(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(contact_sheet(rows)).save(output)
