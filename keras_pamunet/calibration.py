"""Images that a quantised file's ranges are taken from."""

from pathlib import Path

import numpy as np

from keras_pamunet.data import open_splits
from keras_pamunet.data.image_file import image_files, read_image
from keras_pamunet.data.volumes import holds_volumes
from keras_pamunet.inference.predictor import Predictor, fit_image
from keras_pamunet.targets import label_count

FEWEST, MOST = 10, 100


def read_calibration(
    model: Predictor, folder: str | Path, split: str | None = None
) -> np.ndarray:
    """Reads images to calibrate int8 on.

    Args:
        model: that takes them, of a fixed size.
        folder: of image files; or a data set, of which the training images are taken,
            see `keras_pamunet.data.open_splits`.
        split: of a data set.

    Returns:
        At most 100 images, spread over the folder, `(images, height, width, channels)`
        float32 in the model's size.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if the model takes images of any size, there are fewer than 10
            images, or one cannot be read or is not such as the model takes; names it.
    """
    if None in model.input_shape[1:3]:
        raise ValueError(
            "Expected a size (--size) for int8, which is calibrated on images of one. "
            "Received: a model for images of any size"
        )
    if Path(folder, "images").is_dir() or holds_volumes(folder):
        labels = label_count(model.num_classes, model.masks)
        pairs = open_splits(folder, split, labels)["train"]
        return _stack(model, pairs.names, lambda index: pairs[index][0], folder)
    files = image_files(folder)
    return _stack(model, files, lambda index: read_image(files[index]), folder)


def _stack(model, names, read, folder):
    if len(names) < FEWEST:
        raise ValueError(
            f"Expected at least {FEWEST} images to calibrate on. Received: "
            f"{len(names)} in {folder}"
        )
    images = []
    for index in np.linspace(0, len(names) - 1, min(len(names), MOST)).astype(int):
        try:
            images.append(fit_image(model, read(index)))
        except ValueError as error:
            raise ValueError(f"Cannot calibrate on {names[index]}: {error}") from error
    return np.stack(images).astype("float32")
