"""Finds and loads models: presets, run folders and `.keras` files."""

import json
from pathlib import Path

import keras

from keras_pamunet.models import PAMUNet

PACKAGE = Path(__file__).parent
# In a checkout the presets stand beside the package, in a wheel inside it.
PRESETS = (PACKAGE.parent / "hub", PACKAGE / "presets")


def presets() -> list[str]:
    """Names of the published presets."""
    return sorted(
        path.parent.name for folder in PRESETS for path in folder.glob("*/config.json")
    )


def load(model: str | Path) -> PAMUNet:
    """Loads a model.

    Args:
        model: a `.keras` file, a run folder, a preset folder or the name of a preset.

    Raises:
        ValueError: if it is none of these, or the file is damaged.
    """
    path = Path(model)
    for file in (path, path / "model.keras"):
        if file.is_file() and file.suffix == ".keras":
            return _load_file(file)
    for folder in (path, *(parent / str(model) for parent in PRESETS)):
        if (folder / "model.weights.h5").is_file():
            network = PAMUNet(**json.loads((folder / "config.json").read_text("utf-8")))
            network.load_weights(folder / "model.weights.h5")
            return network
    raise ValueError(
        "Expected a .keras file, a run folder, a preset folder or one of the presets "
        f"({', '.join(presets()) or 'none is published yet'}). Received: {str(model)!r}"
    )


def _load_file(path):
    try:
        network = keras.saving.load_model(path)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"Cannot load {path}; it may be damaged: {error}") from error
    if not isinstance(network, PAMUNet):
        raise ValueError(
            f"Expected a PAMUNet in {path}. Received: a {type(network).__name__}"
        )
    return network
