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
            network = load_file(file)
            if not isinstance(network, PAMUNet):
                raise ValueError(
                    f"Expected a PAMUNet in {file}. Received: a "
                    f"{type(network).__name__}"
                )
            return network
    try:
        folder = hub.find(model)
    except ValueError as error:
        raise ValueError(f"Expected a .keras file, a run folder or: {error}") from None
    return PAMUNet.from_preset(folder)


def load_file(path: str | Path) -> keras.Model:
    """Loads any model of Keras from a `.keras` file.

    Raises:
        ValueError: if the file is damaged, or holds a layer that is not known.
    """
    try:
        return keras.saving.load_model(path)
    except (OSError, ValueError, TypeError, KeyError, BadZipFile) as error:
        raise ValueError(f"Cannot load {path}; it may be damaged: {error}") from error
