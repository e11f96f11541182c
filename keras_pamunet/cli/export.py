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


def export(
    model: ModelArgument,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The .onnx file.")
    ] = Path("model.onnx"),
    size: Annotated[
        int | None, typer.Option(help="Of the images. Default: the model's.", min=17)
    ] = None,
    any_size: Annotated[
        bool, typer.Option("--any-size", help="Take images of any size.")
    ] = False,
    batch_size: Annotated[
        int | None, typer.Option(help="Images at once. Default: any number.", min=1)
    ] = None,
    score_activation: Annotated[
        choices.ScoreActivation | None,
        typer.Option(
            help="Other than the model's own; first_order makes attention's time "
            "linear."
        ),
    ] = None,
    data: Annotated[
        str | None, typer.Option(help=f"To compare on. Default: drawn. {DATA_HELP}")
    ] = None,
    split: Split = None,
    subset: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    tolerance: Annotated[
        float, typer.Option(help="How far a probability may be off.")
    ] = 1e-4,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a file that is there.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Write a model as an ONNX file, and compare what the two find."""

    def run():
        from keras_pamunet import onnx_export

        return onnx_export.export(
            model,
            output,
            size=(None, None) if any_size else size and (size, size),
            batch_size=batch_size,
            data=data,
            split=split,
            subset=subset,
            tolerance=tolerance,
            overwrite=overwrite,
            progress=not quiet,
            score_activation=score_activation,
        )

    report = call(run, "keras_pamunet.onnx_export", extra="export,tensorflow")
    typer.echo(
        f"{bold(output)}, compared with Keras on {report.images} images: "
        f"probabilities within {report.largest_difference:.2g}, "
        f"{report.changed_pixels} of {report.pixels:,} mask pixels changed"
    )
