"""The command `benchmark`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from keras_pamunet.cli.entry import call
from keras_pamunet.cli.options import MAX_SIDE, MODEL_HELP, Quiet
from keras_pamunet.cli.screen import print_table


def benchmark(
    models: Annotated[
        list[str],
        typer.Argument(
            help=f"{MODEL_HELP} Or an .onnx or .tflite file. Ratios are to the first."
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for JSON and picture.")
    ] = Path("benchmark"),
    size: Annotated[
        int,
        typer.Option(
            help="Of the images, if a model takes any size.", min=17, max=MAX_SIDE
        ),
    ] = 128,
    batch_size: Annotated[int, typer.Option(help="Images at once.", min=1)] = 1,
    threads: Annotated[
        int, typer.Option(help="Cores and threads of each model.", min=1)
    ] = 1,
    repeats: Annotated[int, typer.Option(help="Turns of each model.", min=1)] = 30,
    quiet: Quiet = False,
) -> None:
    """Measure models in turn: time, memory and size."""

    def run():
        from keras_pamunet import benchmarking

        return benchmarking.benchmark(
            models,
            output,
            size=size,
            batch_size=batch_size,
            threads=threads,
            repeats=repeats,
            progress=not quiet,
        )

    result = call(run, "keras_pamunet.benchmarking")
    table = Table(
        title=f"{result['threads']} thread(s), {result['batch_size']} image(s) at once"
    )
    table.add_column("model", overflow="fold")
    for column in ("ms", "p95", "ratio", "images/s", "GiB", "MB"):
        table.add_column(column, justify="right")
    for row in result["rows"]:
        table.add_row(
            Path(row["model"]).name,
            f"{row['ms']:.1f}",
            f"{row['p95_ms']:.1f}",
            f"{row['ratio']:.2f}",
            f"{row['images_per_second']:.1f}",
            f"{row['process_gib']:.2f}",
            f"{row['bytes'] / 1e6:.1f}",
        )
    print_table(table)
    for name in ("benchmark.json", "benchmark.png"):
        typer.echo(output / name)
