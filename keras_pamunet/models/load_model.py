"""Loads a model from wherever one may lie."""

from pathlib import Path

import keras

from keras_pamunet import hub
from keras_pamunet.model_files import read_archive
from keras_pamunet.models.segmenter import Segmenter
from keras_pamunet.run_folder import MODEL, check_model, run_of


def load_model(model: str | Path) -> Segmenter:
    """Loads a model.

    Args:
        model: a `.keras` file, a run folder or a preset (see `Segmenter.from_preset`).

    Raises:
        ValueError: if it is none of these, or the file is damaged or, in a run folder,
            not the one that the run wrote.
    """
    network = _load(model)
    network.origin = str(model)
    return network


def _load(model):
    path = Path(model)
    if run := run_of(path):
        check_model(run)
    if (path / MODEL).exists():
        return load_file(path / MODEL, Segmenter)
    if path.suffix == ".keras" and path.exists() and not path.is_dir():
        return load_file(path, Segmenter)
    try:
        folder = hub.find(model)
    except ValueError as error:
        raise ValueError(f"Expected a .keras file, a run folder or: {error}") from None
    return Segmenter.from_preset(folder)


def load_file(path: str | Path, kind: type = keras.Model) -> keras.Model:
    """Loads any model of Keras from a `.keras` file.

    Args:
        path: the file.
        kind: the class that the model must be of.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged, claims to hold more than it does, holds a
            layer that is not known, or a model of another kind.
    """
    config, shapes = read_archive(path)
    name = config.get("registered_name")
    # Before anything of it is made.
    if kind is not keras.Model and name not in _registered_names(kind):
        raise ValueError(
            f"Expected a network of keras_pamunet in {path}. Received: a "
            f"{config.get('class_name')}"
        )
    try:
        model = keras.saving.load_model(path)
        if isinstance(model, Segmenter):
            model.check_fits(shapes["layers"], path)
    except Exception as error:  # Of a configuration that was altered come all kinds.
        raise ValueError(f"Cannot load {path}; it may be damaged: {error}") from error
    return model


def _registered_names(kind):
    """Names under which files hold networks of a class."""
    networks = [x for x in Segmenter.networks.values() if issubclass(x, kind)]
    return [keras.saving.get_registered_name(network) for network in networks]
