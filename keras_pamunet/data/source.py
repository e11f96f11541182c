"""Opens a data set, whatever it is made of."""

from pathlib import Path

from keras_pamunet.data.folder import Folder
from keras_pamunet.data.pairs import Pairs
from keras_pamunet.data.phantom import Phantom
from keras_pamunet.data.tfds_source import TfdsSource
from keras_pamunet.data.volumes import Volumes, holds_volumes

PHANTOM, TFDS = "phantom", "tfds:"


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
    if is_volumes(data):
        return Volumes(data, num_classes)
    if str(data) == PHANTOM:
        if num_classes != 1:
            raise ValueError(
                "Expected num_classes 1 for the drawn images of 'phantom'. Received: "
                f"{num_classes}"
            )
        return Phantom()
    if str(data).startswith(TFDS):
        return TfdsSource(str(data).removeprefix(TFDS), num_classes=num_classes)
    return Folder(data, num_classes=num_classes)


def is_volumes(data: str | Path) -> bool:
    """Whether this is a folder of CT volumes, as `open_source` takes it."""
    if str(data) == PHANTOM or str(data).startswith(TFDS):
        return False
    return holds_volumes(data)
