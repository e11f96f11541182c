"""Trains a model on a data set, into a run folder that survives interruption."""

import csv
import json
import os
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import keras
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from keras_pamunet.backend import keep_freed_memory, set_random_seed
from keras_pamunet.data import Augment, Cache, check, open_splits, pipeline
from keras_pamunet.evaluation import evaluate
from keras_pamunet.losses import DiceBCE
from keras_pamunet.models import PAMUNet

# Epochs and batch size of each recipe; `_compile` and `_augment` hold the rest.
RECIPES = {
    "default": {"epochs": 60, "batch_size": 16},
    "paper": {"epochs": 100, "batch_size": 8},
}


def train(
    data: str | Path = "phantom",
    output: str | Path | None = None,
    split: str | None = None,
    recipe: str = "default",
    size: int | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    progress: bool = True,
    **model_arguments: Any,
) -> dict[str, Any]:
    """Trains a `PAMUNet`, keeps the best epoch and scores it on the test pairs.

    Called again with the same arguments it goes on after the last finished epoch of
    an interrupted run, and ends with the same weights.

    Args:
        data: see `keras_pamunet.data.open_source`.
        output: the run folder. Defaults to `runs/<data>-<recipe>`. It gets
            `config.json`, `history.csv`, TensorBoard logs in `logs/`, `model.keras`
            (the epoch of the best validation Dice), `metrics.json` and `pictures/`.
        split: see `keras_pamunet.data.open_splits`.
        recipe: `"default"`: AdamW with warm-up and cosine decay, cross-entropy and
            Dice, strong augmentation, moving average of the weights; scored by the
            mean over four mirror images. `"paper"`: SGD, cross-entropy, flips and
            rotations, as in section IV of the paper.
        size: height and width the images are resized to. Defaults to 128, and to 64
            for the phantoms.
        epochs: defaults to the recipe's, 60 or 100.
        batch_size: defaults to the recipe's, 16 or 8.
        seed: of the weights, the drawn split, the order and the augmentation.
        progress: whether to show progress bars.
        **model_arguments: arguments of `PAMUNet` other than `input_shape`.

    Returns:
        What `keras_pamunet.evaluation.evaluate` returns for the test pairs, or for
        the validation pairs of a split that has no test pairs.

    Raises:
        ValueError: for unfit data or arguments, or a folder that holds another run.
        OSError: if the run folder cannot be written.
        KeyboardInterrupt: on Ctrl-C. The run folder stays usable.
    """
    if recipe not in RECIPES:
        raise ValueError(
            "Invalid value for argument `recipe`. Expected one of "
            f"{tuple(RECIPES)}. Received: recipe={recipe!r}"
        )
    if size is None:
        size = 64 if str(data) == "phantom" else 128
    # A pixel has one label, which excludes the others.
    activation = "softmax" if model_arguments.get("num_classes", 1) > 1 else "sigmoid"
    if model_arguments.setdefault("activation", activation) != activation:
        raise ValueError(
            f"Expected activation={activation!r} for this number of classes. "
            f"Received: activation={model_arguments['activation']!r}"
        )
    settings = {
        "data": str(data),
        "split": split,
        "recipe": recipe,
        "size": size,
        "epochs": epochs or RECIPES[recipe]["epochs"],
        "batch_size": batch_size or RECIPES[recipe]["batch_size"],
        "seed": seed,
        "model": model_arguments,
    }
    # As they will be read again: paths as text, tuples as lists.
    settings = json.loads(json.dumps(settings, default=_plain))
    output = Path(output or f"runs/{Path(data).resolve().name}-{recipe}")
    parts = open_splits(data, split, model_arguments.get("num_classes", 1), seed)
    split_names = {name: source.names for name, source in parts.items()}
    held = _open_run(output, settings, split_names)
    state = _RunState(output)
    if (output / "metrics.json").exists() and not state.path.exists():
        return json.loads((output / "metrics.json").read_text("utf-8"))

    parts = {name: Cache(source, (size, size)) for name, source in parts.items()}
    check(parts.values(), progress)
    set_random_seed(seed)
    model = PAMUNet((size, size, parts["train"].channels), **model_arguments)
    _check_range(parts["train"], model.input_range)
    if not held:
        _write_config(output, settings, split_names)
    steps = max(len(parts["train"]) // settings["batch_size"], 1)
    _compile(model, recipe, steps, settings["epochs"])
    first_epoch = state.restore(model)
    callbacks = [] if recipe == "paper" else [keras.callbacks.SwapEMAWeights(True)]
    model.fit(
        pipeline(
            parts["train"],
            settings["batch_size"],
            _augment(recipe, model.input_range),
            shuffle=True,
            repeat=True,
            seed=seed,
            first_batch=first_epoch * steps,
        ),
        validation_data=next(iter(pipeline(parts["validation"], 2**31))),
        validation_batch_size=settings["batch_size"],
        epochs=settings["epochs"],
        initial_epoch=first_epoch,
        steps_per_epoch=steps,
        callbacks=[*callbacks, state],
        shuffle=False,  # The pipeline does.
        # Bars that redraw themselves fill a log file with thousands of lines.
        verbose=0 if not progress else 1 if sys.stdout.isatty() else 2,
    )
    model = keras.saving.load_model(output / "model.keras")
    part = "test" if "test" in parts else "validation"
    result = evaluate(
        model,
        parts[part],
        output,
        settings["batch_size"],
        progress=progress,
        part=part,
        flips=recipe != "paper",
    )
    state.path.unlink(missing_ok=True)  # There is none after a single epoch.
    return result


def _compile(model, recipe, steps, epochs):
    if recipe == "paper":
        return  # The model's own.
    warm_up = min(5, epochs / 10) * steps
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, steps * epochs - warm_up, warmup_target=1e-3, warmup_steps=warm_up
    )
    optimizer = keras.optimizers.AdamW(
        rate, weight_decay=1e-3, use_ema=True, ema_momentum=0.98
    )
    model.compile(optimizer, DiceBCE(), metrics=model.own_metrics())


def _augment(recipe, value_range):
    if recipe == "paper":
        return Augment(
            rotation=180, zoom=(1, 1), shift=0, contrast=0, brightness=0, tint=0
        )
    return Augment(value_range=value_range)


def _plain(value):
    """A path or a number of NumPy, as JSON takes it."""
    return value.item() if hasattr(value, "item") else str(value)


def _check_range(source, input_range):
    """Deep images in the range of 8 bits would be all white to the network."""
    dtype = source[0][0].dtype
    if dtype != "uint8" and tuple(input_range) == (0, 255):
        raise ValueError(
            f"Expected images of 8 bits for input_range=(0, 255). Received: {dtype} "
            "images. Give the range of their values: input_range=(lowest, highest), "
            "or --input-range LOWEST HIGHEST."
        )


def _open_run(output, settings, split_names):
    """Makes the run folder; tells whether it holds a run, and makes sure of which."""
    path = output / "config.json"
    if path.exists():
        config = json.loads(path.read_text("utf-8"))
        held = config["settings"]
        if held == settings and config["split"] != split_names:
            raise ValueError(
                f"{output} holds a run on other pairs: the data set or its split has "
                "changed since. Name another output folder, or delete this one."
            )
        if held != settings:
            other = [name for name in settings if held.get(name) != settings[name]]
            raise ValueError(
                f"{output} holds a run of other settings: "
                + ", ".join(f"{k}={held.get(k)!r}, not {settings[k]!r}" for k in other)
                + ". Name another output folder, or delete this one."
            )
        return True
    if output.is_dir() and any(output.iterdir()):
        raise ValueError(
            f"Expected a run folder, a new or an empty one. {output} holds other files."
        )
    output.mkdir(parents=True, exist_ok=True)
    return False


def _write_config(output, settings, split_names):
    config = {
        "settings": settings,
        "split": split_names,
        "versions": versions(),
        "backend": keras.backend.backend(),
        "git_revision": _git_revision(),
    }
    text = json.dumps(config, indent=1, ensure_ascii=False)
    _replace(output / "config.json", text + "\n")


def versions() -> dict[str, str]:
    """Versions of Python, this package and those it stands on, where installed."""
    found = {"python": sys.version.split()[0]}
    for name in ("keras-pamunet", "keras", "tensorflow", "jax", "torch", "numpy"):
        for package in (name, f"{name}-cpu"):
            try:
                found[name] = version(package)
            except PackageNotFoundError:
                continue
    return found


def _git_revision():
    checkout = Path(__file__).parents[1]
    if not (checkout / ".git").exists():
        return None
    call = ["git", "-C", str(checkout), "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(call, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None  # No git.
    return done.stdout.strip()


class _RunState(keras.callbacks.Callback):
    """Keeps history, best model and all that is needed to go on, after each epoch.

    Stands behind `SwapEMAWeights`: at the end of an epoch the model holds the
    averaged weights, which are the ones to publish; at the beginning of the next it
    holds the weights to go on with.
    """

    def __init__(self, output):
        super().__init__()
        self.output = output
        self.path = output / "state.weights.h5"
        self.history = []

    def restore(self, model):
        """Loads the state, if there is one; returns the number of finished epochs."""
        if not self.path.exists():
            return 0
        model.optimizer.build(model.trainable_variables)
        model.load_weights(self.path)
        with (self.output / "history.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        # A run may have been stopped between the history's last row and its state.
        iterations = int(model.optimizer.iterations)
        self.history = [row for row in rows if int(row["step"]) <= iterations]
        return len(self.history)

    def on_train_begin(self, logs=None):
        name = f"events.out.tfevents.{time.time():.0f}.{len(self.history)}"
        self.events = self.output / "logs" / name
        self.events.parent.mkdir(exist_ok=True)
        self._log(Event(file_version="brain.Event:2"))

    def _log(self, event):
        with self.events.open("ab") as file:
            RecordWriter(file).write(event.SerializeToString())

    def on_epoch_begin(self, epoch, logs=None):
        if self.history:
            temporary = self.path.with_name("new-state.weights.h5")
            self.model.save_weights(temporary)
            os.replace(temporary, self.path)

    def on_train_batch_end(self, batch, logs=None):
        if batch == 0:
            keep_freed_memory()

    def on_epoch_end(self, epoch, logs=None):
        row = {"epoch": epoch + 1, "step": int(self.model.optimizer.iterations), **logs}
        best = max((float(old["val_dice"]) for old in self.history), default=-1.0)
        self.history.append(row)
        if row["val_dice"] > best:
            temporary = self.output / "new-model.keras"
            self.model.save(temporary)
            os.replace(temporary, self.output / "model.keras")
        lines = [",".join(row), *(",".join(map(str, x.values())) for x in self.history)]
        _replace(self.output / "history.csv", "\n".join(lines) + "\n")
        values = [Summary.Value(tag=k, simple_value=v) for k, v in logs.items()]
        summary = Summary(value=values)
        self._log(Event(wall_time=time.time(), step=epoch + 1, summary=summary))


def _replace(path, text):
    """Writes a file so that a reader finds the old one or the new one, whole."""
    temporary = path.with_name(f"new-{path.name}")
    temporary.write_text(text, "utf-8")
    os.replace(temporary, path)
