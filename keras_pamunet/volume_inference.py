"""Predicts masks of CT volumes in NIfTI files."""

import math
import mmap
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import rich.progress
from rich.markup import escape

from keras_pamunet.analysis.figures import contact_sheet
from keras_pamunet.data.cache import resize_image
from keras_pamunet.data.nifti import (
    UnfitVolume,
    let_go,
    nifti_stem,
    temporary_file,
)
from keras_pamunet.data.volume import Volume
from keras_pamunet.data.volumes import nifti_files
from keras_pamunet.data.windows import apply_window, check_hu, window_limits
from keras_pamunet.drawing import to_rgb, write_picture
from keras_pamunet.files import make_folder, unwritable, written_aside
from keras_pamunet.inference import (
    check_exclusive,
    input_size,
    predict_batch,
    to_labels,
)
from keras_pamunet.predictions import Predictions

PREVIEW_SLICES = 8


def predict_volume(
    source: str | Path | bytes | nibabel.Nifti1Image,
    model: Any,
    window: str | tuple[float, float] | None = None,
    batch_size: int = 8,
    flips: bool = True,
    progress: bool = False,
) -> nibabel.Nifti1Image:
    """Predicts the mask of a CT volume, slice by slice.

    Memory holds one batch of slices, whatever their number: the labels of all are
    mapped to a temporary file, as `keras_pamunet.data.Volume` maps the voxels.

    Args:
        source: a NIfTI file, its content or an image of nibabel, see
            `keras_pamunet.data.Volume`.
        model: a `PAMUNet` of 1 or 3 channels, an `OnnxModel`, or what
            `keras_pamunet.models.load_model` takes. Slices are resized to its size, if
            that is fixed, and the probabilities back.
        window: which HU a model of `input_range` (0, 255) sees: a name in
            `keras_pamunet.data.WINDOWS` or `(lowest, highest)`. Defaults to that of
            the slices it was trained on, `model.window`, and must be given if there
            is none. Models of another `input_range` take HU as they are, and no
            window.
        batch_size: slices predicted at once.
        flips: see `keras_pamunet.inference.predict`.
        progress: whether to show a progress bar.

    Returns:
        uint8 labels, 0 and 1, or with `"softmax"` the classes, in the shape and with
        the affine and orientation of the source.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the source is no volume, damaged or not in HU (see
            `keras_pamunet.data.windows.check_hu`), or the model takes another number of
            channels or another window.

    Example:

    >>> from keras_pamunet.volume_inference import predict_volume
    >>> mask = predict_volume("ct.nii.gz", "runs/liver")
    >>> mask.to_filename("mask.nii.gz")
    """
    model = _load(model)
    limits = _limits(model, window)
    volume = _open(source, model, limits)
    labels = _predict(volume, model, limits, batch_size, flips, progress)
    return volume.to_nifti(labels)


def predict_volumes(
    model: Any,
    volumes: str | Path,
    output: str | Path,
    window: str | tuple[float, float] | None = None,
    preview: bool = False,
    overwrite: bool = False,
    progress: bool = True,
    flips: bool = True,
) -> tuple[list[Path], list[Path]]:
    """Writes the masks of a NIfTI file or of a folder of them.

    A mask appears when it is complete, so the same call goes on after a break. The
    folder's `predictions.json` tells what each mask was made of, see
    `keras_pamunet.predictions.Predictions`.

    Args:
        model: see `predict_volume`.
        volumes: a `.nii` or `.nii.gz` file, or a folder with such files.
        output: folder for the masks, which have the names of their volumes; for one
            volume also the mask's own path, ending in `.nii` or `.nii.gz`.
        window: see `predict_volume`.
        preview: whether to draw some slices of each volume, too, with its new mask
            and the outline: `<mask>.png` beside the mask.
        overwrite: whether to write masks anew that are there. By default they are
            kept if they were made of the same volume by the same model with the same
            settings, and else an error.
        progress: whether to show a progress bar for each volume.
        flips: see `keras_pamunet.inference.predict`.

    Returns:
        Paths of the masks that were written, and of those that were there and kept.

    Raises:
        FileNotFoundError: if there is no such file or folder.
        FloatingPointError: names the model, if its probabilities are NaN.
        OSError: if the output cannot be written.
        ValueError: names the volumes that could not be used, as they are damaged, not
            in HU or too large for memory or `TMPDIR`; the others are done all the
            same. Also if a mask would take the place of a volume, if one of other
            origin is there, or as `predict_volume` does.
    """
    model = _load(model)
    limits = _limits(model, window)
    masks = _masks(Path(volumes), Path(output))
    folder = next(iter(masks)).parent
    make_folder(folder)
    predictions = Predictions(folder, model, {"flips": flips, "window": limits})
    previews = {x: x.with_name(f"{nifti_stem(x)}.png") for x in masks if preview}
    kept = predictions.plan(masks, overwrite, previews)
    written, problems = [], []
    try:
        for mask, path in masks.items():
            if mask in kept:
                continue
            try:
                volume = _open(path, model, limits)
                labels = _predict(volume, model, limits, 8, flips, progress)
            # What a file can cause. Whatever else goes wrong would so for the others.
            except (UnfitVolume, OSError, MemoryError) as error:
                problems.append(f"  {path}: {str(error) or type(error).__name__}")
                continue
            predictions.confirm(mask)
            if preview:  # Before the mask, which says that all is done.
                picture = _preview(volume, labels, limits or model.input_range)
                write_picture(picture, previews[mask])
            _write(volume, labels, mask)
            written.append(mask)
    finally:
        if overwrite:
            predictions.add(written)
    if problems:
        raise ValueError(
            f"{len(problems)} of {len(masks)} volumes could not be predicted:\n"
            + "\n".join(problems)
        )
    return written, kept


def holds_nifti(path: Path) -> bool:
    """Whether this is a NIfTI file, by its name, or a folder with such files."""
    return bool(nifti_files([path])) if path.is_dir() else _is_named_so(path)


def _load(model):
    if not isinstance(model, str | Path):
        return model
    # Imports Keras, which an OnnxModel does without.
    from keras_pamunet.models import load_model

    return load_model(model)


def _limits(model, window):
    """Lowest and highest HU that become 0 and 255, or None for a model of HU."""
    check_exclusive(model)
    if model.input_shape[-1] not in (1, 3):
        raise ValueError(
            "Expected a model of 1 or 3 channels for CT. Received: one of "
            f"{model.input_shape[-1]} channels"
        )
    given = None if window is None else window_limits(window)
    if tuple(model.input_range) != (0, 255):
        if given is not None:
            raise ValueError(
                "Expected no window for a model that takes HU from "
                f"{model.input_range}. Received: window={window!r}"
            )
        return None
    if model.window is None:
        if given is None:
            raise ValueError(
                "Expected a model that was trained on slices of CT volumes. Received: "
                "one that keeps no window of HU. If it was trained on grey values of a "
                "window, name that: --window liver, or window='liver'."
            )
        return given
    own = window_limits(model.window)
    if given not in (None, own):
        raise ValueError(
            f"Expected the window {own} HU that the model was trained with. Received: "
            f"window={window!r}"
        )
    return own


def _masks(volumes, output):
    """Where masks go, and the volume of each."""
    single = volumes.is_file()
    if not single and not volumes.is_dir():
        raise FileNotFoundError(
            f"Expected a NIfTI file or folder. Not there: {volumes}"
        )
    files = [volumes] if single else list(nifti_files([volumes]).values())
    if not files:
        raise FileNotFoundError(
            f"Expected .nii or .nii.gz files in {volumes}. Found none."
        )
    if not _is_named_so(output):
        masks = {output / path.name: path for path in files}
    elif single:
        masks = {output: volumes}
    else:
        raise ValueError(
            f"Expected a folder for the masks of {volumes}. Received: {output}"
        )
    inputs = {path.resolve() for path in files}
    for mask in masks:
        if mask.resolve() in inputs:
            raise ValueError(
                f"Expected another place for the masks. Received: {mask}, a volume"
            )
    return masks


def _open(source, model, limits):
    """The volume, in HU if the model sees HU."""
    volume = Volume(source)
    if limits is not None or model.input_range[0] < 0:
        check_hu(volume)
    return volume


def _write(volume, labels, target):
    try:
        with written_aside(target) as new:
            # nibabel makes other names of endings like .Nii.gz.
            ending = new.name[len(nifti_stem(new)) :].lower()
            lower = new.with_name(f"mask{ending}")
            volume.to_nifti(labels).to_filename(lower)
            lower.rename(new)
    except OSError as error:
        raise unwritable(target, error) from error


def _predict(volume, model, limits, batch_size, flips, progress):
    """The labels, `(slices, rows, columns)` uint8."""
    rows_columns = volume.shape[1::-1]
    channels = model.input_shape[-1]
    size = input_size(model, rows_columns)
    batch_size = min(batch_size, len(volume))
    volume.slice(0)  # Fails if the header claims more than there is.
    with temporary_file(math.prod(volume.shape)) as file:
        for _ in range(len(volume)):  # A file with holes could not tell a full disk.
            file.write(bytes(rows_columns[0] * rows_columns[1]))
        file.flush()
        mapping = mmap.mmap(file.fileno(), 0)
    labels = np.ndarray(volume.shape[::-1], "uint8", mapping)
    for start in rich.progress.track(
        range(0, len(volume), batch_size),
        escape(_printable(Path(volume.name).name)),
        disable=not progress,
        transient=True,
    ):
        # The last batch overlaps: another size would be compiled anew.
        start = min(start, len(volume) - batch_size)
        images = np.stack(
            [
                resize_image(_grey(volume, z, limits), size).repeat(channels, -1)
                for z in range(start, start + batch_size)
            ]
        )
        batch = predict_batch(model, images, flips)
        for z, probabilities in enumerate(batch, start):
            labels[z] = to_labels(probabilities, rows_columns, model.activation)
        let_go(mapping)
    return labels


def _grey(volume, z, limits):
    """A slice `(rows, columns, 1)`, as 8-bit grey values or as HU without limits."""
    hu = volume.slice(z)[..., np.newaxis]
    return hu.astype("float32") if limits is None else apply_window(hu, limits)


def _preview(volume, labels, limits):
    """A contact sheet of slices, spread over those with a mask or else over all."""
    found = np.flatnonzero(labels.any(axis=(1, 2)))
    choice = found if found.size else np.arange(len(volume))
    picks = np.linspace(0, len(choice) - 1, min(PREVIEW_SLICES, len(choice)))
    panels = [
        (
            f"slice {z + 1} of {len(volume)}",
            to_rgb(_grey(volume, z, None), limits),
            labels[z],
        )
        for z in choice[picks.astype(int)]
    ]
    return contact_sheet([panels[i : i + 2] for i in range(0, len(panels), 2)])


def _is_named_so(path):
    """Whether a file's name ends as those of NIfTI files do."""
    return nifti_stem(path) != path.name


def _printable(name):
    """A file's name without the bytes that are no text."""
    return name.encode("utf-8", "replace").decode()
