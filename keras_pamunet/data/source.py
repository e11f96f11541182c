"""Opens a data set, whatever it is made of."""

from pathlib import Path

from keras_pamunet.data.folder import Folder
from keras_pamunet.data.pairs import Pairs
from keras_pamunet.data.phantom import Phantom
from keras_pamunet.data.tfds_source import TfdsSource
from keras_pamunet.data.volumes import Volumes, holds_volumes


def open_source(data: str | Path, num_classes: int = 1) -> Pairs:
    """Opens a data set as a source of pairs.

    Args:
        data: folder with `images/` and `masks/`, folder of volumes (see `Volumes`),
            `"phantom"`, or `"tfds:<name>"` for a set that TensorFlow Datasets has
            prepared.
        num_classes: see `Folder`.

    Raises:
        FileNotFoundError: if there is no such data, or a partner of a file is missing.
        ValueError: if it is no data set of these kinds, or TensorFlow Datasets is not
            installed for one of its sets.
    """
    kind, _, name = str(data).partition("tfds:")
    if name and not kind:
        return TfdsSource(name, num_classes=num_classes)
    if str(data) == "phantom":
        return Phantom()
    if not Path(data, "images").exists() and holds_volumes(data):
        return Volumes(data, num_classes)
    return Folder(data, num_classes=num_classes)
