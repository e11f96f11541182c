"""Trains the default recipe on Kvasir-SEG with one change at a time.

Run it with

    python benchmarks/recipe.py kvasir-seg --encoder-weights imagenet

The 900 training and validation images of the split `effisegnet` are divided into three
folds: each change is trained three times, with another seed for each fold, and each
image is validated on once. The 100 test images are not used. It prints the means over
the 900 images, as `train` scores them, the difference in Dice to the first change with
its bootstrap interval, the Dice with the gates closed, and what each gate adds: a share
of the skip's norm, and how much of that is the same at all places. Runs go on after a
break. What each gave is kept in `--kept`: of what is there, nothing is run again.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from keras_pamunet.analysis.attention_maps import close_gates, gate_effects
from keras_pamunet.bootstrap import mean_interval
from keras_pamunet.data import Resized, k_fold_split, open_splits, save_split
from keras_pamunet.data.splits import groups_of
from keras_pamunet.evaluation import evaluate
from keras_pamunet.models import load_model
from keras_pamunet.training import RECIPES, train

SPLIT, SIZE, FOLDS = "effisegnet", 128, 3

# Arguments of the model.
NETWORK: dict[str, dict[str, Any]] = {
    "sigmoid": {"score_activation": "sigmoid"},
    "first_order": {"score_activation": "first_order"},
    "softmax": {"score_activation": "softmax"},
    "sigmoid_log_n": {"score_activation": "sigmoid_log_n"},
    "no_attention": {"attention": None, "key_stride": 1},
    "lambda_0": {"attention_regularization": 0.0},
    "lambda_0.1": {"attention_regularization": 0.1},
}
# What differs in the recipe.
RECIPE: dict[str, dict[str, Any]] = {
    "cross_entropy": {"loss": "cross_entropy"},
    "dice": {"loss": "dice"},
    "no_ema": {"ema_momentum": None},
    "constant_rate": {"schedule": "constant"},
}
MEANS = ("dice", "iou", "recall")


def fold_files(data: str, folder: Path) -> list[Path]:
    """Writes the split of each fold, unless it is there."""
    subsets = open_splits(data, SPLIT)
    names, groups = [], []
    for pairs in (subsets["train"], subsets["validation"]):
        names += pairs.names
        groups += groups_of(pairs)
    paths = []
    for fold, split in enumerate(k_fold_split(names, groups, FOLDS)):
        paths.append(folder / f"fold-{fold}.json")
        save_split(paths[-1], split, overwrite=True)
    return paths


def run(
    data: str,
    split: Path,
    fold: int,
    change: str,
    initial: str,
    epochs: int,
    kept: Path,
) -> dict[str, Any]:
    """Trains one change on one fold, and scores it on the fold's validation images."""
    name = Path(initial).name.partition(".")[0]
    folder = split.parent / f"{change}-{name}-{epochs}-{fold}"
    saved = kept / f"{folder.name}.json"
    if saved.exists():
        return json.loads(saved.read_text("utf-8"))
    arguments = {"key_stride": 2, **NETWORK.get(change, {})}
    if initial != "random":
        arguments["encoder_weights"] = initial
    scores = train(
        data,
        folder,
        recipe=replace(RECIPES["default"], **RECIPE.get(change, {})),
        split=str(split),
        size=SIZE,
        epochs=epochs,
        seed=fold,
        subset="validation",
        progress=False,
        **arguments,
    )
    columns = ("name", *MEANS)
    images = [{column: row[column] for column in columns} for row in scores.images]
    found: dict[str, Any] = {"images": images}
    model = load_model(folder)
    if model.attention is not None:
        pairs = Resized(open_splits(data, split)["validation"], (SIZE, SIZE))
        found["closed"] = evaluate(close_gates(model), pairs).dice
        images = np.stack([image for image, _ in pairs])
        found["gates"] = gate_effects(model, images[:100])
    kept.mkdir(parents=True, exist_ok=True)
    saved.write_text(json.dumps(found), "utf-8")
    return found


def screen(
    data: str,
    encoder_weights: str,
    changes: list[str],
    epochs: int,
    runs: Path,
    kept: Path | None,
) -> None:
    columns = ("change", *MEANS, "difference", "gates closed", "added, the same")
    table = Table(*columns)
    runs.mkdir(parents=True, exist_ok=True)
    splits = fold_files(data, runs)
    found: dict[str, list[dict[str, Any]]] = {change: [] for change in changes}
    for fold, split in enumerate(splits):  # All changes on a fold, then the next.
        for change in changes:
            found[change].append(
                run(data, split, fold, change, encoder_weights, epochs, kept or runs)
            )
    first = None
    for change, folds in found.items():
        images = {row["name"]: row for fold in folds for row in fold["images"]}
        row = [f"{np.mean([x[mean] for x in images.values()]):.4f}" for mean in MEANS]
        if first is None:
            first = images
            row.append("")
        else:
            gain = [images[name]["dice"] - first[name]["dice"] for name in images]
            low, high = mean_interval(gain) or (np.nan, np.nan)
            row.append(f"{np.mean(gain):+.4f} ({low:+.4f} to {high:+.4f})")
        if "closed" in folds[0]:
            row.append(f"{np.mean([fold['closed'] for fold in folds]):.4f}")
            gates = zip(*(fold["gates"] for fold in folds))
            row.append(
                ", ".join(
                    f"{np.mean([x['change'] for x in gate]):.1%} "
                    f"{np.mean([x['uniform'] for x in gate]):.0%}"
                    for gate in gates
                )
            )
        table.add_row(change, *row)
    Console().print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    names = [*NETWORK, *RECIPE]
    parser.add_argument("data", help="the folder of Kvasir-SEG, or tfds:kvasir_seg")
    parser.add_argument(
        "--encoder-weights", default="imagenet", help='a .weights.h5 file, or "random"'
    )
    parser.add_argument("--changes", nargs="+", choices=names, default=names)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--runs", type=Path, default="runs/recipe")
    parser.add_argument("--kept", type=Path, help="folder of results; default: --runs")
    screen(**vars(parser.parse_args()))
