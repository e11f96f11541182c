"""The commands that look at data: `check`, `split` and `show`."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from keras_pamunet.cli.entry import call
from keras_pamunet.cli.options import Classes, DataArgument, Json, Quiet, Seed, Split
from keras_pamunet.cli.screen import bold, print_table


def check(
    data: DataArgument,
    split: Annotated[
        str | None, typer.Option(help="As for train. Default: all pairs, undivided.")
    ] = None,
    num_classes: Classes = 1,
    seed: Seed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Look at every pair of a data set. Exit code 1 if any cannot be used."""

    def run():
        from keras_pamunet import data as sources

        if split is None:
            subsets = [sources.open_source(data, num_classes)]
        else:
            subsets = sources.open_splits(data, split, num_classes, seed).values()
        return sources.examine(subsets, not (quiet or as_json))

    if as_json:
        try:
            report = run()
        except (ValueError, OSError) as error:
            report = {"pairs": 0, "errors": [str(error)]}
        print(json.dumps(report))
    else:
        report = call(run, "keras_pamunet.data")
        _show_report(report)
    if report["errors"]:
        raise typer.Exit(1)


def split(
    data: DataArgument,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="A .json file.")
    ] = Path("split.json"),
    folds: Annotated[
        int | None,
        typer.Option(help="Cross-validation: write split-1.json, ...", min=2),
    ] = None,
    seed: Seed = 0,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files that are there.")
    ] = False,
) -> None:
    """Draw a split, 80/10/10, and keep it. Volumes are not divided."""

    def run():
        from keras_pamunet.data import open_source, splits

        source = open_source(data)
        groups = splits.groups_of(source)
        if folds is None:
            drawn = {output: splits.ratio_split(source.names, groups, seed=seed)}
        else:
            drawn = {
                output.with_stem(f"{output.stem}-{number}"): fold
                for number, fold in enumerate(
                    splits.k_fold_split(source.names, groups, folds, seed), 1
                )
            }
        for path, subsets in drawn.items():
            splits.save_split(path, subsets, overwrite)
        return drawn

    for path, subsets in call(run, "keras_pamunet.data").items():
        sizes = ", ".join(f"{subset} {len(names)}" for subset, names in subsets.items())
        typer.echo(f"{bold(path)}: {sizes}")


def show(
    data: DataArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="The picture.")] = Path(
        "sheet.png"
    ),
    split: Split = None,
    subset: Annotated[
        str | None,
        typer.Option(help="train, validation or test of the split. Default: all."),
    ] = None,
    count: Annotated[int, typer.Option(help="Number of pairs.", min=1)] = 8,
    num_classes: Classes = 1,
    seed: Seed = 0,
) -> None:
    """Draw pairs of a data set, as they are and augmented."""

    def run():
        from keras_pamunet.data import open_source, open_splits
        from keras_pamunet.show import show

        if subset is None:
            source = open_source(data, num_classes)
        else:
            source = subset_of(open_splits(data, split, num_classes, seed), subset)
        show(source, output, count, seed)

    call(run, "keras_pamunet.show")
    typer.echo(f"Picture: {bold(output)}")


def subset_of(subsets, subset):
    if subset not in subsets:
        raise ValueError(
            f"Expected one of {tuple(subsets)}. Received: --subset {subset}"
        )
    return subsets[subset]


def _show_report(report):
    from keras_pamunet.data.check import complaints

    sizes = list(report["sizes"].items())
    print(f"{report['pairs']} pairs, {len(sizes)} sizes (height x width)")
    for size, count in sizes[:5]:
        print(f"{count:8} of {size}")
    table = Table("foreground", "masks", "")
    most = max(*report["foreground"].values(), 1)
    block = "█" if sys.stdout.encoding.lower().startswith("utf") else "#"
    for share, count in report["foreground"].items():
        table.add_row(share, str(count), block * round(30 * count / most))
    print_table(table)
    for message in complaints(report):
        typer.secho(f"Warning: {message}", fg="yellow")
    for error in report["errors"]:
        typer.secho(f"Error: {error}", fg="red")
