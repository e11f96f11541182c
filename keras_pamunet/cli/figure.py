"""The commands `figure masks`, `gates`, `cka` and `failures`."""

from pathlib import Path
from typing import Annotated

import typer

from keras_pamunet.cli.cka import cka
from keras_pamunet.cli.entry import call
from keras_pamunet.cli.options import MODEL_HELP, Flips, ModelArgument, Quiet
from keras_pamunet.cli.screen import bold

figure = typer.Typer(
    no_args_is_help=True, help="Draw the figures of the paper, of your own models."
)
Models = Annotated[list[str], typer.Argument(help=f"{MODEL_HELP} One or more.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="The picture.")]
FigureData = Annotated[
    str | None,
    typer.Option(
        help="Folder with images/ and masks/, or whatever train takes. Default: the "
        "data the run was trained on."
    ),
]
FigureSplit = Annotated[
    str | None, typer.Option(help="Default: the run's own, for the run's data.")
]
Subset = Annotated[
    str | None,
    typer.Option(
        help="train, validation, test or all. Default: as for evaluate, without the "
        "images that a model was trained on."
    ),
]
Names = Annotated[
    list[str] | None,
    typer.Option("--name", help="An image's name; give several. Default: drawn ones."),
]
Count = Annotated[int, typer.Option(help="Number of images.", min=1)]
DrawSeed = Annotated[int, typer.Option(help="Of the images, and of a drawn split.")]


@figure.command()
def masks(
    models: Models,
    data: FigureData = None,
    output: Output = Path("masks.png"),
    split: FigureSplit = None,
    subset: Subset = None,
    names: Names = None,
    count: Count = 4,
    flips: Flips = True,
    seed: DrawSeed = 0,
    quiet: Quiet = False,
) -> None:
    """Draw images, their true masks, and the masks of models side by side (Fig. 3)."""

    def run():
        from keras_pamunet.figure_images import FigureImages
        from keras_pamunet.paper_figures import draw_masks

        images = FigureImages(models, data, split, subset, seed)
        draw_masks(
            images,
            output,
            names=names or (),
            count=count,
            flips=flips,
            progress=not quiet,
        )

    _draw(run, output)


@figure.command()
def gates(
    model: ModelArgument,
    data: FigureData = None,
    output: Output = Path("gates.png"),
    split: FigureSplit = None,
    subset: Subset = None,
    names: Names = None,
    count: Count = 2,
    seed: DrawSeed = 0,
) -> None:
    """Draw the features before and after each attention gate (Fig. 2c)."""

    def run():
        from keras_pamunet.figure_images import FigureImages
        from keras_pamunet.paper_figures import draw_gates

        images = FigureImages([model], data, split, subset, seed)
        draw_gates(images, output, names=names or (), count=count)

    _draw(run, output)


figure.command()(cka)


@figure.command()
def failures(
    models: Models,
    data: FigureData = None,
    output: Output = Path("failures.png"),
    split: FigureSplit = None,
    subset: Subset = None,
    count: Count = 4,
    flips: Flips = True,
    seed: DrawSeed = 0,
    quiet: Quiet = False,
) -> None:
    """Draw images with more objects than any training image has (Fig. 4).

    If there are none: the images of the lowest Dice of the first model.
    """

    def run():
        from keras_pamunet.figure_images import FigureImages
        from keras_pamunet.paper_figures import draw_failures

        images = FigureImages(models, data, split, subset, seed)
        return draw_failures(
            images, output, count=count, flips=flips, progress=not quiet
        )

    typer.echo(_draw(run, output))


def _draw(run, output):
    result = call(run, "keras_pamunet.paper_figures")
    typer.echo(f"Picture: {bold(output)}")
    return result
