"""The command `cka`."""

from pathlib import Path
from typing import Annotated

import typer

from keras_pamunet.cli.data import subset_of
from keras_pamunet.cli.entry import call
from keras_pamunet.cli.options import Data, ModelArgument, Quiet, Size, Split
from keras_pamunet.cli.screen import bold


def cka(
    model: ModelArgument,
    other: ModelArgument,
    data: Data,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="The picture; the numbers beside it."),
    ] = Path("cka.png"),
    split: Split = None,
    subset: Annotated[
        str | None,
        typer.Option(help="train, validation or test of the split. Default: all."),
    ] = None,
    count: Annotated[
        int, typer.Option(help="Images, drawn by --seed from these.", min=4)
    ] = 100,
    batch_size: Annotated[
        int, typer.Option(help="More images are a better estimate, in more memory.")
    ] = 20,
    layers: Annotated[
        list[str] | None,
        typer.Option(
            "--layer",
            help="A layer's name, or a pattern such as 'encoder_*'; give several. "
            "Default: layers with weights, and those that join tensors.",
        ),
    ] = None,
    size: Size = None,
    seed: Annotated[
        int, typer.Option(help="Of the images and of their batches, and of a split.")
    ] = 0,
    quiet: Quiet = False,
) -> None:
    """Draw how alike the layers of two models see images (CKA)."""

    def run():
        import numpy as np

        from keras_pamunet import models
        from keras_pamunet.analysis.cka import layer_similarity, write_similarity
        from keras_pamunet.data import open_source, open_splits
        from keras_pamunet.drawing import check_suffix
        from keras_pamunet.targets import label_count

        check_suffix(output)
        network = models.load_model(model)
        same = other == model
        second = network if same else models.load_model(other)
        num_classes = label_count(network.num_classes, network.masks)
        if subset is None:
            source = open_source(data, num_classes)
        else:
            source = subset_of(open_splits(data, split, num_classes, seed), subset)
        drawn = np.random.default_rng(seed).permutation(len(source))[:count]
        similarity = layer_similarity(
            network,
            second,
            source.select(source.names[index] for index in drawn),
            layers=layers or (),
            batch_size=batch_size,
            size=size or 128,
            seed=seed,
            progress=not quiet,
        )
        write_similarity(similarity, output, (model, other))

    call(run, "keras_pamunet.analysis.cka")
    typer.echo(f"Picture: {bold(output)}")
    typer.echo(f"Numbers: {output.with_suffix('.csv')}")
