"""The figures of the paper, drawn of one's own models and images."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_pamunet.analysis.attention_maps import gate_features
from keras_pamunet.data.pairs import Pairs
from keras_pamunet.drawing import check_suffix, to_rgb, write_picture
from keras_pamunet.evaluation import evaluate
from keras_pamunet.figures import Row, before_after, gates_sheet, masks_sheet
from keras_pamunet.inference.object_finder import ObjectFinder
from keras_pamunet.inference.predictor import fit_image, segment
from keras_pamunet.models import Segmenter, load_model
from keras_pamunet.progress import track
from keras_pamunet.scored_pairs import ALL, open_pairs, trained_on

# Share of an image. What is smaller is no object but a speck of its mask.
SMALLEST_OBJECT = 1e-4


class FigureImages:
    """The images that figures of some models are drawn of.

    Images that a model was trained on are left out, unless they are asked for or there
    are no others.

    Args:
        models: what `keras_pamunet.models.load_model` takes, each once.
        data: see `keras_pamunet.scored_pairs.open_pairs`, as the next three.
        split: names the pairs of each subset.
        subset: which of them.
        seed: of a drawn split, and of the images that `draw` picks.

    Attributes:
        models: the models by their paths.
        source: the pairs.
        known: the pairs of the data that a model was trained on.

    Raises:
        ValueError: see `open_pairs`.
    """

    def __init__(
        self,
        models: Sequence[str | Path],
        data: str | Path | None = None,
        split: str | Path | None = None,
        subset: str | None = None,
        seed: int = 0,
    ):
        self.models: dict[str, Segmenter] = {str(x): load_model(x) for x in models}
        self.seed = seed
        with warnings.catch_warnings():
            # It is no score that is shown, or not of those.
            warnings.filterwarnings("ignore", ".* was trained on")
            _, (source, *_) = open_pairs(self.models, data, split, subset, seed)
            _, (whole, *_) = open_pairs(self.models, data, None, ALL, seed)
        known = set().union(*map(trained_on, self.models))
        unseen = [name for name in source.names if name not in known]
        if subset is None and not unseen:
            warnings.warn(
                "All of these images are such as a model was trained on.", stacklevel=2
            )
        self.source = source.select(unseen) if unseen else source
        self.known = whole.select(name for name in whole.names if name in known)

    def draw(self, count: int, names: Sequence[str] = ()) -> Pairs:
        """Some of the pairs: those of the names, or drawn ones in their order."""
        if names:
            return self.source.select(names)
        rng = np.random.default_rng(self.seed)
        drawn = rng.permutation(len(self.source))[:count]
        return self.source.select(self.source.names[x] for x in sorted(drawn))

    def rows(self, pairs: Pairs, flips: bool, progress: bool) -> list[Row]:
        """What the models find in pairs, with its Dice, both in the images' sizes."""
        found: list[dict[str, np.ndarray]] = [{} for _ in pairs.names]
        for path, model in self.models.items():
            scores = evaluate(
                model, pairs, full_size=True, flips=flips, progress=progress
            )
            for row, labels, (image, _) in zip(scores.images, found, pairs):
                title = f"{Path(path).name}: Dice {row['dice']:.3f}"
                if title in labels:
                    title = f"{path}: Dice {row['dice']:.3f}"
                labels[title] = segment(model, image, flips=flips).mask
        return [
            (name, self.picture(image), truth, labels)
            for name, (image, truth), labels in zip(pairs.names, pairs, found)
        ]

    def picture(self, image: np.ndarray) -> np.ndarray:
        """An image as the first model sees its values, in 8 bits."""
        return to_rgb(image, next(iter(self.models.values())).input_range)


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
    for name, (image, truth) in zip(pairs.names, pairs):
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
