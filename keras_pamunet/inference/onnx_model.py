"""Models in ONNX Runtime. Needs no Keras."""

import hashlib
import json
import math
import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from keras_pamunet.files import check_regular
from keras_pamunet.targets import MASKS, default_names, label_count

if TYPE_CHECKING:
    from keras_pamunet.inference.segmentation import Segmentation

# Keys of this package's entries in the metadata of an ONNX file: what the network
# itself does not say, and the file's SHA-256.
METADATA, SHA256 = "keras_pamunet", "keras_pamunet_sha256"
# Protobuf, in which ONNX is written, merges messages that follow each other: one of
# a single `metadata_props`, field 14, may stand behind a file that is finished.
_SEAL = (
    bytes([14 << 3 | 2, len(SHA256) + 68, 0x0A, len(SHA256)])
    + SHA256.encode()
    + bytes([0x12, 64])
)
MAX_BYTES = 2**31  # Protobuf's own limit.


def seal(content: bytes) -> bytes:
    """An ONNX file with its SHA-256 behind it, which `OnnxModel` checks."""
    return content + _SEAL + hashlib.sha256(content).hexdigest().encode()


def keep_traces_here() -> None:
    """Has ONNX Runtime send nothing to anybody: its official builds do, by default.

    Call it before ONNX Runtime is imported.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    # If somebody else has imported it, at least no more is sent from now on.
    if "onnxruntime" in sys.modules:
        sys.modules["onnxruntime"].disable_telemetry_events()


class OnnxModel:
    """A model that `keras_pamunet.export` wrote, for prediction.

    Takes the place of a `Segmenter` in `keras_pamunet.predict_images` and
    `keras_pamunet.predict_volume`.

    Args:
        path: the `.onnx` file.
        threads: of ONNX Runtime. By default as many as there are cores.

    Attributes:
        input_shape: `(batch, height, width, channels)`, `None` where any will do.
        num_classes, masks, class_names, input_range, mirror_axes: see
            `keras_pamunet.PAMUNet`.
        origin: the path.
        fingerprint: SHA-256 of the file, without the one that it holds of itself.
        runtime: the version of ONNX Runtime, and the device, always the CPU.

    Raises:
        FileNotFoundError: if there is no such file.
        ModuleNotFoundError: without ONNX Runtime.
        ValueError: if the file is damaged or altered, another program wrote it, or an
            older version did for a model of CT with a window.

    Warns:
        UserWarning: if the file was exported before files had a SHA-256.

    Example:

    >>> report = keras_pamunet.export(model, "polyps.onnx", progress=False)
    >>> probabilities = OnnxModel("polyps.onnx").predict_on_batch(images)
    """

    def __init__(self, path: str | Path, threads: int = 0):
        self.origin = str(path)
        content = _read(path)
        self.fingerprint, sealed = _check_seal(content, path)
        keep_traces_here()
        import onnxruntime

        self.runtime = {"onnxruntime": onnxruntime.__version__, "device": "CPU"}
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4  # The exception says it all.
        # Its threads, while they wait, leave the cores to who reads and writes.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"]
            )
            held = self._session.get_modelmeta().custom_metadata_map.get(METADATA)
        except Exception as error:  # ONNX Runtime's have no other common base.
            raise ValueError(
                f"Cannot load {path}. It was cut, or this is no ONNX file that ONNX "
                f"Runtime {onnxruntime.__version__} can run: {error}"
            ) from error
        if held is None:
            raise ValueError(
                f"Expected a model exported by keras_pamunet. Received: {path}"
            )
        try:
            held = json.loads(held)
            self.num_classes = _integer(held["num_classes"])
            # Files of older versions have `activation` in place of `masks`.
            overlap = held.get("activation") == "sigmoid" and self.num_classes > 1
            self.masks = held.get("masks", "overlapping" if overlap else "exclusive")
            labels = label_count(self.num_classes, self.masks) - 1 or 1
            names = held.get("class_names", default_names(labels))
            self.class_names = tuple(map(str, names))
            self.mirror_axes = tuple(held.get("mirror_axes", (1, 2)))
            self.input_range = _range(held["input_range"])
            window = held.get("window")
            if self.masks not in MASKS or len(self.class_names) != labels:
                raise ValueError(f"masks={self.masks!r}, class_names={names!r}")
            if not set(self.mirror_axes) <= {1, 2}:
                raise ValueError(f"mirror_axes={self.mirror_axes!r}")
            (self._input,) = self._session.get_inputs()
            batch, height, width, channels = (
                side if isinstance(side, int) else None for side in self._input.shape
            )
            if channels is None:
                raise ValueError(f"input_shape={self._input.shape}")
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
        if window is not None:
            raise ValueError(
                f"Expected a model of CT that takes HU. Received: {path}, which an "
                "older version exported and which takes 8-bit grey values. Export its "
                "model anew."
            )
        if not sealed and "sealed" in held:
            raise ValueError(f"Cannot load {path}; its end was cut off or altered.")
        if not sealed:
            warnings.warn(
                f"{path} was exported before files had a SHA-256: it may be damaged "
                "without anybody noticing. Export it anew.",
                stacklevel=2,
            )

    def predict_on_batch(self, images: np.ndarray) -> np.ndarray:
        """Probabilities, `(batch, height, width, num_classes)`, of raw images.

        Args:
            images: `(batch, height, width, channels)`. A model exported for a fixed
                batch is run as often as needed.

        Raises:
            ValueError: for images of another shape than the model takes.
        """
        images = np.asarray(images, "float32")
        count = len(images)
        size = self.input_shape[0] or count
        images = np.pad(images, [(0, -count % size), (0, 0), (0, 0), (0, 0)])
        try:
            found = [
                self._session.run(
                    None, {self._input.name: images[start : start + size]}
                )[0]
                for start in range(0, count, size)
            ]
        except Exception as error:  # ONNX Runtime's have no other common base.
            raise ValueError(
                f"ONNX Runtime cannot predict images of shape {images.shape[1:]}; the "
                f"model takes {self.input_shape[1:]}, from 17 pixels up: {error}"
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


def _read(path):
    check_regular(path)
    if Path(path).stat().st_size > MAX_BYTES:
        raise ValueError(f"Expected an ONNX file of at most 2 GiB. Received: {path}")
    content = Path(path).read_bytes()
    # A key of 8 letters and its value: so ONNX names another file, of weights.
    if b"\x0a\x08location\x12" in content:
        raise ValueError(f"Expected all weights in one file. Received: {path}")
    return content


def _check_seal(content, path):
    """The SHA-256 of a file, and whether the file itself says so."""
    sealed = content[-64 - len(_SEAL) : -64] == _SEAL
    digest = content[: -64 - len(_SEAL)] if sealed else content
    digest = hashlib.sha256(digest).hexdigest()
    if sealed and digest.encode() != content[-64:]:
        raise ValueError(
            f"Cannot load {path}. It was damaged or altered: its SHA-256 is not that "
            "which it was exported with. Export the model anew."
        )
    return digest, sealed


def _integer(value):
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= 256:
        raise ValueError(f"num_classes={value!r}")
    return value


def _range(value):
    low, high = value
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"range {value!r}")
    return low, high
