"""The command `keras-pamunet`: reads arguments, calls the verb, prints.

Stands beside the package and not in it: importing the package imports Keras and its
back end, seconds that `--help`, `--version` and `info` need not take.
"""

import json
import os
import shlex
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import typer
from absl import logging
from rich.console import Console
from rich.table import Column, Table

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Light medical image segmentation with PAM-UNet and Keras 3.",
)


class Recipe(StrEnum):
    default = "default"
    paper = "paper"


class Tuner(StrEnum):
    bayesian = "bayesian"
    random = "random"
    hyperband = "hyperband"


class Attention(StrEnum):
    luong = "luong"
    self_ = "self"
    cross = "cross"
    additive = "additive"
    none = "none"


# Errors of verbs that users can mend.
MENDABLE = (ValueError, OSError, ArithmeticError, MemoryError, ImportError)
MAX_SIDE = 2**14  # Pixels. What is larger takes more memory than there is.
DATA_HELP = (
    "Folder with images/ and masks/, 'tfds:NAME' for a set prepared by TensorFlow "
    "Datasets, or 'phantom' for drawn ones."
)
Data = Annotated[str, typer.Option(help=DATA_HELP)]
DataArgument = Annotated[str, typer.Argument(help=DATA_HELP)]
Split = Annotated[
    str | None,
    typer.Option(
        help="A .json file, a split in the data's splits/, or one of Kvasir-SEG: "
        "effisegnet, official, pranet. Default: 80/10/10, drawn by --seed."
    ),
]
Classes = Annotated[
    int, typer.Option(help="Above 1, masks hold labels, 0 the background.", min=1)
]
WINDOW_HELP = (
    "HU of CT volumes that become grey values: liver, soft_tissue, lung, bone or "
    "-200,250."
)
MODEL_HELP = "A run folder, a .keras file or the name of a preset."
Model = Annotated[str, typer.Option(help=MODEL_HELP)]
ModelArgument = Annotated[str, typer.Argument(help=MODEL_HELP)]
TrainingSize = Annotated[
    int | None,
    typer.Option(help="Height and width in pixels.", min=17, max=MAX_SIDE),
]
BatchSize = Annotated[int | None, typer.Option(min=1)]
EncoderWeights = Annotated[
    str | None, typer.Option(help="'imagenet', or a .weights.h5 file of MobileNetV2.")
]
KeyStride = Annotated[
    int, typer.Option(help="Above 1, attention to averages of squares.", min=1)
]
InputRange = Annotated[
    tuple[float, float], typer.Option(help="Lowest and highest pixel value.")
]
Size = Annotated[
    int | None,
    typer.Option(help="If the model takes images of any size.", min=17, max=MAX_SIDE),
]
Seed = Annotated[int, typer.Option(help="Of weights, drawn split and augmentation.")]
Json = Annotated[bool, typer.Option("--json", help="For programs.")]
Flips = Annotated[
    bool,
    typer.Option(help="Average over four mirror images, for 4 times the work."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")]


def run() -> None:
    """The process of the command: its output and its signals."""
    for name in ("stdout", "stderr"):
        # One that is closed is None.
        stream = getattr(sys, name) or open(os.devnull, "w")  # noqa: SIM115
        # A file name may have letters that the terminal's encoding has not.
        stream.reconfigure(errors="backslashreplace")
        setattr(sys, name, stream)
    # What is half done is tidied up, as after Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except OSError as error:
        # Python would try to write the rest once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        typer.echo(f"Error: Cannot write the output: {error.strerror}", err=True)
        sys.exit(1)


@app.callback(invoke_without_command=True)
def main(
    show_version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.")
    ] = False,
) -> None:
    if show_version:
        print(version("keras-pamunet"))
        raise typer.Exit
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    logging.set_verbosity(logging.ERROR)  # Grain warns where there is no JAX.
    warnings.showwarning = _show_warning


@app.command()
def train(
    data: Data = "phantom",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The run folder.")
    ] = None,
    split: Split = None,
    recipe: Annotated[Recipe, typer.Option(help="Settings to start from.")] = (
        Recipe.default
    ),
    size: TrainingSize = None,
    epochs: Annotated[int | None, typer.Option(min=1)] = None,
    batch_size: BatchSize = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Default: 0.001, of the paper 0.01.")
    ] = None,
    encoder_weights: EncoderWeights = None,
    weights: Annotated[
        str | None,
        typer.Option(help=f"To start from. {MODEL_HELP} Options follow it by default."),
    ] = None,
    attention: Annotated[Attention | None, typer.Option(help="Default: luong.")] = None,
    attention_regularization: Annotated[
        float | None,
        typer.Option(
            help="Lambda, weight of the attention's variance. Default: 0.01.", min=0
        ),
    ] = None,
    expansion: Annotated[
        int | None,
        typer.Option(help="Of the inverted residual blocks. Default: 6.", min=1),
    ] = None,
    key_stride: Annotated[
        int | None,
        typer.Option(
            help="Above 1, attention to averages of squares. Default: 1.", min=1
        ),
    ] = None,
    input_range: Annotated[
        tuple[float, float] | None,
        typer.Option(help="Lowest and highest pixel value. Default: 0 255."),
    ] = None,
    window: Annotated[
        str | None, typer.Option(help=f"{WINDOW_HELP} Default: liver.")
    ] = None,
    num_classes: Classes = 1,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Train a model, and score it. The same command goes on after a break."""

    def run():
        from keras_pamunet import training

        return training.train(
            data,
            folder,
            split,
            recipe.value,
            size,
            epochs,
            batch_size,
            learning_rate,
            seed,
            not quiet,
            weights=weights,
            window=_window(window),
            num_classes=num_classes,
            **given,
        )

    options = {
        "encoder_weights": encoder_weights,
        "attention": attention,
        "attention_regularization": attention_regularization,
        "expansion": expansion,
        "key_stride": key_stride,
        "input_range": input_range,
    }
    given = {name: value for name, value in options.items() if value is not None}
    if attention is not None:
        given["attention"] = None if attention is Attention.none else attention.value
    folder = output or Path("runs", f"{Path(data).resolve().name}-{recipe.value}")
    result = _call(
        run,
        "keras_pamunet.training",
        f"{folder} is as the last finished epoch left it. To go on: ",
    )
    _show(result, folder)


@app.command()
def tune(
    data: Data = "phantom",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the search.")
    ] = None,
    split: Split = None,
    search: Annotated[
        list[str] | None,
        typer.Option(
            help="Again for each: expansion and attention_regularization (default), "
            "learning_rate, score_activation, attention."
        ),
    ] = None,
    tuner: Annotated[Tuner, typer.Option()] = Tuner.bayesian,
    trials: Annotated[
        int | None, typer.Option(help="Default: 12; none for hyperband.", min=1)
    ] = None,
    max_macs: Annotated[
        float | None, typer.Option(help="Refuse models of more, such as 8e8.")
    ] = None,
    epochs: Annotated[int, typer.Option(help="Of a trial.", min=1)] = 10,
    size: TrainingSize = None,
    batch_size: BatchSize = None,
    encoder_weights: EncoderWeights = None,
    key_stride: KeyStride = 1,
    input_range: InputRange = (0, 255),
    num_classes: Classes = 1,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Search hyperparameters. The same command goes on after a break."""

    def run():
        from keras_pamunet import tuning

        return tuning.tune(
            data,
            folder,
            split,
            search or ("expansion", "attention_regularization"),
            tuner.value,
            trials,
            max_macs,
            epochs,
            size,
            batch_size,
            seed,
            not quiet,
            encoder_weights=encoder_weights,
            key_stride=key_stride,
            input_range=input_range,
            num_classes=num_classes,
        )

    folder = output or Path("runs", f"{Path(data).resolve().name}-tune")
    rows = _call(
        run,
        "keras_pamunet.tuning",
        f"{folder} keeps what is done. To go on: ",
        "tune",
    )
    columns = (Column(name, overflow="fold") for name in rows[0])
    table = Table(*columns, title="Trials, the best first")
    for row in rows:
        table.add_row(*(_figure(value) for value in row.values()))
    _print_table(table)
    for name in ("trials.csv", "trials.png", "best"):
        typer.echo(_bold(folder / name))


@app.command()
def evaluate(
    model: Model,
    data: Annotated[
        str | None, typer.Option(help="Default: the data the run was trained on.")
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Default: the run's own, for the run's data.")
    ] = None,
    part: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder for metrics.json and pictures."),
    ] = None,
    size: Size = None,
    flips: Flips = True,
    full_size: Annotated[
        bool, typer.Option(help="In the images' own sizes, not the network's.")
    ] = False,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Score a model on images with masks."""

    def run():
        from keras_pamunet import data as sources
        from keras_pamunet import evaluation, models

        if output is not None and (output / "config.json").exists():
            raise ValueError(f"Expected a folder for results. {output} holds a run.")
        network = models.load_model(model)
        source = evaluation.open_pairs(network, model, data, split, part, seed)
        shape = _image_shape(network, size)[:2]
        pairs = source if full_size else sources.Cache(source, shape)
        sources.check([pairs], not quiet, network.input_range)
        return evaluation.evaluate(
            network, pairs, output, progress=not quiet, part=part, flips=flips
        )

    _show(_call(run, "keras_pamunet.evaluation"), output)


@app.command()
def export(
    model: ModelArgument,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The .onnx file.")
    ] = Path("model.onnx"),
    size: Annotated[
        int | None, typer.Option(help="Of the images. Default: the model's.", min=17)
    ] = None,
    any_size: Annotated[
        bool, typer.Option("--any-size", help="Take images of any size.")
    ] = False,
    batch_size: Annotated[
        int | None, typer.Option(help="Images at once. Default: any number.", min=1)
    ] = None,
    data: Annotated[
        str | None, typer.Option(help=f"To compare on. Default: drawn. {DATA_HELP}")
    ] = None,
    split: Split = None,
    part: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    tolerance: Annotated[
        float, typer.Option(help="How far a probability may be off.")
    ] = 1e-4,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a file that is there.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Write a model as an ONNX file, and compare what the two find."""

    def run():
        from keras_pamunet import export

        return export.export(
            model,
            output,
            (None, None) if any_size else size and (size, size),
            batch_size,
            data,
            split,
            part,
            tolerance,
            overwrite,
            not quiet,
        )

    report = _call(run, "keras_pamunet.export", extra="export,tensorflow")
    typer.echo(
        f"{_bold(output)}, compared with Keras on {report['images']} images: "
        f"probabilities within {report['largest_difference']:.2g}, "
        f"{report['changed_pixels']} of {report['pixels']:,} mask pixels changed"
    )


@app.command()
def predict(
    model: Annotated[
        str, typer.Option(help=f"{MODEL_HELP} Or an .onnx file, without Keras.")
    ],
    images: Annotated[
        Path,
        typer.Option(
            "--input", "-i", help="An image, a NIfTI volume or a folder of either."
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="Folder for the masks; for one volume also a file."
        ),
    ],
    overlay: Annotated[bool, typer.Option(help="Write images with outlines, too.")] = (
        False
    ),
    window: Annotated[
        str | None,
        typer.Option(help=f"{WINDOW_HELP} Default: the model's own."),
    ] = None,
    preview: Annotated[
        bool, typer.Option("--preview", help="Draw slices of volumes, too.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Write masks anew that are there.")
    ] = False,
    flips: Flips = True,
    quiet: Quiet = False,
) -> None:
    """Predict masks of images or of CT volumes."""

    def run():
        network = _open_model(model)
        from keras_pamunet import inference, volume_inference
        from keras_pamunet.data import image_file

        if not volume_inference.holds_nifti(images):
            if window or preview:
                raise ValueError(
                    "Expected NIfTI volumes for --window and --preview. "
                    f"Received: {images}"
                )
            return inference.predict(
                network, images, output, overlay, overwrite, not quiet, flips
            )
        if overlay:
            raise ValueError("Expected --preview for volumes. Received: --overlay")
        if images.is_dir() and image_file.holds_images(images):
            raise ValueError(
                f"Expected images or NIfTI volumes. Received: {images} with both. Put "
                "them into folders of their own."
            )
        return volume_inference.predict_volumes(
            network,
            images,
            output,
            _window(window),
            preview,
            overwrite,
            not quiet,
            flips,
        )

    is_onnx = model.endswith(".onnx")
    if is_onnx:
        _do_without_keras()
    module = "keras_pamunet.onnx_model" if is_onnx else "keras_pamunet.models"
    masks, kept = _call(run, module, extra="export" if is_onnx else None)
    if kept:
        typer.echo(
            f"{len(kept)} mask(s) were there and are kept: made of the same input by "
            "the same model (--overwrite makes them anew)"
        )
    typer.echo(f"{len(masks)} new mask(s) in {_bold(output)}")


@app.command()
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
            parts = [sources.open_source(data, num_classes)]
        else:
            parts = sources.open_splits(data, split, num_classes, seed).values()
        return sources.examine(parts, not (quiet or as_json))

    if as_json:
        try:
            report = run()
        except (ValueError, OSError) as error:
            report = {"pairs": 0, "errors": [str(error)]}
        print(json.dumps(report))
    else:
        report = _call(run, "keras_pamunet.data")
        _show_report(report)
    if report["errors"]:
        raise typer.Exit(1)


@app.command("split")
def divide(
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
        for path, split in drawn.items():
            splits.save_split(path, split, overwrite)
        return drawn

    for path, split in _call(run, "keras_pamunet.data").items():
        sizes = ", ".join(f"{part} {len(names)}" for part, names in split.items())
        typer.echo(f"{_bold(path)}: {sizes}")


@app.command()
def show(
    data: DataArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="The picture.")] = Path(
        "sheet.png"
    ),
    split: Split = None,
    part: Annotated[
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

        if part is None:
            source = open_source(data, num_classes)
        else:
            source = _part(open_splits(data, split, num_classes, seed), part)
        show(source, output, count, seed)

    _call(run, "keras_pamunet.show")
    typer.echo(f"Picture: {_bold(output)}")


@app.command()
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

    _call(run, "keras_pamunet.show")
    typer.echo(f"Picture: {_bold(output)}")


@app.command()
def info(
    model: Annotated[
        str | None,
        typer.Argument(
            help=f"{MODEL_HELP} Its layers are counted; a .keras file may hold any "
            "model. Or 'presets'."
        ),
    ] = None,
    size: Size = None,
    as_json: Json = False,
) -> None:
    """Show versions or presets, without Keras; or what a model consists of."""
    if model == "presets":
        _do_without_keras()
        _show_presets(_call(_presets, "keras_pamunet.hub"), as_json)
        return
    if model is not None:
        counts = _call(lambda: _count(model, size), "keras_pamunet.analysis.complexity")
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
    if as_json:
        print(json.dumps(facts))
        return
    for name, value in facts.items():
        typer.echo(f"{name:15} {value or 'as configured in Keras'}")


def _window(text):
    """Two numbers of `-200,250`; names, and what is neither, stay as they are."""
    try:
        return tuple(float(limit) for limit in text.split(","))
    except (AttributeError, ValueError):
        return text


def _open_model(model):
    """A model in Keras or, of an .onnx file, in ONNX Runtime."""
    if not model.endswith(".onnx"):
        from keras_pamunet.models import load_model

        return load_model(model)
    from keras_pamunet.onnx_model import OnnxModel

    return OnnxModel(model)


def _presets():
    from keras_pamunet.hub import presets

    return presets()


def _do_without_keras():
    """Has modules of the package be imported without its `__init__`, and so Keras."""
    package = ModuleType("keras_pamunet")
    package.__path__ = list(find_spec("keras_pamunet").submodule_search_locations)
    sys.modules.setdefault("keras_pamunet", package)


def _count(model, size):
    from keras_pamunet.analysis.complexity import count
    from keras_pamunet.models import load_file, load_model

    # Any model of Keras can be counted, and one is known by its file's ending.
    is_file = model.endswith(".keras") and Path(model).is_file()
    network = (load_file if is_file else load_model)(model)
    one_input = len(getattr(network, "inputs", None) or ()) == 1
    shape = _image_shape(network, size) if one_input else None
    return {"input_shape": shape, **count(network, shape)}


def _image_shape(network, size):
    """Shape of the images a model takes; of `size` if it takes any."""
    fixed = {side for side in network.input_shape[1:3] if side is not None}
    if size is not None and fixed - {size}:
        raise ValueError(
            f"Expected no --size for a model of images of {max(fixed)} pixels. "
            f"Received: --size {size}"
        )
    return tuple(side or size or 128 for side in network.input_shape[1:])


def _part(parts, part):
    if part not in parts:
        raise ValueError(f"Expected one of {tuple(parts)}. Received: --part {part}")
    return parts[part]


def _call(run, module: str, interrupted: str = "", extra: str | None = None) -> Any:
    """Runs a verb; turns what users can mend into one message and an exit code.

    Args:
        run: the verb.
        module: the verb's own, imported first.
        interrupted: what to say on Ctrl-C, before the command to go on with.
        extra: which extra of the package holds the verb's own requirements.
    """
    stopped = []
    try:
        with _on_interrupt(_stop_at_once):
            import_module(module)
        with _on_interrupt(lambda *_: _stop(stopped)):
            return run()
    except (KeyboardInterrupt, Exception) as error:
        # What is interrupted may fail in a way of its own.
        if stopped or isinstance(error, KeyboardInterrupt):
            command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
            to_go_on = f"{interrupted}{command if interrupted else ''}"
            typer.echo(f"\nStopped. {to_go_on}", err=True)
            raise typer.Exit(130) from None
        if not isinstance(error, MENDABLE):
            raise
        hint = ""
        if extra and isinstance(error, ImportError):
            hint = f" (in a checkout: pip install '.[{extra}]')"
        message = str(error) or type(error).__name__
        typer.secho(f"Error: {message}{hint}", fg="red", err=True)
        raise typer.Exit(1) from None


def _stop(stopped):
    stopped.append(True)
    raise KeyboardInterrupt


def _stop_at_once(*_):
    """Ends the process: an import may swallow an exception, and nothing is begun."""
    os.write(2, b"\nStopped.\n")
    os._exit(130)


@contextmanager
def _on_interrupt(handler) -> Iterator[None]:
    """Has a handler of its own for Ctrl-C, unless that is ignored, as by `nohup`."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _show_warning(message, category, filename, lineno, file=None, line=None):
    typer.secho(f"Warning: {message}", fg="yellow", err=True)


def _show(result, folder):
    table = Table(title=f"{result['part']} ({result['summary']['n']} images)")
    table.add_column("metric")
    table.add_column("value", justify="right")
    for name, value in result["summary"].items():
        if name == "classes":
            continue
        table.add_row(name, f"{value:.4f}" if isinstance(value, float) else str(value))
    table.add_row("mean of flips", "yes" if result["flips"] else "no")
    _print_table(table)
    if len(result["summary"]["classes"]) > 1:
        _show_classes(result["summary"]["classes"])
    if folder is not None:
        typer.echo(f"Numbers per image: {folder / 'metrics.json'}")
        for picture in sorted((folder / "pictures").glob("*.png")):
            typer.echo(f"Picture: {picture}")


def _show_classes(classes):
    names = ("dice", "iou", "recall", "precision")
    counts = {"n_with_truth": "with", "n_missed": "missed", "n_false": "false"}
    table = Table("class", *names, *counts.values(), title="Images with the class")
    for row in classes:
        scores = ("" if row[name] is None else f"{row[name]:.4f}" for name in names)
        table.add_row(str(row["class"]), *scores, *(str(row[key]) for key in counts))
    _print_table(table)


def _print_table(table):
    """Prints a table, in which brackets and colons stand for themselves."""
    Console(markup=False, emoji=False).print(table)


def _bold(path):
    return typer.style(str(path), bold=True)


def _figure(value):
    """A number as people read it."""
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.3g}"
    return "" if value is None else str(value)


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
    _print_table(table)


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
    _print_table(table)


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
    _print_table(table)
    for message in complaints(report):
        typer.secho(f"Warning: {message}", fg="yellow")
    for error in report["errors"]:
        typer.secho(f"Error: {error}", fg="red")
