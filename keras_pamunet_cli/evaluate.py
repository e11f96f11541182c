"""The command `evaluate`."""

from pathlib import Path
from typing import Annotated

import typer

from keras_pamunet_cli.entry import call
from keras_pamunet_cli.options import Flips, Model, Quiet, Seed, Size, image_shape
from keras_pamunet_cli.screen import show_scores


def evaluate(
    model: Model,
    data: Annotated[
        str | None, typer.Option(help="Default: the data the run was trained on.")
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Default: the run's own, for the run's data.")
    ] = None,
    part: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder for metrics.json and pictures."),
    ] = None,
    size: Size = None,
    flips: Flips = True,
    full_size: Annotated[
        bool, typer.Option(help="In the images' own sizes, not the network's.")
    ] = False,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Score a model on images with masks."""

    def run():
        from keras_pamunet import data as sources
        from keras_pamunet import evaluation, models

        if output is not None and (output / "config.json").exists():
            raise ValueError(f"Expected a folder for results. {output} holds a run.")
        network = models.load_model(model)
        source = evaluation.open_pairs(network, model, data, split, part, seed)
        shape = image_shape(network, size)[:2]
        pairs = source if full_size else sources.Cache(source, shape)
        sources.check([pairs], not quiet, network.input_range)
        return evaluation.evaluate(
            network, pairs, output, progress=not quiet, part=part, flips=flips
        )

    show_scores(call(run, "keras_pamunet.evaluation"), output)
