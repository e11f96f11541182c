"""Trains the default recipe on Kvasir-SEG with one change at a time.

Run it with

    python benchmarks/recipe.py kvasir-seg --encoder-weights imagenet

It prints a table of the scores on the validation images, as `train` scores them, of the
Dice with the gates closed, and of what each gate adds: a share of the skip's norm, and
how much of that is the same at all places. The test images are not used. Runs go on
after a break, and those that are there are kept.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from keras_pamunet.analysis.attention_maps import close_gates, gate_effects
from keras_pamunet.data import Resized, open_splits
from keras_pamunet.evaluation import evaluate
from keras_pamunet.models import load_model
from keras_pamunet.training import RECIPES, train

SPLIT, SIZE = "effisegnet", 128

# Arguments of the model.
NETWORK = {
    "none": {},
    "first_order": {"score_activation": "first_order"},
    "softmax": {"score_activation": "softmax"},
    "sigmoid_log_n": {"score_activation": "sigmoid_log_n"},
    "lambda_0": {"attention_regularization": 0.0},
    "lambda_0.1": {"attention_regularization": 0.1},
    "no_attention": {"attention": None, "key_stride": 1},
}
# What differs in the recipe.
RECIPE = {
    "cross_entropy": {"loss": "cross_entropy"},
    "dice": {"loss": "dice"},
    "no_ema": {"ema_momentum": None},
    "constant_rate": {"schedule": "constant"},
}


def screen(
    data: str,
    encoder_weights: str,
    changes: list[str],
    epochs: int,
    seed: int,
    runs: Path,
) -> None:
    validation = Resized(open_splits(data, SPLIT)["validation"], (SIZE, SIZE))
    images = np.stack([image for image, _ in validation])
    table = Table("change", "Dice", "IoU", "recall", "gates closed", "added, the same")
    for change in changes:
        arguments = {
            "encoder_weights": encoder_weights,
            "key_stride": 2,
            **NETWORK.get(change, {}),
        }
        folder = runs / f"recipe-{epochs}-{change}-{seed}"
        recipe = replace(RECIPES["default"], **RECIPE.get(change, {}))
        found = train(
            data,
            folder,
            recipe=recipe,
            split=SPLIT,
            size=SIZE,
            epochs=epochs,
            seed=seed,
            subset="validation",
            **arguments,
        )["summary"]
        row = [f"{found[column]:.4f}" for column in ("dice", "iou", "recall")]
        model = load_model(folder)
        if model.attention is not None:
            closed = evaluate(close_gates(model), validation)["summary"]
            gates = [
                f"{gate['change']:.1%} {gate['uniform']:.0%}"
                for gate in gate_effects(model, images)
            ]
            row += [f"{closed['dice']:.4f}", ", ".join(gates)]
        table.add_row(change, *row)
    Console().print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    names = [*NETWORK, *RECIPE]
    parser.add_argument("data", help="the folder of Kvasir-SEG, or tfds:kvasir_seg")
    parser.add_argument(
        "--encoder-weights", default="imagenet", help="or a .weights.h5 file"
    )
    parser.add_argument("--changes", nargs="+", choices=names, default=names)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=Path, default="runs")
    screen(**vars(parser.parse_args()))
