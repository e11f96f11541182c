import json
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from keras_pamunet.files import check_regular
from keras_pamunet.targets import MASKS, default_names, label_count

if TYPE_CHECKING:
    from keras_pamunet.inference.segmentation import Segmentation

# Key of what a file says of its model, beside the network itself.
METADATA = "keras_pamunet"
MAX_BYTES = 2**31  # Protobuf's own limit, and that of FlatBuffers.


class ExportedModel(ABC):
    """A model in a file that `keras_pamunet.export` wrote. Needs no Keras.

    Takes the place of a `Segmenter` in `keras_pamunet.predict_images`,
    `keras_pamunet.predict_volume` and `keras_pamunet.evaluate`.

    Args:
        path: of the file, for messages.
        text: what the file says of its model, JSON.
        input_shape: see below; `None` for channels is an error.
        input_dtype: see below.
        fingerprint: SHA-256 of the file, without the one that it holds of itself.

    Attributes:
        input_shape: `(batch, height, width, channels)`, `None` where any will do.
        input_dtype: of the images that the file takes, `"float32"` or `"uint8"`.
        num_classes, masks, class_names, input_range, mirror_axes: see
            `keras_pamunet.PAMUNet`.
        metadata: all that the file says of its model, among it `preset`,
            `preset_version`, `licence` and `producer`, where known.
        origin: the path.
        fingerprint: see above.
        runtime: the version of the program by name, and the `device`, always the CPU.

    Raises:
        ValueError: if the text was altered.
    """

    # Name of the program that runs the file.
    program: ClassVar[str]
    runtime: dict[str, str]
    # As a `Segmenter` has it; none can be looked at in a file.
    attention: str | None = None

    def __init__(
        self,
        path: str | Path,
        text: str,
        input_shape: Sequence[int | None],
        input_dtype: str,
        fingerprint: str,
    ):
        self.origin = str(path)
        self.input_dtype = input_dtype
        self.fingerprint = fingerprint
        try:
            held = json.loads(text)
            self.num_classes = _integer(held["num_classes"])
            # Files of older versions have `activation` in place of `masks`.
            overlap = held.get("activation") == "sigmoid" and self.num_classes > 1
            self.masks = held.get("masks", "overlapping" if overlap else "exclusive")
            labels = label_count(self.num_classes, self.masks) - 1 or 1
            names = held.get("class_names", default_names(labels))
            self.class_names = tuple(map(str, names))
            self.mirror_axes = tuple(held.get("mirror_axes", (1, 2)))
            self.input_range = _range(held["input_range"])
            self.metadata: dict[str, Any] = held
            if self.masks not in MASKS or len(self.class_names) != labels:
                raise ValueError(f"masks={self.masks!r}, class_names={names!r}")
            if not set(self.mirror_axes) <= {1, 2}:
                raise ValueError(f"mirror_axes={self.mirror_axes!r}")
            batch, height, width, channels = input_shape
            if channels is None:
                raise ValueError(f"input_shape={input_shape}")
            self.input_shape = batch, height, width, channels
        except (
            ValueError,
            TypeError,
            KeyError,
            AttributeError,
            RecursionError,
        ) as error:
            raise ValueError(
                f"Cannot load {path}; what it says of its model was altered: {error!r}"
            ) from None

    @property
    def activation(self) -> str:
        """What made the probabilities, `"sigmoid"` or `"softmax"`."""
        exclusive = self.masks == "exclusive" and self.num_classes > 1
        return "softmax" if exclusive else "sigmoid"

    @abstractmethod
    def _run(self, images: np.ndarray) -> np.ndarray:
        """Probabilities of as many images, of its dtype, as the file takes at once."""

    def predict_on_batch(self, images: np.ndarray) -> np.ndarray:
        """Probabilities, `(batch, height, width, num_classes)`, of raw images.

        Args:
            images: `(batch, height, width, channels)`. A model exported for a fixed
                batch is run as often as needed. For one that takes uint8 other
                numbers are rounded.

        Raises:
            ValueError: for images of another shape than the model takes.
        """
        images = np.asarray(images)
        if self.input_dtype == "uint8" and images.dtype != "uint8":
            images = np.rint(np.clip(images, 0, 255))  # As the network clips them.
        images = images.astype(self.input_dtype, copy=False)
        count = len(images)
        size = self.input_shape[0] or count
        images = np.pad(images, [(0, -count % size), (0, 0), (0, 0), (0, 0)])
        try:
            found = [
                self._run(images[start : start + size])
                for start in range(0, count, size)
            ]
        except Exception as error:  # The runtimes' have no other common base.
            raise ValueError(
                f"{self.program} cannot predict images of shape {images.shape[1:]}; "
                f"the model takes {self.input_shape[1:]}, from 17 pixels up: {error}"
            ) from error
        return np.concatenate(found)[:count]

    def segment(
        self,
        image: str | Path | np.ndarray,
        *,
        flips: bool = True,
        threshold: float = 0.5,
        min_area: int = 0,
    ) -> "Segmentation":
        """Finds the objects in one image, see `keras_pamunet.inference.segment`."""
        # Imported here: it brings OpenCV, Pillow and more.
        from keras_pamunet.inference.predictor import segment

        return segment(self, image, flips=flips, threshold=threshold, min_area=min_area)


def read_exported(path: str | Path) -> bytes:
    """The content of an exported file.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for a folder, a pipe, a device or a file of more than 2 GiB.
    """
    check_regular(path)
    if Path(path).stat().st_size > MAX_BYTES:
        raise ValueError(
            f"Expected a file of a model, of at most 2 GiB. Received: {path}"
        )
    return Path(path).read_bytes()


def _integer(value):
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= 256:
        raise ValueError(f"num_classes={value!r}")
    return value


def _range(value):
    low, high = value
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"range {value!r}")
    return low, high
