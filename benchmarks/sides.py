"""Runs the sides of a comparison in turn, each in a process of its own.

A benchmark calls `main` with a function that makes the work of one side, and one that
lists the comparisons. Every side of a comparison is a process that waits for its
turn, so that all of them see the same machine, whatever else it is doing. Memory is
measured as Linux counts it.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from keras_pamunet.sides import compare, machine, serve

RESULTS = Path(__file__).parent / "results"


def main(
    name: str,
    make: Callable[..., Callable[[], Any]],
    comparisons: Callable[[bool], list[list[dict]]],
) -> None:
    """Prints the table of a benchmark and writes it to `results/<name>.json`.

    Times are the median and the 95th percentile of a side's calls.

    Args:
        name: of the benchmark.
        make: called in a side's process with the entries of that side; returns the
            work to time.
        comparisons: called with whether `--short` was given; returns lists of sides.
            A side is a dictionary with `backend`, `gflop` (floating point operations
            of its work, may be left out) and what `make` takes. Ratios are to a
            list's first side.
    """
    parser = argparse.ArgumentParser(description=name)
    parser.add_argument("--short", action="store_true", help="a part, in minutes")
    parser.add_argument("--repeats", type=int, default=7, help="turns of each side")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        side = json.loads(arguments.side)
        del side["backend"]
        side.pop("gflop", None)
        serve(lambda: make(**side))
        return
    rows = []
    lists = comparisons(arguments.short)
    for sides in track(lists, name, console=Console(stderr=True)):
        rows += _compare(sides, arguments.repeats)
    result = {"machine": machine(), "rows": rows}
    RESULTS.mkdir(exist_ok=True)
    suffix = "-short" if arguments.short else ""
    path = RESULTS / f"{name}{suffix}.json"
    lines = ",\n".join(map(json.dumps, rows))
    path.write_text(
        f'{{"machine": {json.dumps(result["machine"])}, "rows": [\n{lines}\n]}}\n',
        "utf-8",
    )
    _print(result)
    print(path)


def _compare(sides, repeats):
    found = compare(
        [[sys.executable, sys.argv[0], "--side", json.dumps(side)] for side in sides],
        repeats,
        [
            {"KERAS_BACKEND": side["backend"], "TF_CPP_MIN_LOG_LEVEL": "3"}
            for side in sides
        ],
    )
    return [
        {**side, **_rate(side, row["ms"] / 1e3), **row}
        for side, row in zip(sides, found)
    ]


def _rate(side, seconds):
    if "gflop" not in side:
        return {}
    gflop = side["gflop"]
    return {"gflop": round(gflop, 2), "gflop_per_s": round(gflop / seconds, 1)}


def _print(result):
    table = Table(title=result["machine"])
    columns = list(dict.fromkeys(key for row in result["rows"] for key in row))
    for column in columns:
        table.add_column(column)
    for row in result["rows"]:
        table.add_row(*(str(row.get(column, "")) for column in columns))
    Console(width=120).print(table)
