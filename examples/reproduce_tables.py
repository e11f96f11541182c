"""Trains the rows of the paper's tables, and puts them beside the paper's figures.

Run it with

    python examples/reproduce_tables.py --data kvasir-seg=DIR --data lits-slices=DIR

The plan, `tables.toml`, names the rows. All start from random weights unless
`--encoder-weights` is given, which networks without such an encoder do not take. A
training that was stopped goes on where it was, and finished ones are kept. After each
training `tables.csv` gets its row, the scores of the test images, and `tables.md` is
made anew of all rows. `benchmarks/costs.py` measures latency and memory, which are
shown if its results are there.
"""

import argparse
import csv
import dataclasses
import inspect
import json
import statistics
import tomllib
from pathlib import Path
from typing import Any

import numpy as np

from keras_pamunet.analysis.complexity import count
from keras_pamunet.bootstrap import mean_interval
from keras_pamunet.data import open_splits
from keras_pamunet.files import replace_text
from keras_pamunet.models import check_arguments, find_network, load_model
from keras_pamunet.training import train

ROOT = Path(__file__).parents[1]
SCORES = ("dice", "iou", "recall", "precision")
KEY = ("data", "start", "training", "seed")
SETTINGS = ("recipe", "size")
COLUMNS = (
    *KEY,
    *SETTINGS,
    "epochs",
    "images_seen",
    *SCORES,
    "volume_dice",
    "macs",
    "parameters",
)


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of a table, as the plan has it."""

    table: str
    name: str
    network: str
    arguments: dict[str, Any]
    epochs: int
    paper: dict[str, str]

    @property
    def training(self) -> str:
        """What is trained: rows of two tables may be one training."""
        values = (f"{name}={value}" for name, value in self.arguments.items())
        return " ".join([self.network, *values, f"epochs={self.epochs}"])

    def starts_from(self, weights: str | None) -> dict[str, Any]:
        """Arguments for the start, empty for random weights."""
        taken = inspect.signature(find_network(self.network)).parameters
        return (
            {"encoder_weights": weights}
            if weights and "encoder_weights" in taken
            else {}
        )


def read_plan(path: Path) -> tuple[dict[str, Any], list[Row]]:
    """Settings and rows.

    Raises:
        ValueError: names what the plan lacks, or a network that there is not.
    """
    plan = tomllib.loads(path.read_text("utf-8"))
    if missing := [x for x in (*SETTINGS, "epochs", "rows") if x not in plan]:
        raise ValueError(f"Expected {', '.join(missing)} in {path}.")
    rows = []
    for given in plan["rows"]:
        row = Row(**{"arguments": {}, "epochs": plan["epochs"], "paper": {}, **given})
        if row.arguments.get("attention") == "none":  # TOML has no None.
            row.arguments["attention"] = None
        shape = (plan["size"], plan["size"], 3)
        check_arguments(
            find_network(row.network), {**row.arguments, "input_shape": shape}
        )
        rows.append(row)
    return plan, rows


class Table:
    """`tables.csv`: a row for each training.

    Args:
        path: of the file, which may not be there yet.
        settings: recipe and size, the same for all rows.

    Raises:
        ValueError: if the file holds rows of other settings.
    """

    def __init__(self, path: Path, settings: dict[str, Any]):
        self.path = path
        self.settings = {name: str(value) for name, value in settings.items()}
        self.rows: dict[tuple[str, ...], dict[str, str]] = {}
        if not path.exists():
            return
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                held = {name: row.get(name) for name in SETTINGS}
                if held != self.settings:
                    raise ValueError(
                        f"Expected rows of {self.settings} in {path}. Received: "
                        f"{held}. Name another folder (--results)."
                    )
                self.rows[tuple(row[name] for name in KEY)] = row

    def add(self, row: dict[str, Any]) -> None:
        """Enters a training, and writes the file."""
        row = {name: str(value) for name, value in (row | self.settings).items()}
        self.rows[tuple(row[name] for name in KEY)] = row
        lines = [",".join(COLUMNS)]
        lines += [
            ",".join(row[name] for name in COLUMNS)
            for _, row in sorted(self.rows.items())
        ]
        replace_text(self.path, "\n".join(lines) + "\n")

    def of(self, data: str, start: str, training: str) -> list[dict[str, str]]:
        """The rows of all seeds."""
        wanted = data, start, training
        return [row for key, row in self.rows.items() if key[:3] == wanted]


def run(
    folder: Path,
    data: str,
    split: str | None,
    row: Row,
    start: dict[str, Any],
    plan: dict[str, Any],
    seed: int,
) -> dict[str, Any]:
    """Trains a row, or reads what a training before has found."""
    scores = train(
        data,
        folder,
        network=row.network,
        split=split,
        recipe=plan["recipe"],
        size=plan["size"],
        epochs=row.epochs,
        seed=seed,
        **row.arguments,
        **start,
    )
    counts = count(load_model(folder))
    classes = [x["dice"] for x in scores.summary.get("cases", []) if x["n_with_truth"]]
    return {
        "epochs": row.epochs,
        "images_seen": row.epochs * len(open_splits(data, split)["train"]),
        **{name: round(scores.summary[name], 4) for name in SCORES},
        "volume_dice": round(statistics.mean(classes), 4) if classes else "",
        "macs": counts["macs"],
        "parameters": counts["parameters"],
    }


def run_folder(runs: Path, data: str, start: str, training: str, seed: Any) -> Path:
    return runs / data / start / f"{training.replace(' ', '-')}-{seed}"


def markdown(
    table: Table,
    rows: list[Row],
    plan: dict[str, Any],
    runs: Path,
    costs: dict[str, dict[str, Any]],
) -> str:
    """All tables of all data sets and starts that have a row."""
    lines = ["# The paper's tables, re-run", ""]
    lines += ["Made by `python examples/reproduce_tables.py`, of `tables.csv`.", ""]
    places = sorted({key[:2] for key in table.rows})
    for name in dict.fromkeys(row.table for row in rows):
        of_table = [row for row in rows if row.table == name]
        for data, start in places:
            if any(table.of(data, start, row.training) for row in of_table):
                lines += _section(name, data, start, of_table, table, plan, runs, costs)
    return "\n".join(lines)


def _section(name, data, start, rows, table, plan, runs, costs):
    """One table of one data set and start."""
    reference = next((row for row in rows if row.name == plan.get("reference")), None)
    columns = ["network", "Dice", "paper's Dice", "IoU", "recall", "precision"]
    columns += ["Dice by volume", "GMACs", "paper's FLOPS", "parameters (M)"]
    columns += ["latency", "memory of a step (GiB)"]
    if reference:
        columns.append(f"Dice beyond {reference.name}")
    lines = [f"## Table {name}, {data}, from {start} weights", ""]
    lines += [
        f"Recipe `{plan['recipe']}`, {plan['size']} x {plan['size']} pixels, "
        f"{plan['epochs']} epochs or as marked. Test images, mean over seeds, ± the "
        "standard deviation between them. Latency: ONNX Runtime, two threads, a "
        "multiple of PAM-UNet's.",
        "",
        f"| {' | '.join(columns)} |",
        f"|{'---|' * len(columns)}",
    ]
    for row in rows:
        found = table.of(data, start, row.training)
        if not found:
            lines.append(f"| {row.name} |{' |' * (len(columns) - 1)}")
            continue
        cost = costs.get(row.name, {})
        dice = _mean(found, "dice")
        if row.epochs < plan["epochs"]:
            dice += f" ({row.epochs} epochs)"
        cells = [f"{row.name}, {len(found)} seed(s)", dice]
        cells.append(row.paper.get(data, ""))
        cells += [_mean(found, score) for score in (*SCORES[1:], "volume_dice")]
        cells.append(f"{int(found[0]['macs']) / 1e9:.3f}")
        cells.append(row.paper.get("flops", ""))
        cells.append(f"{int(found[0]['parameters']) / 1e6:.2f}")
        cells += [str(cost.get(x, "")) for x in ("latency", "step_gib")]
        if reference:
            cells.append(_beyond(table, runs, data, start, row, reference))
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def _mean(rows, name):
    values = [float(row[name]) for row in rows if row[name]]
    if not values:
        return ""
    mean = f"{statistics.mean(values):.4f}"
    return f"{mean} ± {statistics.stdev(values):.4f}" if len(values) > 1 else mean


def _beyond(table, runs, data, start, row, reference):
    """The paired difference over test images, each the mean of its seeds."""
    own, other = (
        [
            _images(run_folder(runs, *(found[name] for name in KEY)))
            for found in table.of(data, start, which.training)
        ]
        for which in (row, reference)
    )
    if row is reference or not other or not all(own + other):
        return ""
    gains = [
        np.mean([seed[name]["dice"] for seed in own])
        - np.mean([seed[name]["dice"] for seed in other])
        for name in own[0]
    ]
    groups = [image.get("group", name) for name, image in own[0].items()]
    interval = mean_interval(gains, groups)
    bounds = f" ({interval[0]:+.4f} to {interval[1]:+.4f})" if interval else ""
    return f"{np.mean(gains):+.4f}{bounds}"


def _images(folder):
    """Scores of a run's images by name; none where the run is on another machine."""
    path = folder / "metrics.json"
    if not path.exists():
        return {}
    scores = json.loads(path.read_text("utf-8"))
    return {image["name"]: image for image in scores["images"]}


def read_costs(path: Path) -> dict[str, dict[str, Any]]:
    """Latency and memory by the name of a row, empty without the benchmark's file."""
    if not path.exists():
        return {}
    found: dict[str, dict[str, Any]] = {}
    for row in json.loads(path.read_text("utf-8"))["rows"]:
        entry = found.setdefault(row["form"], {})
        if row["work"] == "predict":
            entry["latency"] = row["ratio"]
        elif row["backend"] == "tensorflow":
            entry["step_gib"] = row["work_gib"]
    return found


def reproduce(
    data: dict[str, str],
    plan_path: Path,
    models: list[str] | None,
    seeds: list[int],
    encoder_weights: str | None,
    runs: Path,
    results: Path,
) -> None:
    plan, rows = read_plan(plan_path)
    names = sorted({row.network for row in rows})
    if unknown := set(models or ()) - set(names):
        raise ValueError(
            f"Expected networks of the plan: {', '.join(names)}. Received: "
            f"{', '.join(sorted(unknown))}"
        )
    splits = plan.get("splits", {})
    for name, source in data.items():  # Before anything is trained.
        open_splits(source, splits.get(name))
    results.mkdir(parents=True, exist_ok=True)
    table = Table(results / "tables.csv", {x: plan[x] for x in SETTINGS})
    costs = read_costs(ROOT / "benchmarks" / "results" / "costs.json")
    trainings = {
        row.training: row for row in rows if not models or row.network in models
    }
    for seed in seeds:
        for name, source in data.items():
            for training, row in trainings.items():
                arguments = row.starts_from(encoder_weights)
                start = Path(encoder_weights or "").name if arguments else "random"
                folder = run_folder(runs, name, start, training, seed)
                print(f"{name}, {row.name}, seed {seed}: {folder}")
                found = run(
                    folder, source, splits.get(name), row, arguments, plan, seed
                )
                key = {"data": name, "start": start, "training": training, "seed": seed}
                table.add(key | found)
                text = markdown(table, rows, plan, runs, costs)
                replace_text(results / "tables.md", text)
    print(results / "tables.md")


def named(text: str) -> tuple[str, str]:
    """The two sides of NAME=FOLDER."""
    name, _, folder = text.partition("=")
    if not (name and folder):
        raise argparse.ArgumentTypeError(f"expected NAME=FOLDER, received {text!r}")
    return name, folder


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=named, action="append", required=True)
    parser.add_argument(
        "--plan", type=Path, default=Path(__file__).with_name("tables.toml")
    )
    parser.add_argument("--models", nargs="+", help="networks, all by default")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--encoder-weights", help='a .weights.h5 file, or "imagenet"')
    parser.add_argument("--runs", type=Path, default=Path("runs/tables"))
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    given = parser.parse_args()
    reproduce(
        dict(given.data),
        given.plan,
        given.models,
        given.seeds,
        given.encoder_weights,
        given.runs,
        given.results,
    )
