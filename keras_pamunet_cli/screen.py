"""What several commands print."""

import typer
from rich.console import Console
from rich.table import Table


def show_scores(result, folder):
    table = Table(title=f"{result['part']} ({result['summary']['n']} images)")
    table.add_column("metric")
    table.add_column("value", justify="right")
    for name, value in result["summary"].items():
        if name == "classes":
            continue
        table.add_row(name, f"{value:.4f}" if isinstance(value, float) else str(value))
    table.add_row("mean of flips", "yes" if result["flips"] else "no")
    print_table(table)
    if len(result["summary"]["classes"]) > 1:
        show_classes(result["summary"]["classes"])
    if folder is not None:
        typer.echo(f"Numbers per image: {folder / 'metrics.json'}")
        for picture in sorted((folder / "pictures").glob("*.png")):
            typer.echo(f"Picture: {picture}")


def show_classes(classes):
    names = ("dice", "iou", "recall", "precision")
    counts = {"n_with_truth": "with", "n_missed": "missed", "n_false": "false"}
    table = Table("class", *names, *counts.values(), title="Images with the class")
    for row in classes:
        scores = ("" if row[name] is None else f"{row[name]:.4f}" for name in names)
        table.add_row(str(row["class"]), *scores, *(str(row[key]) for key in counts))
    print_table(table)


def print_table(table):
    """Prints a table, in which brackets and colons stand for themselves."""
    Console(markup=False, emoji=False).print(table)


def bold(path):
    return typer.style(str(path), bold=True)


def figure(value):
    """A number as people read it."""
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.3g}"
    return "" if value is None else str(value)
