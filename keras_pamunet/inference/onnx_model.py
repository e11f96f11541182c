"""Models in ONNX Runtime. Needs no Keras."""

import hashlib
import os
import sys
import warnings
from pathlib import Path

import numpy as np

from keras_pamunet.inference.exported_model import (
    METADATA,
    ExportedModel,
    read_exported,
)

# Key of the file's SHA-256 in its metadata.
SHA256 = "keras_pamunet_sha256"
# Protobuf, in which ONNX is written, merges messages that follow each other: one of
# a single `metadata_props`, field 14, may stand behind a file that is finished.
_SEAL = (
    bytes([14 << 3 | 2, len(SHA256) + 68, 0x0A, len(SHA256)])
    + SHA256.encode()
    + bytes([0x12, 64])
)


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


class OnnxModel(ExportedModel):
    """An ONNX file that `keras_pamunet.export` wrote, for prediction.

    Attributes and methods are those of
    `keras_pamunet.inference.exported_model.ExportedModel`.

    Args:
        path: the `.onnx` file.
        threads: of ONNX Runtime. By default as many as there are cores.

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

    program = "ONNX Runtime"

    def __init__(self, path: str | Path, threads: int = 0):
        content = read_exported(path)
        # A key of 8 letters and its value: so ONNX names another file, of weights.
        if b"\x0a\x08location\x12" in content:
            raise ValueError(f"Expected all weights in one file. Received: {path}")
        fingerprint, sealed = _check_seal(content, path)
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
            text = self._session.get_modelmeta().custom_metadata_map.get(METADATA)
            (self._input,) = self._session.get_inputs()
        except Exception as error:  # ONNX Runtime's have no other common base.
            raise ValueError(
                f"Cannot load {path}. It was cut, or this is no ONNX file that ONNX "
                f"Runtime {onnxruntime.__version__} can run: {error}"
            ) from error
        if text is None:
            raise ValueError(
                f"Expected a model exported by keras_pamunet. Received: {path}"
            )
        sides = [side if isinstance(side, int) else None for side in self._input.shape]
        dtype = "uint8" if self._input.type == "tensor(uint8)" else "float32"
        super().__init__(path, text, sides, dtype, fingerprint)
        if self.metadata.get("window") is not None:
            raise ValueError(
                f"Expected a model of CT that takes HU. Received: {path}, which an "
                "older version exported and which takes 8-bit grey values. Export its "
                "model anew."
            )
        if not sealed and "sealed" in self.metadata:
            raise ValueError(f"Cannot load {path}; its end was cut off or altered.")
        if not sealed:
            warnings.warn(
                f"{path} was exported before files had a SHA-256: it may be damaged "
                "without anybody noticing. Export it anew.",
                stacklevel=2,
            )

    def _run(self, images: np.ndarray) -> np.ndarray:
        return self._session.run(None, {self._input.name: images})[0]


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
