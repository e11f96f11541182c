"""What several commands print."""

import typer
from rich.console import Console
from rich.table import Table

SCORES = ("dice", "iou", "recall", "precision")
COUNTS = ("n_missed", "n_false")
# Fewer images or groups give intervals that are too narrow.
FEW = 20


def show_scores(result, folder):
    summary = result.summary
    table = _table_of({"value": summary}, f"{result.subset} ({summary['n']} images)")
    if result.flips is not None:
        table.add_row("mean of flips", "yes" if result.flips else "no")
    print_table(table)
    if len(summary["classes"]) > 1:
        show_classes(summary["classes"], _digits(summary))
    if "cases" in summary:
        show_cases(summary["cases"], summary["n_groups"])
    if "intervals" in summary:
        _tell_of_intervals(summary)
    if folder is not None:
        typer.echo(f"Numbers per image: {folder / 'metrics.json'}")
        for picture in sorted((folder / "pictures").glob("*.png")):
            typer.echo(f"Picture: {picture}")


def show_comparison(comparison, folder):
    summaries, settings = comparison.summaries, comparison.settings
    first = next(iter(summaries.values()))
    how = "each in its own size" if settings["full_size"] else "in the models' size"
    if settings["flips"]:
        how += ", mean of flips"
    print_table(
        _table_of(summaries, f"{settings['subset']} ({first['n']} images, {how})")
    )
    for model, difference in comparison.differences.items():
        dice, interval = difference["dice"], difference["dice"]["interval"]
        text = f"{model} - {difference['to']}: Dice {dice['mean']:+.3f}"
        if interval is not None:
            text += f", 95 % interval {interval[0]:+.3f} to {interval[1]:+.3f}"
        typer.echo(f"{text} over {_counted(first)}: {dice['verdict']}")
    _tell_of_intervals(first)
    if folder is not None:
        for name in ("comparison.json", "comparison.csv"):
            typer.echo(f"Numbers per image: {folder / name}")
        typer.echo(f"Pictures: in the folder of each model in {folder}")


def _digits(summary):
    return 3 if summary["n"] < 1000 else 4


def _table_of(summaries, title):
    """A row a number, a column a model."""
    digits = _digits(next(iter(summaries.values())))
    gap = " " if len(summaries) < 3 else "\n"  # 80 columns hold no more.

    def figure(summary, name):
        text = f"{summary[name]:.{digits}f}"
        interval = summary.get("intervals", {}).get(name)
        if interval is None:
            return text
        low, high = (f"{limit:.{digits}f}" for limit in interval)
        return f"{text}{gap}({low} to {high})"

    table = Table(title=title)
    table.add_column("metric", no_wrap=True)
    for model in summaries:
        table.add_column(model, justify="right", overflow="fold")
    for name in (*SCORES, "pooled_dice"):
        table.add_row(name, *(figure(x, name) for x in summaries.values()))
    classes = [x["classes"] for x in summaries.values()]
    if len(summaries) > 1 and len(classes[0]) > 1:
        for rows in zip(*classes):
            cells = (
                "" if row["dice"] is None else f"{row['dice']:.{digits}f}"
                for row in rows
            )
            table.add_row(f"dice, {rows[0]['name']}", *cells)
    for name in COUNTS:
        table.add_row(name, *(str(x[name]) for x in summaries.values()))
    return table


def _tell_of_intervals(summary):
    from keras_pamunet import bootstrap

    groups = "n_groups" in summary
    made = bootstrap.settings(summary["n_groups" if groups else "n"], groups)
    count = made["n_resampled"]
    text = (
        f"In brackets: 95 % bootstrap intervals over {_counted(summary)} "
        f"({made['method']}, {made['resamples']} resamples, seed {made['seed']})."
    )
    if count < 2:
        text = "No intervals: there is one group or image only."
    elif count < FEW:
        text += f" Of fewer than {FEW} they are too narrow."
    typer.echo(text)


def _counted(summary):
    if "n_groups" in summary:
        return f"{summary['n_groups']} groups of {summary['n']} images"
    return f"{summary['n']} images"


def show_classes(classes, digits):
    counts = {"n_with_truth": "with", "n_missed": "missed", "n_false": "false"}
    table = Table("class", *SCORES, *counts.values(), title="Images with the class")
    for row in classes:
        scores = (
            "" if row[name] is None else f"{row[name]:.{digits}f}" for name in SCORES
        )
        table.add_row(row["name"], *scores, *(str(row[key]) for key in counts))
    print_table(table)


def show_cases(classes, count):
    """Whole volumes, in mm where their spacing is known."""
    scores, title = SCORES, f"Whole cases ({count})"
    if "hd95" in classes[0]:  # 80 columns hold no more.
        scores = ("dice", "rvd", "nsd", "hd95", "assd")
        title += "; hd95 and assd in mm"
    table = Table(title=title)
    table.add_column("class", overflow="fold")
    for column in (*scores, "with", "missed", "false"):
        table.add_column(column, justify="right")
    for row in classes:
        cells = ["" if row[x] is None else f"{row[x]:.3f}" for x in scores]
        counts = [str(row[x]) for x in ("n_with_truth", "n_missed", "n_false")]
        table.add_row(row["name"], *cells, *counts)
    print_table(table)
    if "objects" in classes[0]:
        show_objects(classes)


def show_objects(classes):
    """Lesions and other objects in whole cases."""
    table = Table("class", "true", "hit", "predicted", "right", title="Objects")
    for score in ("recall", "precision", "f1"):
        table.add_column(score, justify="right")
    for row in classes:
        objects = row["objects"]
        counts = ("n_truth", "n_hit", "n_prediction", "n_right")
        cells = (
            "" if objects[x] is None else f"{objects[x]:.3f}"
            for x in ("recall", "precision", "f1")
        )
        table.add_row(row["name"], *(str(objects[x]) for x in counts), *cells)
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
