"""SavedModels of TensorFlow."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_pamunet.files import write_json
from keras_pamunet.inference.exported_model import METADATA, ExportedModel
from keras_pamunet.models.conversion import NEEDED, check_requirements, convert
from keras_pamunet.models.description import describe

# Where a SavedModel has files that are not TensorFlow's.
DESCRIPTION = f"assets.extra/{METADATA}.json"


class SavedModel(ExportedModel):
    """A SavedModel that `write_saved_model` wrote, in TensorFlow."""

    program = "TensorFlow"

    def __init__(self, folder: str | Path):
        import tensorflow as tf

        self.runtime = {"tensorflow": tf.__version__, "device": "CPU"}
        self._model = tf.saved_model.load(str(folder))
        (image,) = (
            self._model.signatures["serve"].structured_input_signature[1].values()
        )
        text = Path(folder, DESCRIPTION).read_text("utf-8")
        super().__init__(
            folder,
            text,
            tuple(image.shape),
            image.dtype.name,
            json.loads(text)["model_sha256"],
        )

    def _run(self, images: np.ndarray) -> np.ndarray:
        return np.asarray(self._model.serve(images)["mask"])


def write_saved_model(
    model: keras.Model,
    output: str | Path,
    batch_size: int | None = None,
    source: Mapping[str, Any] | None = None,
    input_dtype: str = "float32",
) -> None:
    """Writes a network as a SavedModel of float32.

    Args:
        model: the model.
        output: the folder, which must not be there yet.
        batch_size: images it shall take at once. By default any number.
        source: what else it shall say, see `describe`.
        input_dtype: of the images, `"float32"` or `"uint8"`.

    Raises:
        ModuleNotFoundError: if TensorFlow is not installed.
        ValueError: if TensorFlow cannot convert the model.
    """
    check_requirements(NEEDED["saved_model"])
    convert(model, output, "saved_model", batch_size, input_dtype=input_dtype)
    description = Path(output, DESCRIPTION)
    description.parent.mkdir()
    write_json(description, describe(model, source))
