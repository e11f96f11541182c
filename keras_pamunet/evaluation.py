"""Scores a model on images with masks: numbers per image, a summary, pictures."""

import itertools
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import rich.progress
from keras import ops

from keras_pamunet import hub, metrics
from keras_pamunet.analysis.attention_maps import attention_maps
from keras_pamunet.analysis.figures import comparison
from keras_pamunet.data import is_volumes, open_source, open_splits
from keras_pamunet.data.cache import Cache
from keras_pamunet.data.pairs import Pairs, some
from keras_pamunet.data.pipeline import one_hot, pipeline
from keras_pamunet.data.value_range import check_range
from keras_pamunet.drawing import to_rgb, write_picture
from keras_pamunet.files import is_split, read_json_object, write_json
from keras_pamunet.inference import (
    fit_image,
    predict_batch,
    predict_image,
    to_labels,
)
from keras_pamunet.run_folder import read_config, run_of

SCORES = ("dice", "iou", "recall", "precision")


def evaluate(
    model: keras.Model,
    source: Any,
    output: str | Path | None = None,
    batch_size: int = 16,
    pictures: int = 8,
    progress: bool = True,
    part: str = "test",
    flips: bool = True,
) -> dict[str, Any]:
    """Scores a model.

    Args:
        model: a `PAMUNet`.
        source: a `Cache` is scored in its size, batch by batch. Any other source of
            pairs is scored image by image, each in its own size.
        output: folder for `metrics.json` and `pictures/`; nothing is written by
            default.
        batch_size: images predicted at once.
        pictures: number of images to draw, spread evenly from the worst Dice to the
            best.
        progress: whether to show a progress bar.
        part: name of what is scored, for the record.
        flips: see `keras_pamunet.inference.predict`.

    Returns:
        `{"part": ..., "flips": ..., "summary": {...},
        "images": [{"name": ..., "dice": ..., "classes": [...]}, ...]}`.
        The summary has the mean over images and classes of Dice, IoU, recall and
        precision, in which an image without a class scores 1 if none is found there;
        `pooled_dice`, of all pixels together; `n`, the number of images; `n_missed`,
        those with a class of which nothing was found, and `n_false`, those with a
        found class that is not there. Its `classes` have a row for each class: `class`
        (the label), the same means over the images that have the class (`None` if there
        are none), `n_with_truth`, `n_missed` and `n_false`.

    Raises:
        ValueError: names the image, if it has another number of channels than the model
            takes, or other values than it was made for.
        FloatingPointError: if the model's probabilities are NaN.
    """
    if source.channels != model.input_shape[-1]:
        raise ValueError(
            f"Expected images of {model.input_shape[-1]} channels, as the model takes. "
            f"Received: {source.channels} channels"
        )
    _check_windows(model, source)
    scorers = model.own_metrics()
    config = {**scorers[0].get_config(), "reduction": "pooled"}
    pooled = metrics.Dice.from_config(config)
    channels = scorers[0].target_class_ids or range(model.num_classes)
    rows, pngs = [], []
    if isinstance(source, Cache):
        batches = _predict_batches(model, source, batch_size, flips)
    else:
        batches, batch_size = _predict_images(model, source, flips), 1
    for masks, probabilities in rich.progress.track(
        batches,
        "Evaluating",
        total=-(-len(source) // batch_size),
        disable=not progress,
        transient=True,
    ):
        pooled.update_state(masks, probabilities)
        for scores in _score(scorers, channels, masks, probabilities):
            means = {
                scorer.name: float(np.mean([score[scorer.name] for score in scores]))
                for scorer in scorers
            }
            name = source.names[len(rows)]
            rows.append({"name": name, **means, "classes": scores})
        if output is not None:  # To draw some. As labels many would need gigabytes.
            for image in np.asarray(probabilities):
                found = to_labels(image, image.shape[:2], model.activation)
                pngs.append(cv2.imencode(".png", found)[1])
    names = [scorer.name for scorer in scorers]
    summary = _summary(rows, names)
    summary["pooled_dice"] = float(pooled.result())
    summary["classes"] = [
        _class_row([row["classes"][index] for row in rows], names)
        for index in range(len(channels))
    ]
    result = {"part": part, "flips": flips, "summary": summary, "images": rows}
    if output is not None:
        folder = Path(output) / "pictures"
        folder.mkdir(parents=True, exist_ok=True)
        record = Path(output) / "metrics.json"
        _remove_pictures(folder, record)
        worst_first = np.argsort([row["dice"] for row in rows], kind="stable")
        picks = np.linspace(0, len(rows) - 1, min(pictures, len(rows))).astype(int)
        chosen = [worst_first[rank] for rank in picks]
        attention = itertools.repeat(None)
        if model.attention is not None:
            images = (fit_image(model, source[index][0]) for index in chosen)
            attention = attention_maps(model, images)
        for rank, index, seen in zip(picks, chosen, attention):
            image, truth = source[index]
            picture = comparison(
                to_rgb(image, model.input_range),
                truth,
                cv2.imdecode(pngs[index], cv2.IMREAD_UNCHANGED),
                seen,
                f"{rows[index]['name'][:20]}  Dice {rows[index]['dice']:.3f}",
            )
            name = _file_name(rows[index]["name"])
            write_picture(picture, folder / f"{rank + 1:03}_{name}")
        write_json(record, result)
    return result


def _score(scorers, channels, masks, probabilities):
    """For each image of a batch a row for each class."""
    scores = {
        scorer.name: ops.convert_to_numpy(scorer.image_scores(masks, probabilities))
        for scorer in scorers
    }
    for index, truth in enumerate(np.asarray(masks).any(axis=(1, 2))):
        yield [
            {
                "class": channel if truth.size > 1 else 1,
                "truth": bool(truth[channel]),
                **{name: float(score[index, at]) for name, score in scores.items()},
            }
            for at, channel in enumerate(channels)
        ]


def _summary(rows, names):
    """Means over the images, and how many were missed."""
    return {
        **{name: float(np.mean([row[name] for row in rows])) for name in names},
        "n": len(rows),
        "n_missed": sum(any(map(_missed, row["classes"])) for row in rows),
        "n_false": sum(any(map(_false, row["classes"])) for row in rows),
    }


def _class_row(scores, names):
    """Means over the images that have a class, and how many were missed."""
    true = [score for score in scores if score["truth"]]
    means = {
        name: float(np.mean([score[name] for score in true])) if true else None
        for name in names
    }
    return {
        "class": scores[0]["class"],
        **means,
        "n_with_truth": len(true),
        "n_missed": sum(map(_missed, scores)),
        "n_false": sum(map(_false, scores)),
    }


def is_summary(summary: Any) -> bool:
    """Whether this is a summary as `evaluate` returns it, read from a file."""
    rows = summary.get("classes") if isinstance(summary, dict) else None
    return (
        isinstance(rows, list)
        and _holds(summary, (*SCORES, "pooled_dice", "n", "n_missed", "n_false"))
        and all(
            _holds(row, (*SCORES, "class", "n_with_truth", "n_missed", "n_false"))
            for row in rows
        )
    )


def _holds(row, names):
    return isinstance(row, dict) and all(
        name in row and isinstance(row[name], int | float | None) for name in names
    )


def _missed(score):
    return score["truth"] and score["dice"] == 0


def _false(score):
    return not score["truth"] and score["dice"] == 0


def open_pairs(
    model: keras.Model,
    path: str | Path,
    data: str | None = None,
    split: str | None = None,
    part: str = "test",
    seed: int = 0,
) -> Pairs:
    """The pairs to score a model on.

    Args:
        model: the model.
        path: where it was loaded from. If that is a run folder, the pairs are by
            default those of the run, by the names that it has kept.
        data: see `keras_pamunet.data.open_splits`.
        split: see `keras_pamunet.data.open_splits`.
        part: `"train"`, `"validation"` or `"test"`.
        seed: of a drawn split.

    Raises:
        ValueError: if there is no such part, all its pairs are gone, or no data are
            known.

    Warns:
        UserWarning: names pairs that are gone or new since the run, and says how many
            of the pairs the model was trained on.
    """
    folder = run_of(Path(path))
    run = folder and read_config(folder)
    own = run and run["settings"].get("data")
    if data is None and own is None:
        raise ValueError(f"Expected --data to score on. {path} is no run folder.")
    is_own = own is not None and (data is None or _same_data(data, own))
    data = own if data is None else data
    window = model.window if is_volumes(data) else None
    if is_own and split is None:
        source = open_source(data, model.num_classes, window)
        _check_windows(model, source)
        return _pairs_of_run(source, run, part)
    parts = open_splits(data, split, model.num_classes, seed, window)
    if part not in parts:
        raise ValueError(f"Expected one of {tuple(parts)}. Received: --part {part}")
    _check_windows(model, parts[part])
    known = _trained_on(path, run) & set(parts[part].names)
    if known and part != "train":
        warnings.warn(
            f"The model was trained on {len(known)} of these {len(parts[part])} "
            f"pairs, or on others of their names: {some(sorted(known))}",
            stacklevel=2,
        )
    return parts[part]


def _trained_on(path, run):
    """Names of the pairs that a model was trained on, of those that say so."""
    if run is None:
        try:
            _, metadata = hub.read(hub.find(path))
            split = metadata["data"]["split"]
        except (ValueError, KeyError, TypeError):
            return set()
    else:
        split = run["split"]
    return set(split.get("train", ())) if is_split(split) else set()


def _same_data(one, other):
    return one == other or Path(one).resolve() == Path(other).resolve()


def _check_windows(model, source):
    """Makes sure that a model sees the window of HU that it was trained with."""
    if source.window is not None and source.window != model.window:
        raise ValueError(
            f"Expected images like those that {model.origin} was trained on: its window"
            f" of HU is {model.window}. Received: CT slices in the window "
            f"{source.window}. A model of photographs, or of a version that kept no "
            "window, must be trained on CT anew."
        )


def _pairs_of_run(source, run, part):
    """Pairs of a part of a run; says what has changed since."""
    if part not in run["split"]:
        raise ValueError(
            f"Expected one of {tuple(run['split'])}. Received: --part {part}"
        )
    there, names = set(source.names), run["split"][part]
    gone = [name for name in names if name not in there]
    new = sorted(there.difference(*run["split"].values()))
    changes = {"gone and left out": gone, "new and left out": new}
    for what, some_names in changes.items():
        if some_names:
            warnings.warn(
                f"Since the run was begun {len(some_names)} pairs of "
                f"{run['settings']['data']} are {what}: {some(some_names)}",
                stacklevel=3,
            )
    if len(gone) == len(names):
        raise ValueError(
            f"Expected the {len(names)} pairs of the run's part {part!r} in "
            f"{run['settings']['data']}. None of them is there any more."
        )
    return source.subset(name for name in names if name in there)


def _remove_pictures(folder, record):
    """Removes the pictures of the evaluation before, and no others."""
    try:
        images = read_json_object(record)["images"]
        names = {_file_name(row["name"]) for row in images}
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return  # No evaluation before in this folder, or its record is damaged.
    for old in folder.glob("[0-9]*_*.png"):
        if old.name.partition("_")[2] in names:
            old.unlink()


def _file_name(name):
    return f"{name.replace('/', '_')}.png"  # volume-3/0042, a slice.


def _predict_batches(model, source, batch_size, flips):
    names = iter(source.names)
    for images, masks in pipeline(source, batch_size):
        for image in images:
            with _named(next(names)):
                check_range(image, model.input_range)
        yield masks, predict_batch(model, images, flips)


def _predict_images(model, source, flips):
    for name, (image, mask) in zip(source.names, source):
        with _named(name):
            found = predict_image(model, image, flips)
        yield [one_hot(x[np.newaxis], model.num_classes) for x in (mask, found)]


@contextmanager
def _named(name):
    """Errors in it name the image."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
