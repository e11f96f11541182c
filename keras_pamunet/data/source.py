"""Opens a data set, whatever it is made of."""

from pathlib import Path

from keras_pamunet.data.folder import Folder
from keras_pamunet.data.pairs import Pairs
from keras_pamunet.data.phantom import Phantom
from keras_pamunet.data.tfds_source import TfdsSource
from keras_pamunet.data.volumes import Volumes, holds_volumes


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
    kind, _, name = str(data).partition("tfds:")
    tfds_set, phantom = name and not kind, str(data) == "phantom"
    other = tfds_set or phantom or Path(data, "images").exists()
    volumes = not other and holds_volumes(data)
    if window is not None and not volumes:
        raise ValueError(
            f"Expected a window for a folder of CT volumes only. Received: {window!r} "
            f"for {data}"
        )
    if tfds_set:
        return TfdsSource(name, num_classes=num_classes)
    if phantom:
        return Phantom()
    if volumes:
        return Volumes(data, num_classes, "liver" if window is None else window)
    return Folder(data, num_classes=num_classes)
