"""Scores a model on images with masks: numbers per image, a summary, pictures."""

import itertools
from collections.abc import Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from keras_pamunet.analysis.bland_altman import write_bland_altman
from keras_pamunet.bootstrap import mean_interval
from keras_pamunet.cases import CaseScores, write_cases
from keras_pamunet.data.pairs import Pairs
from keras_pamunet.data.pipeline import pipeline
from keras_pamunet.data.resized import Resized
from keras_pamunet.data.value_range import check_range
from keras_pamunet.drawing import to_rgb, write_picture
from keras_pamunet.figures import comparison
from keras_pamunet.files import read_json_object, write_json
from keras_pamunet.inference.predictor import (
    Predictor,
    fit_image,
    predict_batch,
    resize_labels,
    segment,
)
from keras_pamunet.pixel_scores import pixel_counts, ratios
from keras_pamunet.predicted_masks import PredictedMasks
from keras_pamunet.progress import track
from keras_pamunet.scored_pairs import check_kind
from keras_pamunet.scores import Scores
from keras_pamunet.targets import (
    is_class,
    label_count,
    to_labels,
    to_layers,
    to_targets,
)

SCORES = ("dice", "iou", "recall", "precision")


def evaluate(
    model: Predictor | PredictedMasks,
    source: Pairs,
    output: str | Path | None = None,
    *,
    full_size: bool = False,
    batch_size: int = 16,
    pictures: int = 8,
    progress: bool = True,
    subset: str = "test",
    flips: bool = True,
) -> Scores:
    """Scores a model.

    Args:
        model: a `Segmenter`, an `OnnxModel` or `LiteRTModel`, which need no Keras, or
            `PredictedMasks`, which are scored in full size.
        source: the pairs, resized to the model's size unless they are `Resized`.
        output: folder for `metrics.json` and `pictures/`, of groups of images also
            `cases.csv`, and of volumes in full size `volumes.png`, a plot of Bland and
            Altman. Nothing is written by default.
        full_size: whether each image is scored in its own size. `PredictedMasks`
            always are.
        batch_size: images predicted at once, where they are of one size.
        pictures: number of images to draw, spread evenly from the worst Dice to the
            best.
        progress: whether to show a progress bar.
        subset: name of what is scored, for the record.
        flips: see `keras_pamunet.inference.segment`. The record says `False` of a model
            without `mirror_axes`.

    Returns:
        The means, and the scores of each image and each group of images.

    Raises:
        ValueError: names the image, if it has another number of channels than the model
            takes, or other values than it was made for, or a mask of another size.
        FloatingPointError: if the model's probabilities are NaN.
    """
    is_files = isinstance(model, PredictedMasks)
    if not isinstance(model, PredictedMasks):
        if source.channels != model.input_shape[-1]:
            raise ValueError(
                f"Expected images of {model.input_shape[-1]} channels, as the model "
                f"takes. Received: {source.channels} channels"
            )
        check_kind(model, source)
    pooled = np.zeros(3, "int64")
    if source.num_classes != label_count(model.num_classes, model.masks):
        raise ValueError(
            f"Expected masks of {label_count(model.num_classes, model.masks)} "
            f"class(es), as {model.origin} finds. Received: {source.num_classes}"
        )
    rows, pngs = [], []
    if is_files:
        batches, batch_size = _read_masks(model, source), 1
    elif full_size:
        batches, batch_size = _predict_images(model, source, flips), 1
    else:
        source = _resized(model, source)
        batches = _predict_batches(model, source, batch_size, flips)
    cases = source.groups and CaseScores(source, model.class_names)
    for masks, probabilities in track(
        batches, "Evaluating", -(-len(source) // batch_size), progress
    ):
        counts = pixel_counts(masks, probabilities, model.activation)
        pooled += counts.sum(axis=(1, 2))
        if cases:
            for pair in zip(*(_of_classes(x, model) for x in (masks, probabilities))):
                cases.add(*pair)
        for scores in _score(counts, model.class_names):
            means = {
                kind: float(np.mean([score[kind] for score in scores]))
                for kind in SCORES
            }
            name = source.names[len(rows)]
            rows.append({"name": name, **means, "classes": scores})
        if output is not None:
            # Which masks are drawn is known only after ranking: until then all are
            # kept as PNG, because plain labels of many images would take gigabytes.
            for image in np.asarray(probabilities):
                found = to_labels(image, model.masks)
                pngs.append(cv2.imencode(".png", found)[1])
    if source.groups is not None:
        for row, group in zip(rows, source.groups):
            row["group"] = group
    summary = _summary(rows, source.groups)
    summary["pooled_dice"] = float(ratios(pooled)["dice"])
    summary["classes"] = [
        _class_row([row["classes"][index] for row in rows])
        for index in range(len(model.class_names))
    ]
    if cases:
        summary["cases"] = cases.summary()
    flipped = None if isinstance(model, PredictedMasks) else bool(model.mirror_axes)
    result = Scores(
        subset=subset,
        flips=flipped and flips,
        summary=summary,
        images=rows,
        cases=cases.rows if cases else None,
    )
    if output is not None:
        folder = Path(output) / "pictures"
        folder.mkdir(parents=True, exist_ok=True)
        record = Path(output) / "metrics.json"
        _remove_pictures(folder, record)
        worst_first = np.argsort([row["dice"] for row in rows], kind="stable")
        picks = np.linspace(0, len(rows) - 1, min(pictures, len(rows))).astype(int)
        chosen = [worst_first[rank] for rank in picks]
        attention: Iterable[np.ndarray | None] = itertools.repeat(None)
        if model.attention is not None:
            # Imported here: a model without gates may need no Keras.
            from keras_pamunet.analysis.attention_maps import attention_maps

            images = (fit_image(model, source[index][0]) for index in chosen)
            attention = attention_maps(model, images)
        for rank, index, seen in zip(picks, chosen, attention):
            image, truth = getattr(source, "source", source)[index]  # In full size.
            found = np.asarray(cv2.imdecode(pngs[index], cv2.IMREAD_UNCHANGED))
            picture = comparison(
                to_rgb(image, model.input_range),
                truth,
                resize_labels(found, truth.shape),
                seen,
                f"Dice {rows[index]['dice']:.3f}  {rows[index]['name']}",
            )
            name = _file_name(rows[index]["name"])
            write_picture(picture, folder / f"{rank + 1:03}_{name}")
        write_json(record, result.to_json())
        if result.cases:
            write_cases(result.cases, Path(output) / "cases.csv")
            if "truth_ml" in result.cases[0]["classes"][0]:
                write_bland_altman(result.cases, Path(output) / "volumes.png")
    return result


def _resized(model, source):
    size = model.input_shape[1:3]
    if isinstance(source, Resized):
        return source
    if None in size:
        raise ValueError(
            "Expected Resized pairs, or full_size=True, for a model of images of any "
            "size."
        )
    return Resized(source, size)


def _of_classes(masks, model):
    """Where each class is, `(batch, rows, columns, classes)`."""
    masks = np.asarray(masks)
    layers = [x for x, _ in to_layers(masks, model.masks)]
    labels = range(1, len(model.class_names) + 1)
    return np.stack([is_class(layers, label) for label in labels], axis=-1)


def _score(counts, class_names):
    """For each image of a batch a row for each class."""
    scores = ratios(counts)
    both, only_truth, _ = counts
    for index, truth in enumerate(both + only_truth > 0):
        yield [
            {
                "class": label + 1,
                "name": name,
                "truth": bool(truth[label]),
                **{kind: float(scores[kind][index, label]) for kind in SCORES},
            }
            for label, name in enumerate(class_names)
        ]


def _summary(rows, groups):
    """Means over the images with their intervals, and how many were missed."""
    scores = {name: [row[name] for row in rows] for name in SCORES}
    return {
        **{name: float(np.mean(values)) for name, values in scores.items()},
        "intervals": {
            name: mean_interval(values, groups) for name, values in scores.items()
        },
        "n": len(rows),
        **({} if groups is None else {"n_groups": len(set(groups))}),
        "n_missed": sum(any(map(_missed, row["classes"])) for row in rows),
        "n_false": sum(any(map(_false, row["classes"])) for row in rows),
    }


def _class_row(scores):
    """Means over the images that have a class, and how many were missed."""
    true = [score for score in scores if score["truth"]]
    means = {
        name: float(np.mean([score[name] for score in true])) if true else None
        for name in SCORES
    }
    return {
        "class": scores[0]["class"],
        "name": scores[0]["name"],
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


def _read_masks(masks, source):
    for name, (_, truth) in zip(source.names, source):
        found = masks.read(name, truth.shape)
        yield [to_targets(x[np.newaxis], masks.num_classes) for x in (truth, found)]


def _predict_batches(model, source, batch_size, flips):
    names = iter(source.names)
    for images, masks in pipeline(source, batch_size, masks=model.masks):
        for image in images:
            with _named(next(names)):
                check_range(image, model.input_range)
        yield masks, predict_batch(model, images, flips)


def _predict_images(model, source, flips):
    for name, (image, mask) in zip(source.names, source):
        with _named(name):
            found = segment(model, image, flips=flips)
        kinds = model.num_classes, model.masks
        truth = to_targets(mask[np.newaxis], *kinds)
        if model.masks == "overlapping":  # Labels do not tell all of them.
            yield truth, found.probabilities[np.newaxis]
        else:
            yield truth, to_targets(found.mask[np.newaxis], *kinds)


@contextmanager
def _named(name):
    """Errors in it name the image."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
