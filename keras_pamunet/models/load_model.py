"""Loads a model from wherever one may lie."""

from pathlib import Path
from zipfile import BadZipFile

import keras

from keras_pamunet import hub
from keras_pamunet.models.pamunet import PAMUNet


def load_model(model: str | Path) -> PAMUNet:
    """Loads a model.

    Args:
        model: a `.keras` file, a run folder or a preset (see `PAMUNet.from_preset`).

    Raises:
        ValueError: if it is none of these, or the file is damaged.
    """
    for file in (Path(model), Path(model, "model.keras")):
        if file.is_file() and file.suffix == ".keras":
            return _load_file(file)
    try:
        folder = hub.find(model)
    except ValueError as error:
        raise ValueError(f"Expected a .keras file, a run folder or: {error}") from None
    return PAMUNet.from_preset(folder)


def _load_file(path):
    try:
        network = keras.saving.load_model(path)
    except (OSError, ValueError, TypeError, KeyError, BadZipFile) as error:
        raise ValueError(f"Cannot load {path}; it may be damaged: {error}") from error
    if not isinstance(network, PAMUNet):
        raise ValueError(
            f"Expected a PAMUNet in {path}. Received: a {type(network).__name__}"
        )
    return network
