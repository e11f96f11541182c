"""What an exported file says of its model, which the network itself does not say."""

from collections.abc import Mapping
from typing import Any

import keras

import keras_pamunet
from keras_pamunet import hub


def describe(
    model: keras.Model, source: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The metadata of an exported file.

    Args:
        model: the `Segmenter` that is exported.
        source: what else the file shall say: see `source_of`, and how its numbers are
            stored.
    """
    return {
        "num_classes": model.num_classes,
        "masks": model.masks,
        "class_names": model.class_names,
        "mirror_axes": model.mirror_axes,
        "input_range": model.input_range,
        "producer": f"keras_pamunet {keras_pamunet.__version__}",
        "model_sha256": model.fingerprint,
        **(source or {}),
        "sealed": True,
    }


def source_of(origin: str) -> dict[str, str]:
    """Of a preset its name, version and terms; of other models nothing.

    Paths of files say more of their owner than a file that is passed on should.

    Args:
        origin: the `origin` of a `Segmenter`.
    """
    try:
        _, held = hub.read(hub.find(origin))
    except ValueError:
        return {}
    facts = {
        "preset": held.get("name"),
        "preset_version": held.get("version"),
        "licence": held.get("terms"),
        "intended_use": held.get("intended_use"),
    }
    return {name: value for name, value in facts.items() if isinstance(value, str)}
