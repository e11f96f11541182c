"""The command `evaluate`."""

from pathlib import Path
from typing import Annotated

import typer

from keras_pamunet.cli.entry import call
from keras_pamunet.cli.options import MODEL_HELP, Flips, Quiet, Seed, Size
from keras_pamunet.cli.screen import show_comparison, show_scores
from keras_pamunet.inference.model_file import RUNTIMES


def evaluate(
    model: Annotated[
        list[str] | None,
        typer.Option(
            help=f"{MODEL_HELP} Or an .onnx or .tflite file, without Keras. Given "
            "again, models are compared."
        ),
    ] = None,
    masks: Annotated[
        list[Path] | None,
        typer.Option(help="A folder of masks to score like a model's, by file name."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="Folder with images/ and masks/, or whatever train takes; for --masks "
            "alone also a folder of masks. Default: the data the run was trained on."
        ),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Default: the run's own, for the run's data.")
    ] = None,
    subset: Annotated[
        str | None,
        typer.Option(
            help="train, validation, test or all. Default: all pairs of new data, the "
            "test subset of a run's data and of a --split."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder for numbers and pictures."),
    ] = None,
    size: Size = None,
    flips: Flips = True,
    full_size: Annotated[
        bool, typer.Option(help="In the images' own sizes, not the network's.")
    ] = False,
    num_classes: Annotated[
        int | None, typer.Option(help="Of --masks without a model. Default: 1.", min=1)
    ] = None,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Score models or masks on images with masks, and compare them."""

    def run():
        from keras_pamunet import scoring

        return scoring.score(
            model or (),
            data,
            output,
            masks=masks or (),
            split=split,
            subset=subset,
            size=size,
            full_size=full_size,
            flips=flips,
            num_classes=num_classes,
            seed=seed,
            progress=not quiet,
        )

    endings = {Path(path).suffix for path in model or ()}
    extra = (
        RUNTIMES[endings.pop()]
        if len(endings) == 1 and endings <= {*RUNTIMES}
        else None
    )
    results, comparison = call(run, "keras_pamunet.scoring", extra=extra)
    if comparison is None:
        (result,) = results.values()
        show_scores(result, output)
    else:
        show_comparison(comparison, output)
