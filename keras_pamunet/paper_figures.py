"""The figures of the paper, drawn of one's own models and images."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_pamunet.analysis.attention_maps import gate_features
from keras_pamunet.drawing import check_suffix, write_picture
from keras_pamunet.evaluation import evaluate
from keras_pamunet.figure_images import FigureImages
from keras_pamunet.figures import before_after, gates_sheet, masks_sheet
from keras_pamunet.inference.object_finder import ObjectFinder
from keras_pamunet.inference.predictor import fit_image
from keras_pamunet.progress import track

# Share of an image. What is smaller is no object but a speck of its mask.
SMALLEST_OBJECT = 1e-4


def draw_masks(
    images: FigureImages,
    output: str | Path,
    *,
    names: Sequence[str] = (),
    count: int = 4,
    flips: bool = True,
    progress: bool = True,
) -> None:
    """Draws images, their true masks and those that each model finds (Fig. 3).

    Args:
        images: the images and models.
        output: path of the picture.
        names: of the images. By default some are drawn.
        count: how many.
        flips: see `keras_pamunet.inference.segment`.
        progress: whether to show progress bars.

    Raises:
        ValueError: for a name that is not there, an image that a model does not take,
            and an `output` that is no picture.
        OSError: if it cannot be written.
    """
    check_suffix(output)
    rows = images.rows(images.draw(count, names), flips, progress)
    write_picture(masks_sheet(rows), output)


def draw_gates(
    images: FigureImages,
    output: str | Path,
    *,
    names: Sequence[str] = (),
    count: int = 2,
) -> None:
    """Draws the features before and after each gate of the first model (Fig. 2c).

    See `draw_masks` for arguments.

    Raises:
        ValueError: if the model has no gates, or see `draw_masks`.
        OSError: if the picture cannot be written.
    """
    check_suffix(output)
    model = next(iter(images.models.values()))
    pairs = images.draw(count, names)
    rows = []
    for index, name in enumerate(pairs.names):
        image, truth = pairs[index]
        levels = gate_features(model, fit_image(model, image))
        rows.append((name, images.picture(image), truth, levels))
    write_picture(gates_sheet(rows), output)


def draw_failures(
    images: FigureImages,
    output: str | Path,
    *,
    count: int = 4,
    flips: bool = True,
    progress: bool = True,
) -> str:
    """Draws images with more objects than any training image has (Fig. 4).

    Those with most objects come first. If there are none, or no training images are
    known, they are the images of the lowest Dice of the first model. See `draw_masks`
    for arguments.

    Returns:
        Which of the two they are, as it stands below the picture.

    Raises:
        ValueError: see `draw_masks`.
        OSError: if the picture cannot be written.
    """
    check_suffix(output)
    source = images.source
    most = max(_object_counts(images.known, progress), default=None)
    counts = [] if most is None else _object_counts(source, progress)
    many = [index for index, objects in enumerate(counts) if objects > most]
    if many:
        chosen = sorted(many, key=lambda index: -counts[index])[:count]
        note = (
            f"{len(many)} of {len(source)} images have more objects than any of the "
            f"{len(images.known)} training images, {most}."
        )
    else:
        model = next(iter(images.models.values()))
        scores = evaluate(model, source, full_size=True, flips=flips, progress=progress)
        dice = [row["dice"] for row in scores.images]
        chosen = np.argsort(dice, kind="stable")[:count].tolist()
        reason = "No training images are known in these data"
        if most is not None:
            reason = (
                f"None of {len(source)} images has more objects than the training "
                f"images, {most} at most"
            )
        note = f"{reason}: the images of the lowest Dice."
    pairs = source.select(source.names[index] for index in chosen)
    rows = images.rows(pairs, flips, progress=False)
    if many:
        rows = [
            (f"{counts[index]} objects: {row[0]}", *row[1:])
            for index, row in zip(chosen, rows)
        ]
    write_picture(before_after(rows, note), output)
    return note


def _object_counts(source, progress):
    """How many connected objects each true mask has."""
    counts = []
    for _, truth in track(source, "Counting objects", len(source), progress):
        finder = ObjectFinder(SMALLEST_OBJECT * truth.size)
        finder.add(truth, truth > 0)
        counts.append(len(finder.objects()))
    return counts
