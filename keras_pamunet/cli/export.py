"""The command `export`."""

from pathlib import Path
from typing import Annotated

import typer

from keras_pamunet import choices
from keras_pamunet.cli.entry import call
from keras_pamunet.cli.options import (
    DATA_HELP,
    ModelArgument,
    Quiet,
    Split,
)
from keras_pamunet.cli.screen import bold

OUTPUTS = {"onnx": "model.onnx", "litert": "model.tflite", "saved_model": "model"}


def export(
    model: ModelArgument,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="The .onnx or .tflite file, or the folder of a SavedModel. Default: "
            "model.onnx.",
        ),
    ] = None,
    format: Annotated[
        choices.Format | None,
        typer.Option(help="Default: as the file's name ends, or onnx."),
    ] = None,
    size: Annotated[
        int | None, typer.Option(help="Of the images. Default: the model's.", min=17)
    ] = None,
    any_size: Annotated[
        bool, typer.Option("--any-size", help="Take images of any size.")
    ] = False,
    batch_size: Annotated[
        int | None,
        typer.Option(help="Images at once. Default: any number, of LiteRT one.", min=1),
    ] = None,
    score_activation: Annotated[
        choices.ScoreActivation | None,
        typer.Option(
            help="Other than the model's own; first_order makes attention's time "
            "linear."
        ),
    ] = None,
    quantize: Annotated[
        choices.Quantize | None,
        typer.Option(help="Numbers in 8 or 16 bits. Default: float32."),
    ] = None,
    calibrate: Annotated[
        Path | None,
        typer.Option(
            help="For int8: a folder of images as those to come, or a data set, whose "
            "training images are taken."
        ),
    ] = None,
    input_dtype: Annotated[
        choices.InputDtype,
        typer.Option(help="Of the images; uint8 as cameras and image files have them."),
    ] = "float32",
    data: Annotated[
        str | None,
        typer.Option(
            help="To compare on. Default: the images of --calibrate, or drawn ones. "
            f"{DATA_HELP}"
        ),
    ] = None,
    split: Split = None,
    subset: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    tolerance: Annotated[
        float | None,
        typer.Option(
            help="How far a probability may be off. Default: 0.0001; any of --quantize."
        ),
    ] = None,
    max_changed: Annotated[
        float,
        typer.Option(help="Share of the mask's pixels that --quantize may change."),
    ] = 0.01,
    max_dice_loss: Annotated[
        float,
        typer.Option(help="What --quantize may lower the Dice by, of data with masks."),
    ] = 0.005,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a file that is there.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Write a model for ONNX Runtime, LiteRT or TensorFlow, and compare the two."""
    target = output or Path(OUTPUTS[format or "onnx"])

    def run():
        from keras_pamunet import exporting

        return exporting.export(
            model,
            target,
            format=format,
            size=(None, None) if any_size else size and (size, size),
            batch_size=batch_size,
            data=data,
            split=split,
            subset=subset,
            quantize=quantize,
            calibrate=calibrate,
            tolerance=tolerance,
            max_changed=max_changed,
            max_dice_loss=max_dice_loss,
            overwrite=overwrite,
            progress=not quiet,
            score_activation=score_activation,
            input_dtype=input_dtype,
        )

    runtime = "litert" if target.suffix == ".tflite" else "export"
    report = call(run, "keras_pamunet.exporting", extra=f"{runtime},tensorflow")
    typer.echo(
        f"{bold(target)}, {report.bytes / 1e6:.1f} MB, compared with Keras on "
        f"{report.images} images: probabilities within "
        f"{report.largest_difference:.2g}, {report.changed_pixels:,} of "
        f"{report.pixels:,} mask pixels changed"
    )
    if report.dice_before is not None:
        typer.echo(
            f"Dice without flips: {report.dice_before:.4f} before, "
            f"{report.dice_after:.4f} after"
        )
    if report.float_layers:
        typer.echo(f"In float32: {', '.join(report.float_layers)}")
    typer.echo(f"Report: {target}.json")
