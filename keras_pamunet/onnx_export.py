"""Exports a model to ONNX, and makes sure that it finds the same there."""

import os
import tempfile
from pathlib import Path

import numpy as np
from rich.console import Console

from keras_pamunet.data import Phantom, open_splits
from keras_pamunet.exported import Exported
from keras_pamunet.files import make_folder
from keras_pamunet.inference.onnx_model import OnnxModel
from keras_pamunet.inference.predictor import fit_image
from keras_pamunet.models import Segmenter, check_arguments, load_model
from keras_pamunet.models.onnx_file import NEEDED, check_requirements, write_onnx
from keras_pamunet.progress import track
from keras_pamunet.targets import label_count, to_labels


def export(
    model: Segmenter | str | Path,
    output: str | Path,
    *,
    size: tuple[int | None, int | None] | None = None,
    batch_size: int | None = None,
    data: str | Path | None = None,
    split: str | None = None,
    subset: str = "test",
    tolerance: float = 1e-4,
    overwrite: bool = False,
    progress: bool = True,
    score_activation: str | None = None,
) -> Exported:
    """Writes a model as an ONNX file, if that finds the same as the model in Keras.

    Args:
        model: a `Segmenter`, or what `keras_pamunet.models.load_model` takes. It is
            exported in float32.
        output: the `.onnx` file.
        size: `(height, width)` of the images it shall take, `None` for a side of any
            length. Defaults to the model's own.
        batch_size: images it shall take at once. By default any number.
        data: images to compare on, see `keras_pamunet.data.open_splits`. Defaults to
            drawn ones, of the model's channels and range.
        split: see `keras_pamunet.data.open_splits`.
        subset: of the split.
        tolerance: how far a probability may be off.
        overwrite: whether to replace a file that is there.
        progress: whether to show a progress bar.
        score_activation: of a `PAMUNet`, another than its own, which changes what it
            finds: the comparison is with the model so changed. `"first_order"` in
            place of `"sigmoid"` makes attention's time linear; see
            `keras_pamunet.analysis.attention_maps.gate_effects` for when it is safe.

    Returns:
        What was compared, and how the two differ.

    Raises:
        FileExistsError: if the file is there.
        ModuleNotFoundError: if TensorFlow or another requirement is not installed.
        OSError: if the file cannot be written.
        ValueError: if the file's name has another ending, the model has no such
            `score_activation` or cannot be converted, or the difference is above the
            tolerance. The file is not written then.
    """
    output = Path(output)
    check_requirements((*NEEDED, "onnxruntime"))
    if output.suffix != ".onnx":
        raise ValueError(f"Expected the name of an .onnx file. Received: {output}")
    if output.exists() and not overwrite:
        raise FileExistsError(
            f"Expected a new file. Received: {output}, which exists. Name another, or "
            "overwrite it (--overwrite)."
        )
    if not isinstance(model, Segmenter):
        model = load_model(model)
    shape = (*(size or model.input_shape[1:3]), model.input_shape[3])
    changes = {}
    if score_activation is not None:
        changes["score_activation"] = score_activation
    check_arguments(type(model), changes, model)
    model = model.clone(input_shape=shape, dtype="float32", **changes)
    images = _images(model, data, split, subset)
    make_folder(output.parent)
    with tempfile.TemporaryDirectory(dir=output.parent) as folder:
        new = Path(folder, output.name)
        with Console(quiet=not progress).status("Converting, for up to a minute"):
            write_onnx(model, new, batch_size)
        report = _compare(model, OnnxModel(new), images, progress)
        # Not >, which is false for NaN.
        if not report.largest_difference <= tolerance:
            raise ValueError(
                f"Expected probabilities within {tolerance} of those in Keras. "
                f"Received: a difference of {report.largest_difference:.2g}, and "
                f"{report.changed_pixels} of {report.pixels} pixels of another "
                "mask. Nothing was written."
            )
        os.replace(new, output)
    return report


def _images(model, data, split, subset):
    """Images to compare on, in the model's size or else in their own."""
    channels = model.input_shape[-1]
    if data is None:
        low, high = model.input_range
        images = [
            low + (high - low) / 255 * image[..., np.arange(channels) % 3]
            for image, _ in (*Phantom(10), *Phantom(10, size=97))
        ]
    else:
        labels = label_count(model.num_classes, model.masks)
        subsets = open_splits(data, split, labels)
        if subset not in subsets or subsets[subset].channels != channels:
            raise ValueError(
                f"Expected one of {tuple(subsets)} with images of {channels} channels. "
                f"Received: subset={subset!r} of {data}"
            )
        images = (image for image, _ in subsets[subset])
    return [fit_image(model, image) for image in images]


def _compare(model, exported, images, progress):
    """The report on all the images, each repeated to fill a batch."""
    batch_size = exported.input_shape[0] or 1
    largest, changed, pixels = 0.0, 0, 0
    for image in track(images, "Comparing", shown=progress):
        batch = np.repeat(image[np.newaxis], batch_size, axis=0)
        ours = np.asarray(model.predict_on_batch(batch))
        theirs = exported.predict_on_batch(batch)
        largest = np.maximum(largest, np.abs(ours - theirs).max())
        one, other = (to_labels(batch[0], model.masks) for batch in (ours, theirs))
        changed += int(np.count_nonzero(one != other))
        pixels += one.size
    return Exported(
        images=len(images),
        largest_difference=float(largest),
        changed_pixels=changed,
        pixels=pixels,
    )
