"""Opens a data set, whatever it is made of."""

from pathlib import Path

from keras_pamunet.data.folder import Folder
from keras_pamunet.data.pairs import Pairs
from keras_pamunet.data.phantom import Phantom
from keras_pamunet.data.tfds_source import TfdsSource
from keras_pamunet.data.volumes import Volumes, holds_volumes

PHANTOM, TFDS = "phantom", "tfds:"


def open_source(
    data: str | Path,
    num_classes: int = 1,
    window: str | tuple[float, float] | None = None,
) -> Pairs:
    """Opens a data set as a source of pairs.

    Args:
        data: folder with `images/` and `masks/`, folder of volumes (see `Volumes`),
            `"phantom"`, or `"tfds:<name>"` for a set that TensorFlow Datasets has
            prepared.
        num_classes: see `Folder`.
        window: of volumes only, see `Volumes`. Defaults to `"liver"`.

    Raises:
        FileNotFoundError: if there is no such data, or a partner of a file is missing.
        ValueError: if it is no data set of these kinds, a window is given for other
            data than volumes, or TensorFlow Datasets is not installed for one of its
            sets.
    """
    if is_volumes(data):
        return Volumes(data, num_classes, "liver" if window is None else window)
    if window is not None:
        raise ValueError(
            f"Expected a window for a folder of CT volumes only. Received: {window!r} "
            f"for {data}"
        )
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
    return not Path(data, "images").exists() and holds_volumes(data)
