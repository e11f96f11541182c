"""Trains the default recipe on Kvasir-SEG with one change at a time.

Run it with

    python benchmarks/recipe.py kvasir-seg --encoder-weights imagenet

It prints a table of the scores on the validation images, as `train` scores them, of the
Dice with the gates closed, and of what each gate adds: a share of the skip's norm, and
how much of that is the same at all places. The test images are not used. Runs go on
after a break, and those that are there are kept.
"""

import argparse
from pathlib import Path
from unittest import mock

import keras
import numpy as np
from rich.console import Console
from rich.table import Table

from keras_pamunet import training
from keras_pamunet.analysis.attention_maps import close_gates, gate_effects
from keras_pamunet.data import Resized, open_splits
from keras_pamunet.evaluation import evaluate
from keras_pamunet.layers import ProgressiveLuongAttention
from keras_pamunet.models import load_model

SPLIT, SIZE = "effisegnet", 128

# Arguments of the model.
NETWORK = {
    "none": {},
    "softmax": {"score_activation": "softmax"},
    "sigmoid_log_n": {"score_activation": "sigmoid_log_n"},
    "lambda_0": {"attention_regularization": 0.0},
    "lambda_0.1": {"attention_regularization": 0.1},
    "no_attention": {"attention": None, "key_stride": 1},
}
# What differs when it is compiled.
TRAINING = {
    "gamma_1": {"gamma": 1.0},
    "cross_entropy": {"loss": "binary_crossentropy"},
    "dice": {"loss": keras.losses.Dice(axis=(1, 2, 3))},
    "no_ema": {"optimizer": {"ema_momentum": 0.0}},
    "constant_rate": {"optimizer": {"learning_rate": 1e-3}},
    "deep_supervision": {"deep_supervision": True},
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
        compiler = _compiler(**TRAINING.get(change, {}))
        with mock.patch.object(training, "_compile", compiler):
            found = training.train(
                data,
                folder,
                split=SPLIT,
                size=SIZE,
                epochs=epochs,
                seed=seed,
                part="validation",
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


def _compiler(gamma=None, loss=None, optimizer=(), deep_supervision=False):
    """Compiles as `train` does, but for what is given."""
    compile_recipe = training._compile

    def compile_changed(model, *arguments):
        compile_recipe(model, *arguments)
        config = {**model.optimizer.get_config(), **dict(optimizer)}
        model.compile(
            keras.optimizers.AdamW.from_config(config),
            loss or model.loss,
            metrics=model.own_metrics(),
        )
        for layer in model.layers:
            if gamma is not None and isinstance(layer, ProgressiveLuongAttention):
                layer.gamma.assign(gamma)
        if deep_supervision:
            _supervise_decoder(model)

    return compile_changed


def _supervise_decoder(model):
    """Every block of the decoder gets a head of its own, and that a loss.

    Its weight is half of that of the next finer one. The heads are not saved.
    """
    blocks = [model.get_layer(f"decoder_{level}") for level in range(4)]
    # As attributes of the model the heads' weights are among those that train.
    model.heads = [keras.layers.Conv2D(1, 1, activation="sigmoid") for _ in blocks]
    features = {}

    def keep_output(block):
        call = block.call

        def call_and_keep(*arguments, **options):
            features[block.name] = call(*arguments, **options)
            return features[block.name]

        block.call = call_and_keep

    for block, head in zip(blocks, model.heads, strict=True):
        head.build(block.output.shape)
        keep_output(block)
    compute_loss = model.compute_loss

    def compute_supervised_loss(x, y, y_pred, sample_weight=None, training=True):
        loss = compute_loss(x, y, y_pred, sample_weight, training=training)
        for level, (block, head) in enumerate(zip(blocks, model.heads, strict=True)):
            masks = head(features[block.name])
            masks = keras.ops.image.resize(masks, keras.ops.shape(y)[1:3])
            loss += model.loss(y, masks) / 2 ** (level + 1)
        return loss

    model.compute_loss = compute_supervised_loss


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    names = [*NETWORK, *TRAINING]
    parser.add_argument("data", help="the folder of Kvasir-SEG, or tfds:kvasir_seg")
    parser.add_argument(
        "--encoder-weights", default="imagenet", help="or a .weights.h5 file"
    )
    parser.add_argument("--changes", nargs="+", choices=names, default=names)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=Path, default="runs")
    screen(**vars(parser.parse_args()))
