"""The command `attention`."""

from pathlib import Path
from typing import Annotated

import typer

from keras_pamunet.cli.entry import call
from keras_pamunet.cli.options import ModelArgument
from keras_pamunet.cli.screen import bold


def attention(
    model: ModelArgument,
    image: Annotated[Path, typer.Argument(help="An image file.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The picture.")] = Path(
        "attention.png"
    ),
    pixel: Annotated[
        tuple[int, int] | None,
        typer.Option(help="Row and column in the image. Default: the middle."),
    ] = None,
) -> None:
    """Draw what the attention gates of a model do to an image."""

    def run():
        from keras_pamunet import models
        from keras_pamunet.show import show_attention

        show_attention(models.load_model(model), image, output, pixel)

    call(run, "keras_pamunet.show")
    typer.echo(f"Picture: {bold(output)}")
