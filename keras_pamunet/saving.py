"""Models as bytes, so that no library writes to the disk itself.

HDF5 ends the process with a segmentation fault where the disk is full.
"""

import io
from zipfile import ZipFile

import keras

# Name that Keras gives the weights in a `.keras` file.
WEIGHTS = "model.weights.h5"


class _File(io.BytesIO):
    """A file in memory. Keras looks for the ending of its name."""

    def __str__(self):
        return "model.keras"


def to_keras_file(model: keras.Model) -> bytes:
    """Content of the `.keras` file of a model."""
    file = _File()
    model.save(file)
    return file.getvalue()


def to_weights_file(model: keras.Model) -> bytes:
    """Content of the `.weights.h5` file of a model, with its optimizer's state."""
    with ZipFile(io.BytesIO(to_keras_file(model))) as archive:
        return archive.read(WEIGHTS)
