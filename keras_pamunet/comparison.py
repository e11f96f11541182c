"""Compares what `evaluate` found of several models on the same images."""

import csv
import dataclasses
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_pamunet import bootstrap
from keras_pamunet.files import replace_text, write_json
from keras_pamunet.scores import Scores

SCORES = ("dice", "iou", "recall", "precision")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """How several models differ on the same images.

    Args:
        settings: how they were scored.
        bootstrap: how the intervals were made.
        summaries: by model the summary of its `Scores`.
        differences: by each further model `to`, the first model, and for each score
            the `mean` of score minus that of the first, its 95 % `interval` (`None`
            for fewer than two images or groups) and a `verdict`: `"higher"` or
            `"lower"` if the interval leaves out 0, else `"not told apart"`.
        images: a row for each image: `name`, its `group` if there are groups, and
            `scores` by model.
    """

    settings: dict[str, Any]
    bootstrap: dict[str, Any]
    summaries: dict[str, dict[str, Any]]
    differences: dict[str, dict[str, Any]]
    images: list[dict[str, Any]]

    def to_json(self) -> dict[str, Any]:
        """What `comparison.json` holds."""
        return dataclasses.asdict(self)


def compare(
    results: Mapping[str, Scores], settings: Mapping[str, Any] | None = None
) -> Comparison:
    """Compares each model with the first, image by image.

    On the same images two models' scores go up and down together, so the interval of
    their difference is much narrower than those of the scores let one think. It is the
    interval of the mean of the images' differences, see
    `keras_pamunet.bootstrap.mean_interval` (bootstrap, BCa; Efron 1987).

    Args:
        results: what `keras_pamunet.evaluation.evaluate` returned, by the name of the
            model. All of the same images, in the same order and size.
        settings: how they were scored, for the record.

    Raises:
        ValueError: for fewer than two models, or if their images are not the same.

    Example:

    >>> from keras_pamunet import PAMUNet, evaluate
    >>> from keras_pamunet.data import Folder
    >>> pairs, other = Folder("my_photos"), PAMUNet.from_preset("pamunet_kvasir_seg")
    >>> results = {"other": evaluate(other, pairs), "mine": evaluate(model, pairs)}
    >>> compare(results).differences["mine"]["dice"]
    {'mean': ..., 'interval': [...], 'verdict': ...}
    """
    if len(results) < 2:
        raise ValueError(
            f"Expected results of two or more models. Received: {', '.join(results)}"
        )
    first, *others = results
    images = results[first].images
    names = [row["name"] for row in images]
    groups = [row["group"] for row in images] if "group" in images[0] else None
    for model in others:
        if [row["name"] for row in results[model].images] != names:
            raise ValueError(
                "Expected results of the same images, in the same order. Received: "
                f"others of {model} than of {first}"
            )
    count = len(names if groups is None else set(groups))
    return Comparison(
        settings=dict(settings or {}),
        bootstrap=bootstrap.settings(count, groups is not None),
        summaries={model: result.summary for model, result in results.items()},
        differences={
            model: {
                "to": first,
                **{
                    score: _difference(
                        [row[score] for row in results[model].images],
                        [row[score] for row in images],
                        groups,
                    )
                    for score in SCORES
                },
            }
            for model in others
        },
        images=[
            {
                "name": name,
                **({} if groups is None else {"group": groups[index]}),
                "scores": {
                    model: {score: result.images[index][score] for score in SCORES}
                    for model, result in results.items()
                },
            }
            for index, name in enumerate(names)
        ],
    )


def _difference(scores, first, groups):
    differences = np.subtract(scores, first)
    interval = bootstrap.mean_interval(differences, groups)
    verdict = "not told apart"
    if interval is not None and interval[0] > 0:
        verdict = "higher"
    elif interval is not None and interval[1] < 0:
        verdict = "lower"
    return {
        "mean": float(differences.mean()),
        "interval": interval,
        "verdict": verdict,
    }


def write_comparison(comparison: Comparison, folder: str | Path) -> None:
    """Writes `comparison.json`, and `comparison.csv`: each image's Dice by model.

    Args:
        comparison: what `compare` returned.
        folder: where to.

    Raises:
        OSError: names the file that cannot be written.
    """
    models = list(comparison.summaries)
    images = comparison.images
    keys = [key for key in ("name", "group") if key in images[0]]
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow([*keys, *models])
    for row in images:
        dice = (row["scores"][model]["dice"] for model in models)
        writer.writerow([*(row[key] for key in keys), *dice])
    replace_text(Path(folder, "comparison.csv"), table.getvalue())
    write_json(Path(folder, "comparison.json"), comparison.to_json())
