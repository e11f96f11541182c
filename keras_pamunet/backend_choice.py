"""Chooses a back end for Keras that is installed. Imports neither."""

import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path

BACKENDS = ("tensorflow", "jax", "torch")


def choose_backend() -> None:
    """Has Keras take a back end that is installed, if nobody has chosen one.

    `KERAS_BACKEND` is a choice, and so is what `keras.json` says, unless it is not
    installed: Keras itself writes "tensorflow" there the first time. Otherwise it is
    the first of `BACKENDS`. Without effect if Keras is imported already.

    Raises:
        ImportError: if none is installed, or not the one in `KERAS_BACKEND`.
    """
    if "keras" in sys.modules:
        return
    chosen = os.environ.get("KERAS_BACKEND")
    installed = [name for name in BACKENDS if find_spec(name)]
    if chosen in BACKENDS and chosen not in installed:
        raise ImportError(
            f"Expected KERAS_BACKEND to name a back end of Keras that is installed. "
            f"Received: {chosen!r}. Installed: {', '.join(installed) or 'none'}"
        )
    if chosen:
        return
    chosen = _in_keras_json()
    if chosen in installed or chosen not in BACKENDS:
        return
    if not installed:
        raise ImportError(
            "Expected a back end of Keras. Installed is none of "
            f"{', '.join(BACKENDS)}: pip install tensorflow, jax or torch."
        )
    os.environ["KERAS_BACKEND"] = installed[0]


def _in_keras_json():
    folder = os.environ.get("KERAS_HOME") or Path("~/.keras").expanduser()
    try:
        settings = json.loads(Path(folder, "keras.json").read_text("utf-8"))
        return settings.get("backend", BACKENDS[0])
    except (OSError, ValueError, AttributeError, RecursionError):
        return BACKENDS[0]
