"""The command `train`."""

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from keras_pamunet import choices
from keras_pamunet.cli.entry import call
from keras_pamunet.cli.options import (
    MODEL_HELP,
    BatchSize,
    Data,
    EncoderWeights,
    InputRange,
    Network,
    Overlapping,
    Quiet,
    Seed,
    Split,
    TrainingSize,
    Window,
    masks_of,
    window_of,
)
from keras_pamunet.cli.screen import show_comparison, show_scores


def train(
    data: Data = "phantom",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The run folder.")
    ] = None,
    network: Network = None,
    split: Split = None,
    recipe: Annotated[
        choices.Recipe, typer.Option(help="Settings to start from.")
    ] = "default",
    size: TrainingSize = None,
    epochs: Annotated[int | None, typer.Option(min=1)] = None,
    batch_size: BatchSize = None,
    accumulate: Annotated[
        int | None,
        typer.Option(
            help="Parts of a batch to compute one after another, if it does not fit "
            "the memory.",
            min=1,
        ),
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Default: 0.001, of the paper 0.01.")
    ] = None,
    encoder_weights: EncoderWeights = None,
    weights: Annotated[
        str | None,
        typer.Option(help=f"To start from. {MODEL_HELP} Other options default to its."),
    ] = None,
    attention: Annotated[
        choices.Attention | None, typer.Option(help="Default: luong.")
    ] = None,
    score_activation: Annotated[
        choices.ScoreActivation | None,
        typer.Option(
            help="Of luong, self and cross. Default: of luong first_order, the "
            "sigmoid's tangent, in linear time, and sigmoid with --recipe paper; else "
            "softmax."
        ),
    ] = None,
    attention_regularization: Annotated[
        float | None,
        typer.Option(
            help="Lambda, weight of the attention's variance. Default: 0.01.", min=0
        ),
    ] = None,
    expansion: Annotated[
        int | None,
        typer.Option(help="Of the inverted residual blocks. Default: 6.", min=1),
    ] = None,
    key_stride: Annotated[
        int | None,
        typer.Option(
            help="Above 1, attention to averages of squares. Default: 1.", min=1
        ),
    ] = None,
    filters: Annotated[
        int | None,
        typer.Option(
            help="Of att_unet and res_unet (default: 64), deeplab_v3_plus (256) and "
            "fcn8 (4096).",
            min=1,
        ),
    ] = None,
    width: Annotated[
        int | None, typer.Option(help="Of hrnet. Default: 18.", min=1)
    ] = None,
    input_range: InputRange = None,
    window: Window = None,
    num_classes: Annotated[
        int | None,
        typer.Option(
            help="Above 1, masks hold labels, 0 the background, which counts as a "
            "class. Default: as --weights, or 1.",
            min=1,
        ),
    ] = None,
    overlapping: Overlapping = None,
    class_names: Annotated[
        str | None,
        typer.Option(help="Of the labels 1, 2, ..., such as liver,tumour."),
    ] = None,
    balanced: Annotated[
        bool,
        typer.Option(
            "--balanced", help="Draw as many images with an object as without one."
        ),
    ] = False,
    distribute: Annotated[
        choices.Distribute,
        typer.Option(
            help="Devices that share each batch: all of this machine (data_parallel), "
            "of several processes (multi_worker), or what of these there is (auto)."
        ),
    ] = "none",
    mixed_precision: Annotated[
        bool,
        typer.Option(help="Compute in bfloat16, with weights in float32."),
    ] = False,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Train a model, and score it. The same command goes on after a break."""

    def run():
        from keras_pamunet import training
        from keras_pamunet.distribution import join

        devices = join(distribute)
        result = training.train(
            data,
            folder,
            network=network,
            split=split,
            recipe=recipe,
            size=size,
            epochs=epochs,
            batch_size=batch_size,
            accumulate=accumulate,
            learning_rate=learning_rate,
            seed=seed,
            progress=not quiet,
            weights=weights,
            window=window_of(window),
            balanced=balanced,
            distribute=devices,
            **given,
        )
        return result if devices.process == 0 else None

    options = {
        "encoder_weights": encoder_weights,
        "attention": attention,
        "score_activation": score_activation,
        "attention_regularization": attention_regularization,
        "expansion": expansion,
        "key_stride": key_stride,
        "filters": filters,
        "width": width,
        "input_range": input_range,
        "num_classes": num_classes,
        "masks": masks_of(overlapping),
        "class_names": class_names and class_names.split(","),
        "dtype": "mixed_bfloat16" if mixed_precision else None,
    }
    given: dict[str, Any] = {
        name: value for name, value in options.items() if value is not None
    }
    if attention == "none":
        given["attention"] = None
    folder = output or Path("runs", f"{Path(data).resolve().name}-{recipe}")
    result = call(
        run,
        "keras_pamunet.training",
        f"{folder} is as the last finished epoch left it. To go on: ",
    )
    if result is not None:  # Of several processes the first tells of it.
        _show_outcome(result, folder)


def _show_outcome(result, folder):
    from keras_pamunet.comparison import Comparison
    from keras_pamunet.files import read_json_object
    from keras_pamunet.history import best_epoch, read_history

    comparison = folder / "comparison.json"
    if comparison.exists():
        show_comparison(Comparison(**read_json_object(comparison)), None)
    else:
        show_scores(result, None)
    typer.echo(f"Numbers per image: {folder / 'metrics.json'}")
    typer.echo(f"Pictures: {folder / 'pictures'}")
    history = read_history(folder)
    best = best_epoch(history)
    typer.echo(
        f"Best of {len(history)} epochs: {best['epoch']}, validation Dice "
        f"{best['val_dice']:.3f}"
    )
    for name in ("learning_curve.png", "before_after.png"):
        if (folder / name).exists():
            typer.echo(f"Picture: {folder / name}")
    name = shlex.quote(str(folder))
    typer.echo(
        "Next:\n"
        f"  keras-pamunet predict PHOTO_OR_FOLDER --model {name}\n"
        f"  keras-pamunet evaluate --model {name} --data OTHER_FOLDER\n"
        f"  keras-pamunet export {name} -o model.onnx"
    )
