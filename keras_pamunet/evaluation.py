"""Scores a model on images with masks: numbers per image, a summary, pictures."""

import itertools
import json
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import rich.progress
from keras import ops
from PIL import Image

from keras_pamunet import metrics
from keras_pamunet.analysis.attention_maps import attention_maps
from keras_pamunet.analysis.figures import comparison, to_rgb
from keras_pamunet.data.cache import Cache
from keras_pamunet.data.pipeline import one_hot, pipeline
from keras_pamunet.inference import (
    check_range,
    fit_image,
    predict_flips,
    predict_image,
    to_labels,
)
from keras_pamunet.run_folder import replace_text


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
        "images": [{"name": ..., "dice": ...}, ...]}`.
        The summary has the mean over the images of Dice, IoU, recall and precision;
        `pooled_dice`, of all pixels together; `n`, and `n_missed`, the images with a
        Dice of 0.

    Raises:
        ValueError: if the images have another number of channels than the model
            takes, or more than the 8 bits it was made for.
    """
    if source.channels != model.input_shape[-1]:
        raise ValueError(
            f"Expected images of {model.input_shape[-1]} channels, as the model takes. "
            f"Received: {source.channels} channels"
        )
    check_range(source[0][0], model.input_range)
    scorers = model.own_metrics()
    config = {**scorers[0].get_config(), "reduction": "pooled"}
    pooled = metrics.Dice.from_config(config)
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
        scores = [
            ops.convert_to_numpy(scorer.image_scores(masks, probabilities)).mean(axis=1)
            for scorer in scorers
        ]
        pooled.update_state(masks, probabilities)
        for row in zip(*scores):
            name = source.names[len(rows)]
            row = {scorer.name: float(score) for scorer, score in zip(scorers, row)}
            rows.append({"name": name, **row})
        if output is not None:  # To draw some. As labels many would need gigabytes.
            for image in np.asarray(probabilities):
                labels = to_labels(image, image.shape[:2], model.activation)
                pngs.append(cv2.imencode(".png", labels)[1])
    summary = {
        scorer.name: float(np.mean([row[scorer.name] for row in rows]))
        for scorer in scorers
    }
    summary["pooled_dice"] = float(pooled.result())
    summary["n"] = len(rows)
    summary["n_missed"] = sum(row["dice"] == 0 for row in rows)
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
            Image.fromarray(picture).save(folder / f"{rank + 1:03}_{name}")
        text = json.dumps(result, indent=1, ensure_ascii=False)
        replace_text(record, text + "\n")
    return result


def _remove_pictures(folder, record):
    """Removes the pictures of the evaluation before, and no others."""
    try:
        images = json.loads(record.read_text("utf-8"))["images"]
    except (FileNotFoundError, ValueError, KeyError):
        return  # There was none, or the record is of something else.
    names = {_file_name(row["name"]) for row in images}
    for old in folder.glob("[0-9]*_*.png"):
        if old.name.partition("_")[2] in names:
            old.unlink()


def _file_name(name):
    return f"{name.replace('/', '_')}.png"  # volume-3/0042, a slice.


def _predict_batches(model, source, batch_size, flips):
    for images, masks in pipeline(source, batch_size):
        if flips:
            yield masks, predict_flips(model, images)
        else:
            yield masks, model.predict_on_batch(images)


def _predict_images(model, source, flips):
    for image, mask in source:
        found = predict_image(model, image, flips)
        yield [one_hot(x[np.newaxis], model.num_classes) for x in (mask, found)]
