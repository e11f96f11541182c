"""`dataset.json` of the Decathlon and of nnU-Net: what the labels of a set mean."""

from pathlib import Path

from keras_pamunet.data.nifti import UnfitVolume
from keras_pamunet.files import check_regular, read_json_object

NAME = "dataset.json"


def read_label_names(root: Path) -> tuple[str, ...] | None:
    """The names of the labels 1, 2, ... of a set of CT volumes.

    Args:
        root: the folder of the set. Its `dataset.json` has `labels`, from number to
            name (Medical Segmentation Decathlon) or from name to number (nnU-Net),
            and the kind of images as `modality` or `channel_names`.

    Returns:
        `None` if there is no such file.

    Raises:
        ValueError: names the file, if it cannot be read, the images are no CT, or the
            labels are not numbered from 0 on.
    """
    path = root / NAME
    if not path.exists():
        return None
    check_regular(path)
    content = read_json_object(path)
    channels = content.get("channel_names", content.get("modality", {}))
    if isinstance(channels, dict) and channels and list(channels.values()) != ["CT"]:
        kinds = ", ".join(map(str, channels.values()))
        raise UnfitVolume(f"Expected a set of CT volumes. {path} says: {kinds}")
    labels = content.get("labels")
    pairs = list(labels.items()) if isinstance(labels, dict) else []
    try:
        numbered = {_number(*pair): _name(*pair) for pair in pairs}
    except (TypeError, ValueError):
        numbered = {}
    names = [numbered.get(number) for number in range(len(pairs))]
    if len(names) < 2 or None in names:
        raise UnfitVolume(
            "Expected `labels` with the names of 0 (background), 1, 2 and so on in "
            f"{path}. Received: {str(labels)[:200]}"
        )
    return tuple(map(str, names[1:]))


def _number(key, value):
    return value if isinstance(value, int) else int(key)


def _name(key, value):
    return key if isinstance(value, int) else value
