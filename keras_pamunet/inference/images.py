"""Predicts masks of image files. Needs no Keras: the model may be an `OnnxModel`."""

import errno
import itertools
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from keras_pamunet.data.image_file import read_image
from keras_pamunet.drawing import write_labels, write_picture
from keras_pamunet.files import make_folder
from keras_pamunet.inference.incomplete import Incomplete
from keras_pamunet.inference.inputs import find_files
from keras_pamunet.inference.predicted import Predicted
from keras_pamunet.inference.predictions import Predictions
from keras_pamunet.inference.predictor import (
    Predictor,
    check_threshold,
    fit_image,
    predict_batch,
    to_segmentation,
)
from keras_pamunet.inference.results import to_record
from keras_pamunet.progress import track
from keras_pamunet.targets import of_objects

# Folders beside the masks.
OVERLAYS, PROBABILITIES, CLASSES = "overlays", "probabilities", "classes"
# Errors of the disk, which the next image would meet again.
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG)
# Pixels of a batch: larger images are predicted fewer at once.
MAX_BATCH_PIXELS = 2**21


def predict_images(
    model: Predictor,
    inputs: str | Path | Iterable[str | Path],
    output: str | Path,
    *,
    recursive: bool = False,
    overlay: bool = True,
    probabilities: bool = False,
    class_masks: bool = False,
    threshold: float = 0.5,
    min_area: int = 0,
    flips: bool = True,
    batch_size: int = 8,
    shard: tuple[int, int] = (1, 1),
    overwrite: bool = False,
    report: bool = False,
    progress: bool = True,
) -> Predicted:
    """Writes the masks of image files, and what was found in numbers.

    A mask appears when it is complete, so the same call goes on after a break. The
    folder's `predictions.json` tells what each mask was made of, see
    `keras_pamunet.inference.predictions.Predictions`.

    Args:
        model: a `Segmenter` or an `OnnxModel`.
        inputs: files and folders, see `keras_pamunet.inference.inputs.find_files`.
        output: folder for the masks, `<stem>.png` in the size of their image: 0 and
            255, or the labels with a palette if the model tells several classes
            apart. For one image also the mask's own path. `results.csv` beside them
            has the columns of `keras_pamunet.inference.results.COLUMNS`.
        recursive: whether to look into the folders of folders, too. Their masks lie
            in folders of the same names.
        overlay: whether to write `overlays/<stem>.png`, too: the image with the
            objects' outlines.
        probabilities: whether to write `probabilities/<stem>.png`, too: of each pixel
            the probability that it belongs to an object, 65535 for 1.
        class_masks: whether to write `classes/<class>/<stem>.png`, too: a mask of 0
            and 255 for each class. Of overlapping classes it alone tells all.
        threshold: see `keras_pamunet.inference.segment`.
        min_area: see `keras_pamunet.inference.segment`.
        flips: see `keras_pamunet.inference.segment`.
        batch_size: images predicted at once, if they are not larger than 512 x 512.
        shard: `(3, 16)` for the third of 16 parts, so that several processes or
            machines can share the work: each takes every sixteenth input. They may
            write to one folder, and any of them may be run again.
        overwrite: whether to write masks anew that are there. By default they are
            kept if they were made of the same image by the same model with the same
            settings, and else an error.
        report: whether to write `report.json`, too: the input, model, settings, hashes,
            seconds, versions and device of each mask in the folder.
        progress: whether to show a progress bar.

    Raises:
        FileNotFoundError: if there is no such file or folder.
        OSError: if the folder cannot be written.
        FloatingPointError: names the model, if its probabilities are NaN.
        Incomplete: names the images that could not be read or have another number
            of channels than the model takes; the others are done all the same, and are
            its `predicted`.
        ValueError: if a mask would take the place of an image or of another mask, or
            one of other origin is there.
    """
    check_threshold(model, threshold)
    folder, masks = mask_paths(inputs, Path(output), recursive, (".png",), shard)
    make_folder(folder)
    settings = {"flips": flips, "threshold": threshold, "min_area": min_area}
    predictions = Predictions(folder, model, settings)
    kinds = [OVERLAYS] * overlay + [PROBABILITIES] * probabilities
    if class_masks:
        kinds += [f"{CLASSES}/{name}" for name in model.class_names]
    extras = {
        mask: [folder / kind / mask.relative_to(folder) for kind in kinds]
        for mask in masks
    }
    kept = set(predictions.plan(masks, overwrite, extras))
    to_do = {mask: path for mask, path in masks.items() if mask not in kept}
    results, problems = {}, []

    def read():
        for mask, path in to_do.items():
            try:
                image = read_image(path)
                yield (mask, image), fit_image(model, image)
            except (ValueError, OSError) as error:
                problems.append(f"  {path}: {error}")

    start = time.perf_counter()
    try:
        work = _predict(model, read(), len(to_do), batch_size, flips)
        for (mask, image), found in track(work, "Predicting", len(to_do), progress):
            predictions.confirm(mask)
            found = to_segmentation(model, image, found, threshold, min_area)
            try:
                # Before the mask, which says that all is done.
                if overlay:
                    target = folder / OVERLAYS / mask.relative_to(folder)
                    write_picture(found.overlay(), target)
                if probabilities:
                    target = folder / PROBABILITIES / mask.relative_to(folder)
                    share = of_objects(found.probabilities, model.masks)
                    write_picture(np.rint(65535 * share).astype("uint16"), target)
                if class_masks:
                    for name, where in found.class_masks().items():
                        target = folder / CLASSES / name / mask.relative_to(folder)
                        write_picture(255 * where.astype("uint8"), target)
                if model.num_classes > 1:
                    write_labels(found.mask, mask)
                else:
                    write_picture(255 * found.mask, mask)
            except (ValueError, OSError) as error:
                if isinstance(error, OSError) and error.errno in DISK_ERRORS:
                    raise
                problems.append(f"  {to_do[mask]}: {error}")
                continue
            results[mask] = to_record(found.mask, found.objects, model.class_names)
    finally:
        mean = (time.perf_counter() - start) / max(len(results), 1)
        predictions.add(results, dict.fromkeys(results, mean))
    if report:
        predictions.write_report()
    predicted = Predicted(
        written=list(results),
        kept=[mask for mask in masks if mask in kept],
        rows=predictions.rows(masks),
        folder=folder,
    )
    if problems:
        raise Incomplete(
            f"{len(problems)} of {len(masks)} images could not be predicted:\n"
            + "\n".join(problems),
            predicted,
        )
    return predicted


def mask_paths(
    inputs: str | Path | Iterable[str | Path],
    output: Path,
    recursive: bool,
    endings: tuple[str, ...],
    shard: tuple[int, int],
) -> tuple[Path, dict[Path, Path]]:
    """The folder for the masks, and the input of each mask.

    Args:
        inputs: see `keras_pamunet.inference.inputs.find_files`.
        output: the folder or, of a single input, the mask's own path.
        recursive: see `keras_pamunet.inference.inputs.find_files`.
        endings: of masks. Of several, a mask has the name of its input.
        shard: number of a part, from 1, and of all parts.

    Raises:
        ValueError: if there is no such part, or two masks would be one file.
    """
    number, count = shard
    if not 1 <= number <= count:
        raise ValueError(
            "Expected a part from 1 up to the number of parts as `shard`. Received: "
            f"{number}/{count}"
        )
    files = find_files(inputs, recursive)
    if output.name.lower().endswith(endings) and not output.is_dir():
        if len(files) > 1:
            raise ValueError(
                f"Expected a folder for the masks of {len(files)} inputs. Received: "
                f"{output}"
            )
        (path,) = files.values()
        return output.parent, {output: path}
    place = output.resolve()
    if any(path.resolve().parent == place for path in files.values()):
        raise ValueError(
            f"Expected another folder for the masks than that of the inputs, {output}"
        )
    renamed = len(endings) == 1
    masks = {}
    for name, path in files.items():
        if place in path.resolve().parents:
            continue  # Its own masks, if the folder lies within that of the images.
        mask = output / (name.with_suffix(endings[0]) if renamed else name)
        if mask in masks:
            raise ValueError(
                f"Expected images of different names. Received: {masks[mask].name} and "
                f"{path.name} in {path.parent}, whose masks would be one file."
            )
        masks[mask] = path
    return output, dict(list(masks.items())[number - 1 :: count])


def _predict(model, items, count, batch_size, flips) -> Iterator[tuple[Any, Any]]:
    """Each item's tag and the probabilities of its image, in batches of one size.

    A thread predicts the next batch while the caller writes what this one holds.
    """
    with ThreadPoolExecutor(1) as thread:
        ahead: list[tuple[Any, Any]] = []
        for tags, images in _batches(items, count, batch_size):
            ahead.append((tags, thread.submit(predict_batch, model, images, flips)))
            if len(ahead) > 1:
                tags, found = ahead.pop(0)
                yield from zip(tags, found.result())
        for tags, found in ahead:
            yield from zip(tags, found.result())


def _batches(items, count, batch_size):
    """Tags and images of one size, batch by batch.

    The last batch of a size is filled up: another number would be compiled anew.
    """
    # A power of two, so that few numbers are ever compiled.
    batch_size = min(batch_size, 2 ** (max(count, 1).bit_length() - 1))
    for shape, same in itertools.groupby(items, lambda item: item[1].shape):
        size = max(min(batch_size, MAX_BATCH_PIXELS // (shape[0] * shape[1])), 1)
        while batch := list(itertools.islice(same, size)):
            tags, images = zip(*batch)
            yield tags, np.stack([*images, *[images[-1]] * (size - len(images))])
