"""The command `info`."""

import json
import os
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from keras_pamunet.cli.entry import call
from keras_pamunet.cli.options import MODEL_HELP, NETWORKS, Json, Size, image_shape
from keras_pamunet.cli.screen import print_table


def info(
    model: Annotated[
        str | None,
        typer.Argument(
            help=f"{MODEL_HELP} Its layers are counted; a .keras file may hold any "
            f"model. Or 'presets', or a network: {NETWORKS}."
        ),
    ] = None,
    size: Size = None,
    devices: Annotated[
        bool,
        typer.Option("--devices", help="Name what the back end computes on, too."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Show versions or presets, without Keras; or what a model consists of."""
    if model == "presets":
        _show_presets(call(_presets, "keras_pamunet.hub"), as_json)
        return
    if model is not None:
        counts = call(lambda: _count(model, size), "keras_pamunet.analysis.complexity")
        _show_layers(counts, as_json)
        return
    facts = {
        "python": sys.version.split()[0],
        "backend": os.environ.get("KERAS_BACKEND"),
    }
    packages = "keras-pamunet keras tensorflow tensorflow-cpu jax torch grain numpy"
    for package in packages.split():
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            continue
    if devices:
        facts |= call(_devices, "keras_pamunet.backend")
    if as_json:
        print(json.dumps(facts))
        return
    for name, value in facts.items():
        typer.echo(f"{name:15} {value or 'as configured in Keras'}")


def _devices():
    import keras

    from keras_pamunet.backend import device_names

    names = device_names()
    return {"backend": keras.backend.backend(), "devices": ", ".join(names)}


def _presets():
    from keras_pamunet.hub import presets

    return presets()


def _count(model, size):
    from keras_pamunet.analysis.complexity import count
    from keras_pamunet.models import (
        find_network,
        list_models,
        load_file,
        load_model,
    )

    # Any model of Keras can be counted, and one is known by its file's ending.
    is_file = model.endswith(".keras") and Path(model).is_file()
    if model in list_models():
        network = find_network(model)((size or 128, size or 128, 3))
    else:
        network = (load_file if is_file else load_model)(model)
    one_input = len(getattr(network, "inputs", None) or ()) == 1
    shape = image_shape(network, size) if one_input else None
    return {"input_shape": shape, **count(network, shape)}


def _show_layers(counts, as_json):
    if as_json:
        print(json.dumps(counts))
        return
    title = None
    if counts["input_shape"] is not None:
        title = f"One image of {' x '.join(map(str, counts['input_shape']))}"
    table = Table("layer", "kind", title=title, show_footer=True)
    table.columns[0].footer = "sum"
    numbers = {"parameters": "parameters", "macs": "MACs", "flops": "FLOPs"}
    for key, header in numbers.items():
        table.add_column(header, f"{counts[key]:,}", justify="right")
    for layer in counts["layers"]:
        if layer["parameters"] or layer["macs"]:
            row = (f"{layer[key]:,}" for key in numbers)
            table.add_row(layer["name"], layer["kind"], *row)
    print_table(table)


def _show_presets(presets, as_json):
    if as_json:
        print(json.dumps(presets))
        return
    table = Table(title="Scores: means over the test images; each card says more")
    table.add_column("preset", no_wrap=True)
    for column in ("task", "image", "Dice", "IoU", "recall", "MB"):
        table.add_column(column, overflow="fold")
    for name, preset in presets.items():
        image = " x ".join(str(side or "any") for side in preset["input_shape"])
        scores = next(iter(preset["metrics"].values()), {})
        figures = [
            f"{scores[key]:.3f}" if scores else "" for key in ("dice", "iou", "recall")
        ]
        table.add_row(name, preset["task"], image, *figures, str(preset["megabytes"]))
    print_table(table)
