"""Scores models and folders of masks on the same pairs, from files to files."""

import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_pamunet.comparison import Comparison, compare, write_comparison
from keras_pamunet.data import Resized, Volumes, check
from keras_pamunet.evaluation import evaluate
from keras_pamunet.files import make_folder
from keras_pamunet.inference.model_file import is_exported, open_exported
from keras_pamunet.inference.predictor import input_size
from keras_pamunet.predicted_masks import PredictedMasks
from keras_pamunet.predicted_volumes import PredictedVolumes
from keras_pamunet.run_folder import CONFIG
from keras_pamunet.scored_pairs import ALL, open_pairs
from keras_pamunet.scores import Scores


def score(
    models: Sequence[str | Path] = (),
    data: str | Path | None = None,
    output: str | Path | None = None,
    *,
    masks: Sequence[str | Path] = (),
    split: str | Path | None = None,
    subset: str | None = None,
    size: int | None = None,
    full_size: bool = False,
    flips: bool = True,
    num_classes: int | None = None,
    seed: int = 0,
    progress: bool = True,
) -> tuple[dict[str, Scores], Comparison | None]:
    """Scores models, and folders of predicted masks, on the same pairs.

    Args:
        models: what `keras_pamunet.models.load_model` takes, and files of exported
            models, which need no Keras.
        data: see `keras_pamunet.scored_pairs.open_pairs`. Defaults to those of the
            first run among the models.
        output: folder for the results. Of one model these are `metrics.json` and
            `pictures/`; of several each has a folder for them, beside
            `comparison.json` and `comparison.csv`.
        masks: folders of masks, see `PredictedMasks`, and of volumes
            `PredictedVolumes`.
        split: see `open_pairs`.
        subset: see `open_pairs`.
        size: height and width to resize images to, for models that take any size.
            Defaults to 128.
        full_size: whether images are scored in their own sizes. They always are if
            there are masks, or models of different sizes.
        flips: see `keras_pamunet.inference.segment`.
        num_classes: of masks without a model; see `keras_pamunet.data.Folder`.
            Defaults to 1.
        seed: of a drawn split.
        progress: whether to show progress bars.

    Returns:
        What `evaluate` returns of each model and folder, by its path as it was given;
        and what `compare` returns of them, or `None` if there is only one.

    Raises:
        ValueError: if there is nothing to score, a model or folder is given twice,
            `size` or `num_classes` do not fit the models, the output folder holds a
            run, pairs are unfit for use, or see `open_pairs`, `PredictedMasks` and
            `evaluate`.
        OSError: if the output folder cannot be written.
    """
    names = [str(path) for path in (*models, *masks)]
    if not names or len(set(names)) < len(names):
        raise ValueError(
            "Expected models (--model) or folders of masks (--masks), each once. "
            f"Received: {', '.join(names) or None}"
        )
    if output is not None:
        if Path(output, CONFIG).exists():
            raise ValueError(f"Expected a folder for results. {output} holds a run.")
        make_folder(Path(output))
    scored: dict[str, Any] = {str(path): _open(path) for path in models}
    networks = list(scored.values())
    sizes = [_size_of(model, size) for model in networks]
    if num_classes is not None and any(x.num_classes != num_classes for x in networks):
        raise ValueError(
            f"Expected no --num-classes for models of {networks[0].num_classes}. "
            f"Received: {num_classes}"
        )
    subset, pairs = open_pairs(scored, data, split, subset, seed, num_classes or 1)
    if masks and any(x.masks == "overlapping" for x in networks):
        raise ValueError(
            "Expected models whose classes exclude each other beside --masks, as those "
            "of masks in files do. Received: a model of overlapping classes."
        )
    full_size = full_size or not networks
    if not full_size and (masks or len(set(sizes)) > 1):
        full_size = True
        warnings.warn(
            "What is compared is not all of one size, so it is scored in the images' "
            "own sizes, as with --full-size.",
            stacklevel=2,
        )
    if not full_size:
        pairs = Resized(pairs, sizes[0])
    for path in masks:
        others = subset != ALL
        scored[str(path)] = (
            PredictedVolumes(path, pairs, others)
            if isinstance(pairs, Volumes)
            else PredictedMasks(path, pairs, others)
        )
    ranges = networks[0].input_range if networks else None
    check([pairs], progress, ranges)
    folders = _folders(output, names)
    results = {
        name: evaluate(
            model,
            pairs,
            folders[name],
            full_size=full_size,
            progress=progress,
            subset=subset,
            flips=flips,
        )
        for name, model in scored.items()
    }
    if len(results) == 1:
        return results, None
    settings = {
        "data": None if data is None else str(data),
        "split": None if split is None else str(split),
        "subset": subset,
        "full_size": full_size,
        "flips": flips if networks else None,
    }
    comparison = compare(results, settings)
    if output is not None:
        write_comparison(comparison, output)
    return results, comparison


def _open(model):
    if is_exported(model):
        return open_exported(model)
    from keras_pamunet.models import load_model

    return load_model(model)


def _size_of(model, size):
    side = size or 128
    found = input_size(model, (side, side))
    if size is not None and found != (size, size):
        raise ValueError(
            f"Expected no --size for {model.origin}, a model of images of "
            f"{max(found)} pixels. Received: --size {size}"
        )
    return found


def _folders(output, names):
    """The folder for the results of each; safe and different names of several."""
    if output is None or len(names) == 1:
        return dict.fromkeys(names, output)
    folders = {}
    for name in names:
        safe = plain = re.sub(r"[^\w.-]+", "_", name).strip("._") or "model"
        number = 2
        while Path(output, safe) in folders.values():
            safe, number = f"{plain}-{number}", number + 1
        folders[name] = Path(output, safe)
    return folders
