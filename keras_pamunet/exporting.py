"""Exports a model to a file, and makes sure that it finds the same there."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from keras_pamunet.calibration import read_calibration
from keras_pamunet.data import Phantom, Resized, open_splits
from keras_pamunet.exported import Exported
from keras_pamunet.files import make_folder, write_json
from keras_pamunet.inference.exported_model import ExportedModel
from keras_pamunet.inference.model_file import open_exported
from keras_pamunet.inference.predictor import fit_image
from keras_pamunet.models import Segmenter, check_arguments, load_model
from keras_pamunet.models.conversion import NEEDED, check_requirements
from keras_pamunet.models.description import source_of
from keras_pamunet.models.litert_file import write_litert
from keras_pamunet.models.onnx_file import write_onnx
from keras_pamunet.models.saved_model import SavedModel, write_saved_model
from keras_pamunet.pixel_scores import image_scores
from keras_pamunet.progress import track
from keras_pamunet.targets import label_count, to_labels, to_targets

SUFFIXES = {"onnx": ".onnx", "litert": ".tflite", "saved_model": ""}
RUNTIMES = {
    "onnx": "onnxruntime",
    "litert": "ai_edge_litert",
    "saved_model": "tensorflow",
}
# How far a probability of a float32 file may be off.
TOLERANCE = 1e-4


def export(
    model: Segmenter | str | Path,
    output: str | Path,
    *,
    format: str | None = None,
    size: tuple[int | None, int | None] | None = None,
    batch_size: int | None = None,
    data: str | Path | None = None,
    split: str | None = None,
    subset: str = "test",
    quantize: str | None = None,
    calibrate: str | Path | None = None,
    tolerance: float | None = None,
    max_changed: float = 0.01,
    max_dice_loss: float = 0.005,
    overwrite: bool = False,
    progress: bool = True,
    score_activation: str | None = None,
    input_dtype: str = "float32",
) -> Exported:
    """Writes a model for another runtime, if it finds there what it does in Keras.

    Beside the file, `<output>.json` holds what is returned.

    Args:
        model: a `Segmenter`, or what `keras_pamunet.models.load_model` takes. It is
            exported in float32, unless `quantize` is given.
        output: the `.onnx` or `.tflite` file, or the folder of a SavedModel.
        format: `"onnx"`, `"litert"` or `"saved_model"`. By default as the file's name
            ends.
        size: `(height, width)` of the images it shall take, `None` for a side of any
            length. Defaults to the model's own.
        batch_size: images it shall take at once. By default any number, and 1 of
            LiteRT, which is slow with sizes that are not known.
        data: images to compare on, see `keras_pamunet.data.open_splits`. Defaults to
            those of `calibrate`, or else to drawn ones of the model's channels and
            range.
        split: see `keras_pamunet.data.open_splits`.
        subset: of the split.
        quantize: `"int8"` or `"float16"`: how numbers shall be stored, of int8 also how
            it computes. Not of a SavedModel.
        calibrate: images for int8, see `keras_pamunet.calibration.read_calibration`.
        tolerance: how far a probability may be off. Defaults to 0.0001, and of a
            quantised file to any.
        max_changed: share of the mask's pixels that a quantised file may change.
        max_dice_loss: by how much a quantised file may lower the Dice, where there
            are masks.
        overwrite: whether to replace a file that is there.
        progress: whether to show a progress bar.
        score_activation: of a `PAMUNet`, another than its own, which changes what it
            finds: the comparison is with the model so changed. `"first_order"` in
            place of `"sigmoid"` makes attention's time linear; see
            `keras_pamunet.analysis.attention_maps.gate_effects` for when it is safe.
        input_dtype: of the images that it shall take, `"float32"`, or `"uint8"` as
            cameras and image files have them.

    Returns:
        What was compared, and how the two differ.

    Raises:
        FileExistsError: if the file is there.
        ModuleNotFoundError: if TensorFlow or another requirement is not installed.
        OSError: if the file cannot be written.
        ValueError: if the file's name has another ending, the images to calibrate on
            are unfit or too few, the model has no such `score_activation`, takes other
            values than those of `input_dtype` or cannot be
            converted, or the difference is out of bounds. Nothing is written then.
    """
    output = Path(output)
    format = _format_of(output, format)
    _check_quantize(format, quantize, calibrate)
    extra = "litert" if format == "litert" else "export"
    check_requirements((*NEEDED[format], RUNTIMES[format]), extra)
    report_path = output.with_name(f"{output.name}.json")
    for path in (output, report_path):
        if path.exists() and not overwrite:
            raise FileExistsError(
                f"Expected a new file. Received: {path}, which exists. Name another, "
                "or overwrite it (--overwrite)."
            )
    if not isinstance(model, Segmenter):
        model = load_model(model)
    source = {**source_of(model.origin), "precision": quantize or "float32"}
    shape = (*(size or model.input_shape[1:3]), model.input_shape[3])
    changes = {}
    if score_activation is not None:
        changes["score_activation"] = score_activation
    check_arguments(type(model), changes, model)
    model = model.clone(input_shape=shape, dtype="float32", **changes)
    _check_input_dtype(model, input_dtype)
    calibration = None
    if calibrate is not None:
        calibration = read_calibration(model, calibrate, split).astype(input_dtype)
    pairs = _Pairs(model, data, split, subset, calibration, input_dtype)
    make_folder(output.parent)
    with tempfile.TemporaryDirectory(dir=output.parent) as folder:
        new = Path(folder, output.name)
        with Console(quiet=not progress).status("Converting, for up to a minute"):
            numbers = quantize, calibration, input_dtype
            kept = _write(model, new, format, batch_size, source, *numbers)
        exported = SavedModel(new) if format == "saved_model" else open_exported(new)
        report = Exported(
            file=output.name,
            format=format,
            quantize=quantize,
            bytes=_bytes(new),
            parameters=model.count_params(),
            float_layers=kept,
            **compare(model, exported, pairs, progress),
        )
        if tolerance is None and quantize is None:
            tolerance = TOLERANCE
        _check_bounds(report, tolerance, max_changed, max_dice_loss)
        if output.is_dir():  # Another SavedModel.
            os.replace(output, Path(folder, "old"))
        os.replace(new, output)
        write_json(report_path, report.to_json())
    return report


def _format_of(output, format):
    """The format, which the ending of the file's name fits."""
    endings = {suffix: name for name, suffix in SUFFIXES.items() if suffix}
    found = format or endings.get(output.suffix)
    if found not in SUFFIXES or SUFFIXES[found] not in (output.suffix, ""):
        raise ValueError(
            "Expected the name of an .onnx file or, for LiteRT, of a .tflite file; or "
            f"format='saved_model' and a folder. Received: {output}, format={format!r}"
        )
    if found == "saved_model" and (output.suffix in endings or output.is_file()):
        raise ValueError(f"Expected a folder for a SavedModel. Received: {output}")
    if output.is_dir() and not (output / "saved_model.pb").exists():
        raise ValueError(
            f"Expected a file or a SavedModel's folder. Received: {output}"
        )
    return found


def _check_quantize(format, quantize, calibrate):
    if quantize not in (None, "int8", "float16"):
        raise ValueError(
            f"Expected int8 or float16 as `quantize`. Received: {quantize!r}"
        )
    if quantize and format == "saved_model":
        raise ValueError("Expected ONNX or LiteRT to quantize. Received: saved_model")
    if (quantize == "int8") != (calibrate is not None):
        raise ValueError(
            "Expected images to calibrate on (--calibrate FOLDER) for int8, and for "
            f"nothing else. Received: quantize={quantize!r}, calibrate={calibrate!r}"
        )


def _check_input_dtype(model, input_dtype):
    if input_dtype not in ("float32", "uint8"):
        raise ValueError(
            f"Expected float32 or uint8 as `input_dtype`. Received: {input_dtype!r}"
        )
    low, high = model.input_range
    if input_dtype == "uint8" and not 0 <= low < high <= 255:
        raise ValueError(
            "Expected a model of values from 0 to 255 to take uint8. Received: "
            f"{model.name}, which takes {low:g} to {high:g}"
        )


def _write(
    model, output, format, batch_size, source, quantize, calibration, input_dtype
):
    """Writes the file; returns the layers that are in float32 in a quantised one."""
    common = model, output, batch_size or (1 if format == "litert" else None), source
    if format == "saved_model":
        write_saved_model(*common, input_dtype)
    elif format == "litert":
        write_litert(*common, quantize, calibration, input_dtype)
    else:
        write_onnx(*common, input_dtype)
        if quantize is not None:
            # Imported here: it brings ONNX Runtime's tools.
            from keras_pamunet.models.onnx_quantization import quantize_onnx

            return quantize_onnx(output, quantize, calibration)
    return ()


def _bytes(path):
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


class _Pairs:
    """Images to compare on, in the model's size or else in their own, with masks."""

    def __init__(self, model, data, split, subset, calibration, dtype):
        self._model = model
        self._dtype = dtype
        channels = model.input_shape[-1]
        if data is not None:
            labels = label_count(model.num_classes, model.masks)
            subsets = open_splits(data, split, labels)
            if subset not in subsets or subsets[subset].channels != channels:
                raise ValueError(
                    f"Expected one of {tuple(subsets)} with images of {channels} "
                    f"channels. Received: subset={subset!r} of {data}"
                )
            self._pairs: Any = subsets[subset]
            if None not in model.input_shape[1:3]:
                self._pairs = Resized(self._pairs, model.input_shape[1:3])
        elif calibration is not None:
            self._pairs = [(image, None) for image in calibration]
        else:
            low, high = model.input_range
            self._pairs = [
                (low + (high - low) / 255 * image[..., np.arange(channels) % 3], None)
                for image, _ in (*Phantom(10), *Phantom(10, size=97))
            ]

    def __len__(self) -> int:
        return len(self._pairs)

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        for image, mask in (self._pairs[index] for index in range(len(self))):
            image = fit_image(self._model, image)
            if self._dtype == "uint8":
                image = np.rint(image)
            yield image.astype(self._dtype), mask


def compare(
    model: Segmenter, exported: ExportedModel, pairs: Any, progress: bool = False
) -> dict[str, Any]:
    """How an exported model differs from the model in Keras.

    Args:
        model: that in Keras.
        exported: that in a file.
        pairs: images `(height, width, channels)` as the model takes them, each with
            its labels `(height, width)` or with `None`.
        progress: whether to show a progress bar.

    Returns:
        What `Exported` says of the images.
    """
    batch_size = exported.input_shape[0] or 1
    largest, changed, pixels = 0.0, 0, 0
    dice: dict[str, list[float]] = {"dice_before": [], "dice_after": []}
    for image, mask in track(pairs, "Comparing", shown=progress):
        batch = np.repeat(image[np.newaxis], batch_size, axis=0)
        ours = np.asarray(model.predict_on_batch(batch))[:1]
        theirs = exported.predict_on_batch(batch)[:1]
        if theirs.shape != ours.shape:
            raise ValueError(
                f"Expected probabilities of shape {ours.shape}. Received: those of the "
                f"file, of {theirs.shape}. Its runtime cannot run it as it is meant."
            )
        largest = np.maximum(largest, np.abs(ours - theirs).max())
        one, other = (to_labels(found[0], model.masks) for found in (ours, theirs))
        changed += int(np.count_nonzero(one != other))
        pixels += one.size
        if mask is not None:
            truth = to_targets(mask[np.newaxis], model.num_classes, model.masks)
            for scores, found in zip(dice.values(), (ours, theirs)):
                of_classes = image_scores(truth, found, model.activation)["dice"]
                scores.append(float(of_classes.mean()))
    means = {name: float(np.mean(x)) if x else None for name, x in dice.items()}
    return {
        "images": len(pairs),
        "largest_difference": float(largest),
        "changed_pixels": changed,
        "pixels": pixels,
        **means,
    }


def _check_bounds(report, tolerance, max_changed, max_dice_loss):
    """Makes sure that a file is close enough to the model. Not >, false for NaN."""
    faults = []
    off = report.largest_difference
    if not off <= (np.inf if tolerance is None else tolerance):
        faults.append(f"probabilities within {tolerance} of those in Keras")
    if report.quantize and not report.changed_pixels <= max_changed * report.pixels:
        faults.append(f"at most {max_changed:.1%} of the pixels of another mask")
    loss = (report.dice_before or 0.0) - (report.dice_after or 0.0)
    if report.quantize and not loss <= max_dice_loss:
        faults.append(f"a Dice of at most {max_dice_loss} less")
    if faults:
        dice = ""
        if report.dice_before is not None:
            dice = f", a Dice of {report.dice_after:.4f} after {report.dice_before:.4f}"
        raise ValueError(
            f"Expected {' and '.join(faults)}. Received: a difference of {off:.2g}, "
            f"and {report.changed_pixels} of {report.pixels} pixels of another mask"
            f"{dice}. Nothing was written."
        )
