"""Predicts masks of CT volumes in NIfTI files."""

import dataclasses
import math
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import nibabel
import numpy as np
from nibabel.openers import Opener
from rich.markup import escape

from keras_pamunet.data.mapped_slices import MappedSlices
from keras_pamunet.data.nifti import UnfitVolume, nifti_stem
from keras_pamunet.data.resized import resize_image
from keras_pamunet.data.volume import Volume
from keras_pamunet.data.windows import check_hu, takes_hu
from keras_pamunet.drawing import write_picture
from keras_pamunet.files import (
    make_folder,
    unwritable,
    write_json,
    written_aside,
)
from keras_pamunet.inference.dicom_seg import write_dicom_seg
from keras_pamunet.inference.holes import fill_holes
from keras_pamunet.inference.images import CLASSES, PROBABILITIES, mask_paths
from keras_pamunet.inference.incomplete import Incomplete
from keras_pamunet.inference.object_finder import ObjectFinder
from keras_pamunet.inference.predicted import Predicted
from keras_pamunet.inference.predictions import Predictions
from keras_pamunet.inference.predictor import (
    Predictor,
    check_threshold,
    input_size,
    predict_batch,
    resize_probabilities,
)
from keras_pamunet.inference.preview import draw
from keras_pamunet.inference.results import to_record
from keras_pamunet.inference.segmented_object import SegmentedObject
from keras_pamunet.inference.statistics import (
    measure,
    read_statistics,
    write_statistics,
)
from keras_pamunet.progress import track
from keras_pamunet.targets import (
    flat,
    is_class,
    of_objects,
    own_probabilities,
    to_layers,
)

PREVIEWS, STATISTICS, SEGMENTATIONS = "previews", "statistics", "dicom"


def predict_volume(
    model: Predictor,
    source: str | Path | bytes | nibabel.Nifti1Image,
    *,
    batch_size: int = 8,
    flips: bool = True,
    progress: bool = False,
) -> nibabel.Nifti1Image:
    """Predicts the mask of a CT volume, slice by slice.

    Memory holds one batch of slices, whatever their number: the labels of all are
    mapped to a temporary file, as `keras_pamunet.data.Volume` maps the voxels.

    Args:
        model: a `Segmenter` or an `OnnxModel` of 1 or 3 channels whose `input_range` is
            a window of HU. Slices are resized to its size, if that is fixed, and the
            probabilities back.
        source: a NIfTI file, its content or an image of nibabel, see
            `keras_pamunet.data.Volume`.
        batch_size: slices predicted at once.
        flips: see `keras_pamunet.inference.segment`.
        progress: whether to show a progress bar.

    Returns:
        uint8 labels, 0 and 1, or those of several classes (of classes that overlap
        the last), in the shape and with the affine and orientation of the source. An
        extension of the header has the names and the colours of the classes.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the source is no volume, damaged or not in HU (see
            `keras_pamunet.data.windows.check_hu`), or the model takes another number of
            channels, or values of pictures.

    Example:

    >>> from keras_pamunet import load_model, predict_volume
    >>> mask = predict_volume(load_model("runs/liver"), "ct.nii.gz")
    >>> mask.to_filename("mask.nii.gz")
    """
    _check_takes_ct(model)
    volume = _open(source, model)
    found = _predict(volume, model, batch_size, flips, progress)
    return volume.to_nifti(found.labels.array, model.class_names)


def predict_volumes(
    model: Predictor,
    inputs: str | Path | Iterable[str | Path],
    output: str | Path,
    *,
    recursive: bool = False,
    preview: bool = True,
    probabilities: bool = False,
    class_masks: bool = False,
    statistics: bool = False,
    scans: Mapping[Path, Path] = MappingProxyType({}),
    series: int | None = None,
    threshold: float = 0.5,
    min_volume: float = 0.0,
    largest: bool = False,
    fill_holes: bool = False,
    flips: bool = True,
    batch_size: int = 8,
    shard: tuple[int, int] = (1, 1),
    overwrite: bool = False,
    report: bool = False,
    progress: bool = True,
) -> Predicted:
    """Writes the masks of NIfTI volumes, and what was found in numbers.

    A mask appears when it is complete, so the same call goes on after a break. The
    folder's `predictions.json` tells what each mask was made of, see
    `keras_pamunet.inference.predictions.Predictions`.

    Args:
        model: see `predict_volume`.
        inputs: files and folders, see `keras_pamunet.inference.inputs.find_files`.
        output: folder for the masks, which have the names of their volumes; for one
            volume also the mask's own path, ending in `.nii` or `.nii.gz`.
            `results.csv` beside them has the columns of
            `keras_pamunet.inference.results.COLUMNS`.
        recursive: whether to look into the folders of folders, too. Their masks lie
            in folders of the same names.
        preview: whether to write `previews/<name>.png`, too, see
            `keras_pamunet.inference.preview.draw`.
        probabilities: whether to write `probabilities/<name>`, too: of each voxel the
            probability that it belongs to an object, as 16 bits with a scaling.
        class_masks: whether to write `classes/<class>/<name>`, too: a mask of 0 and 1
            for each class. Of overlapping classes it alone tells all.
        statistics: whether to write `statistics/<name>.json`, too, what
            `keras_pamunet.inference.statistics.measure` returns, and
            `statistics.csv`, a row for each class of each volume.
        scans: for inputs made of DICOM, their folder or zip file: `dicom/<name>.dcm` is
            written, too, see `keras_pamunet.inference.dicom_seg.write_dicom_seg`.
        series: number of the series in the scans, where there are several.
        threshold: see `keras_pamunet.inference.segment`.
        min_volume: ml. Smaller objects are left out.
        largest: whether of each class all but the largest object is left out.
        fill_holes: whether the holes of each class are filled, slice by slice, before
            objects are measured and left out; see
            `keras_pamunet.inference.holes.fill_holes`.
        flips: see `keras_pamunet.inference.segment`.
        batch_size: slices predicted at once.
        shard: see `keras_pamunet.inference.images.predict_images`.
        overwrite: whether to write masks anew that are there. By default they are
            kept if they were made of the same volume by the same model with the same
            settings, and else an error.
        report: whether to write `report.json`, too: the input, model, settings, hashes,
            seconds, versions and device of each mask in the folder.
        progress: whether to show a progress bar for each volume.

    Raises:
        FileNotFoundError: if there is no such file or folder.
        FloatingPointError: names the model, if its probabilities are NaN.
        OSError: if the output cannot be written.
        Incomplete: names the volumes that could not be used, as they are damaged, not
            in HU or too large for memory or `TMPDIR`; the others are done all the
            same, and are its `predicted`.
        ValueError: if a mask would take the place of a volume, if one of other
            origin is there, or as `predict_volume` does.
    """
    _check_takes_ct(model)
    check_threshold(model, threshold)
    endings = (".nii", ".nii.gz")
    folder, masks = mask_paths(inputs, Path(output), recursive, endings, shard)
    make_folder(folder)
    settings = {"flips": flips, "threshold": threshold, "min_volume": min_volume}
    settings |= {"largest": largest, "fill_holes": fill_holes}
    predictions = Predictions(folder, model, settings)
    previews, maps, classes, records, segmentations = {}, {}, {}, {}, {}
    for mask, path in masks.items():
        name = mask.relative_to(folder)
        if preview:
            previews[mask] = (
                folder / PREVIEWS / name.with_name(f"{nifti_stem(name)}.png")
            )
        if probabilities:
            maps[mask] = folder / PROBABILITIES / name
        if class_masks:
            classes[mask] = [folder / CLASSES / x / name for x in model.class_names]
        if statistics:
            stem = nifti_stem(name)
            records[mask] = folder / STATISTICS / name.with_name(f"{stem}.json")
        if path in scans:
            file = name.with_name(f"{nifti_stem(name)}.dcm")
            segmentations[mask] = folder / SEGMENTATIONS / file
    kinds = (previews, maps, records, segmentations)
    extras = {
        mask: [kind[mask] for kind in kinds if mask in kind] + classes.get(mask, [])
        for mask in masks
    }
    kept = set(predictions.plan(masks, overwrite, extras))
    results, seconds, problems = {}, {}, []
    try:
        for mask, path in masks.items():
            if mask in kept:
                continue
            start = time.perf_counter()
            try:
                volume = _open(path, model)
                voxel_ml = math.prod(volume.spacing) / 1000
                found = _predict(
                    volume,
                    model,
                    batch_size,
                    flips,
                    progress,
                    threshold=threshold,
                    min_size=min_volume / voxel_ml,
                    largest=largest,
                    without_holes=fill_holes,
                    with_probabilities=probabilities,
                )
            # What a file can cause. Whatever else goes wrong would so for the others.
            except (UnfitVolume, OSError, MemoryError) as error:
                problems.append(f"  {path}: {str(error) or type(error).__name__}")
                continue
            predictions.confirm(mask)
            # Before the mask, which says that all is done.
            if preview:
                picture = draw(volume, found.labels, model.input_range)
                write_picture(picture, previews[mask])
            if probabilities:
                maps[mask].parent.mkdir(parents=True, exist_ok=True)
                shares = found.probabilities
                image = volume.to_probabilities(shares.array)
                write_nifti(image, maps[mask], shares.let_go)
            for label, path in enumerate(classes.get(mask, ()), 1):
                path.parent.mkdir(parents=True, exist_ok=True)
                own = model.class_names[label - 1 : label]
                where = found.of_class(label)
                write_nifti(volume.to_nifti(where.array, own), path, where.let_go)
            if statistics:
                records[mask].parent.mkdir(parents=True, exist_ok=True)
                measured = measure(volume, found.layers, model.class_names)
                place = mask.relative_to(folder).as_posix()
                write_json(records[mask], {"mask": place, **measured})
            if mask in segmentations:
                scan, target = scans[masks[mask]], segmentations[mask]
                target.parent.mkdir(parents=True, exist_ok=True)
                names = model.class_names
                try:
                    write_dicom_seg(scan, series, volume, found.layers, names, target)
                except UnfitVolume as error:
                    problems.append(f"  {masks[mask]}: {error}")
                    continue
            mask.parent.mkdir(parents=True, exist_ok=True)
            image = volume.to_nifti(found.labels.array, model.class_names)
            write_nifti(image, mask, found.labels.let_go)
            seconds[mask] = time.perf_counter() - start
            results[mask] = to_record(
                found.labels, found.objects, model.class_names, voxel_ml
            )
    finally:
        predictions.add(results, seconds)
    if report:
        predictions.write_report()
    if statistics:
        paths = sorted((folder / STATISTICS).rglob("*.json"))
        write_statistics(folder, map(read_statistics, paths))
    predicted = Predicted(
        written=list(results),
        kept=[mask for mask in masks if mask in kept],
        rows=predictions.rows(masks),
        folder=folder,
    )
    if problems:
        raise Incomplete(
            f"{len(problems)} of {len(masks)} volumes could not be predicted:\n"
            + "\n".join(problems),
            predicted,
        )
    return predicted


def _check_takes_ct(model):
    if model.input_shape[-1] not in (1, 3):
        raise ValueError(
            "Expected a model of 1 or 3 channels for CT. Received: one of "
            f"{model.input_shape[-1]} channels"
        )
    if not takes_hu(model.input_range):
        raise ValueError(
            "Expected a model of CT, whose input_range is a window of HU. Received: "
            f"{model.origin}, for values of {tuple(model.input_range)}"
        )


def _open(source, model):
    """The volume, in HU if the model takes values below 0."""
    volume = Volume(source)
    if model.input_range[0] < 0:
        check_hu(volume)
    return volume


def write_nifti(
    image: nibabel.Nifti1Image, target: Path, let_go: Callable[[], None] | None = None
) -> None:
    """Writes a NIfTI file, whole or not at all.

    Args:
        image: what to write.
        target: where to.
        let_go: called from time to time, to take voxels that were read of a file out
            of memory.

    Raises:
        OSError: if it cannot be written.
    """
    try:
        with written_aside(target) as new:
            # nibabel makes other names of endings like .Nii.gz.
            ending = new.name[len(nifti_stem(new)) :].lower()
            lower = new.with_name(f"mask{ending}")
            with Opener(str(lower), "wb") as file:
                stream: Any = _Watched(file, let_go) if let_go else file
                image.to_stream(stream)
            lower.rename(new)
    except OSError as error:
        raise unwritable(target, error) from error


class _Watched:
    """A file to write to, that calls a function after each so many bytes."""

    EACH = 2**24

    def __init__(self, file, function):
        self._file, self._function, self._count = file, function, 0

    def write(self, content):
        self._count += len(content)
        if self._count >= self.EACH:
            self._function()
            self._count = 0
        return self._file.write(content)

    def __getattr__(self, name):
        return getattr(self._file, name)


@dataclasses.dataclass(frozen=True)
class _Found:
    """What was found in a volume, in the order `(slices, rows, columns)`."""

    labels: MappedSlices
    layers: list[MappedSlices]
    probabilities: MappedSlices | None
    objects: list[SegmentedObject]

    def of_class(self, label: int) -> MappedSlices:
        """0 and 1."""
        where = MappedSlices(self.labels.shape, "uint8")
        for z in range(len(where)):
            where[z] = is_class([layer[z] for layer in self.layers], label)
        return where


def _predict(
    volume,
    model,
    batch_size,
    flips,
    progress,
    threshold=0.5,
    min_size=0.0,
    largest=False,
    without_holes=False,
    with_probabilities=False,
):
    rows_columns = volume.shape[1::-1]
    channels = model.input_shape[-1]
    size = input_size(model, rows_columns)
    batch_size = min(batch_size, len(volume))
    volume.slice(0)  # Fails if the header claims more than there is.
    count = model.num_classes if model.masks == "overlapping" else 1
    shape = volume.shape[::-1]
    layers = [MappedSlices(shape, "uint8") for _ in range(count)]
    maps = MappedSlices(shape, "uint16") if with_probabilities else None
    finders, done = [ObjectFinder(min_size, largest) for _ in layers], 0
    for start in track(
        range(0, len(volume), batch_size),
        escape(_printable(Path(volume.name).name)),
        shown=progress,
    ):
        # The last batch overlaps: another size would be compiled anew.
        start = min(start, len(volume) - batch_size)
        images = np.stack(
            [
                resize_image(_pixels(volume, z), size).repeat(channels, -1)
                for z in range(start, start + batch_size)
            ]
        )
        batch = predict_batch(model, images, flips)
        for z, found in enumerate(batch, start):
            if z < done:
                continue
            found = resize_probabilities(found, rows_columns)
            each = to_layers(found, model.masks, threshold)
            for layer, finder, (labels, own) in zip(layers, finders, each):
                if without_holes:
                    labels = fill_holes(labels)
                    own = own_probabilities(found, labels, model.masks)
                layer[z] = labels
                finder.add(labels, own)
            if maps is not None:
                maps[z] = np.rint(65535 * of_objects(found, model.masks))
        done = start + batch_size
    if min_size > 0 or largest:
        for layer, finder in zip(layers, finders):
            for z in range(len(volume)):
                layer[z] = finder.clean(z, layer[z])
    labels = layers[0]
    if len(layers) > 1:
        labels = MappedSlices(shape, "uint8")
        for z in range(len(volume)):
            labels[z] = flat([layer[z] for layer in layers])
    objects = [x for finder in finders for x in finder.objects()]
    return _Found(labels, layers, maps, objects)


def _pixels(volume, z):
    """A slice `(rows, columns, 1)` as it is, in HU."""
    return volume.slice(z)[..., np.newaxis].astype("float32")


def _printable(name):
    """A file's name without the bytes that are no text."""
    return name.encode("utf-8", "replace").decode()
