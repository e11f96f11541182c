"""The command `tune`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Column, Table

from keras_pamunet import choices
from keras_pamunet.cli.entry import call
from keras_pamunet.cli.options import (
    BatchSize,
    Classes,
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
from keras_pamunet.cli.screen import bold, figure, print_table


def tune(
    data: Data = "phantom",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the search.")
    ] = None,
    network: Network = None,
    split: Split = None,
    search: Annotated[
        list[str] | None,
        typer.Option(
            help="Again for each: expansion and attention_regularization (default), "
            "score_activation, attention; of other networks learning_rate (default), "
            "filters or width; see docs/tuning.md."
        ),
    ] = None,
    tuner: Annotated[choices.Tuner, typer.Option()] = "bayesian",
    trials: Annotated[
        int | None, typer.Option(help="Default: 12; none for hyperband.", min=1)
    ] = None,
    max_macs: Annotated[
        float | None, typer.Option(help="Refuse models of more, such as 8e8.")
    ] = None,
    epochs: Annotated[int, typer.Option(help="Of a trial.", min=1)] = 10,
    size: TrainingSize = None,
    batch_size: BatchSize = None,
    encoder_weights: EncoderWeights = None,
    key_stride: Annotated[
        int | None,
        typer.Option(
            help="Above 1, attention to averages of squares. Default: 1.", min=1
        ),
    ] = None,
    input_range: InputRange = None,
    window: Window = None,
    num_classes: Classes = 1,
    overlapping: Overlapping = None,
    seed: Seed = 0,
    chief: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Share the search: listen here for workers and give them the trials.",
        ),
    ] = None,
    worker: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Work for that --chief, with its other options and its --output.",
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Search hyperparameters. The same command goes on after a break."""

    def run():
        from keras_pamunet import tuning

        return tuning.tune(
            data,
            folder,
            network=network or "pamunet",
            split=split,
            search=search,
            tuner=tuner,
            trials=trials,
            max_macs=max_macs,
            epochs=epochs,
            size=size,
            batch_size=batch_size,
            seed=seed,
            progress=not quiet,
            window=window_of(window),
            chief=chief,
            worker=worker,
            num_classes=num_classes,
            **given,
        )

    options = {
        "encoder_weights": encoder_weights,
        "key_stride": key_stride,
        "input_range": input_range,
        "masks": masks_of(overlapping),
    }
    given = {name: value for name, value in options.items() if value is not None}
    folder = output or Path("runs", f"{Path(data).resolve().name}-tune")
    found = call(
        run,
        "keras_pamunet.tuning",
        f"{folder} keeps what is done. To go on: ",
        "tune",
    )
    if found is None:
        typer.echo(f"All trials are done. The chief writes {bold(folder)}.")
        return
    columns = (Column(name, overflow="fold") for name in found.best)
    table = Table(*columns, title="Trials, the best first")
    for row in found.trials:
        table.add_row(*(figure(value) for value in row.values()))
    print_table(table)
    if len(found.front) > 1:
        _show_front(found.front)
    for name in ("trials.csv", "trials.png", "best"):
        typer.echo(bold(folder / name))


def _show_front(rows):
    table = Table("multiply-adds", "Dice", "trial", title="Best for its multiply-adds")
    for row in rows:
        table.add_row(figure(row["macs"]), figure(row["dice"]), row["trial"])
    print_table(table)
