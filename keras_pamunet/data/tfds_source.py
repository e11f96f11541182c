from importlib.util import find_spec
from pathlib import Path

import numpy as np

from keras_pamunet.data.mask_values import BRIGHT, as_labels, split_in_two
from keras_pamunet.data.pairs import Pairs, check_num_classes


class TfdsSource(Pairs):
    """Pairs of a data set prepared by TensorFlow Datasets, without TensorFlow.

    The set needs the features `image`, `mask` (labels) and `name`, or `volume` and
    `slice` in place of the name. The pairs of all its splits are taken together.

    Args:
        name: as `tfds.builder` takes it, such as `"kvasir_seg"`.
        data_dir: where the set was prepared. Defaults to the environment variable
            `TFDS_DATA_DIR`, or `~/tensorflow_datasets`.
        num_classes: 1 for a mask of all labels that are not 0, or of masks of 0 and
            255 with noise around them; otherwise masks hold the labels 0 to
            num_classes - 1, 256 at most.

    Attributes:
        names: the name of each pair, or `<volume>/<slice>`, sorted.
        groups: the volume of each pair, if the set has volumes; otherwise `None`.
        in_hu: whether the images are in HU: they are int16, as of `lits/slices_128`.

    Raises:
        FileNotFoundError: if the set has not been prepared.
        ValueError: if there is no such set, it was prepared in another format than
            ArrayRecord, it lacks a feature, two pairs have the same name, TFDS is
            not installed, or for a wrong `num_classes`.

    Example:

    >>> from keras_pamunet.data import TfdsSource
    >>> pairs = TfdsSource("kvasir_seg")
    >>> image, mask = pairs[0]  # (height, width, 3) uint8, (height, width) uint8
    """

    def __init__(
        self, name: str, data_dir: str | Path | None = None, num_classes: int = 1
    ):
        self.name = name
        self.num_classes = check_num_classes(num_classes)
        builder = _builder(name, data_dir)
        features = builder.info.features
        self.in_hu = np.dtype(features["image"].np_dtype) == np.int16
        self.channels = features["image"].shape[-1]
        self._pairs = builder.as_data_source("all")
        rows = list(_without_pixels(builder))
        if "name" in features:
            names, volumes = [row["name"].decode() for row in rows], None
        else:
            volumes = [row["volume"].decode() for row in rows]
            names = [f"{v}/{row['slice']:04}" for v, row in zip(volumes, rows)]
        self._index = {name: index for index, name in enumerate(names)}
        if len(self._index) < len(names):
            raise ValueError(f"Expected pairs of different names in {name}.")
        self.names = sorted(names)
        if volumes is not None:
            self.groups = [volumes[self._index[name]] for name in self.names]

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Reads one pair.

        Args:
            index: number of the pair.

        Returns:
            The image, `(height, width, channels)`, and the mask, `(height, width)`
            uint8 labels.

        Raises:
            ValueError: if the sizes differ or the mask holds other labels.
        """
        name = self.names[index]
        pair = self._pairs[self._index[name]]
        image, mask = pair["image"], pair["mask"]
        if mask.shape not in (image.shape[:2], (*image.shape[:2], 1)):
            raise ValueError(
                f"Expected a mask of {image.shape[:2]} pixels. Received: {mask.shape} "
                f"in {name} of {self.name}"
            )
        mask = mask.reshape(image.shape[:2])
        try:
            if self.num_classes > 1:
                return image, as_labels(mask, self.num_classes)
            if mask.max() >= BRIGHT:
                return image, split_in_two(mask)
            return image, (as_labels(mask, BRIGHT) > 0).astype("uint8")
        except ValueError as error:
            raise ValueError(f"{error} in {name} of {self.name}") from error


def _builder(name, data_dir):
    """The builder of a prepared set."""
    if not find_spec("tensorflow_datasets"):
        raise ValueError(
            f"Expected TensorFlow Datasets for tfds:{name}. Not installed: "
            "pip install '.[data]' in a checkout of keras-pamunet"
        )
    import tensorflow_datasets as tfds

    # Tell TFDS of the builders of this package.
    import keras_pamunet.data.kvasir_seg
    import keras_pamunet.data.lits  # noqa: F401

    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError as error:
        raise ValueError(
            f"TFDS knows no data set {name!r}, and has none prepared."
        ) from error
    prepare = (
        "Prepare it in Python: import tensorflow_datasets as tfds; from "
        "keras_pamunet.data import kvasir_seg, lits; "
        f"tfds.builder({name!r}, file_format='array_record').download_and_prepare()"
    )
    if not builder.is_prepared():
        raise FileNotFoundError(
            f"Expected a prepared set in {builder.data_path}. Not there. {prepare}"
        )
    if builder.info.file_format.value != "array_record":
        raise ValueError(
            f"Expected {builder.data_path} in the format array_record. Received: "
            f"{builder.info.file_format.value}. Delete it first. {prepare}"
        )
    features = builder.info.features
    names = {"name"} if "name" in features else {"volume", "slice"}
    if not {"image", "mask"} | names <= set(features):
        raise ValueError(
            "Expected the features image, mask and name (or volume and slice) in "
            f"{name}. Received: {', '.join(sorted(features))}"
        )
    return builder


def _without_pixels(builder):
    from tensorflow_datasets import decode

    skip = {"image": decode.SkipDecoding(), "mask": decode.SkipDecoding()}
    return builder.as_data_source("all", decoders=skip)
