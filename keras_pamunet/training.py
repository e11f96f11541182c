"""Trains a model on a data set, into a run folder that survives interruption."""

import itertools
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from keras_pamunet import history
from keras_pamunet.analysis.before_after import write_before_after
from keras_pamunet.analysis.learning_curve import write_learning_curve
from keras_pamunet.backend import device_names, keep_freed_memory, set_random_seed
from keras_pamunet.batch_statistics import estimate_batch_statistics
from keras_pamunet.comparison import compare, write_comparison
from keras_pamunet.data import (
    Augment,
    Cache,
    check,
    is_volumes,
    open_splits,
    pipeline,
)
from keras_pamunet.evaluation import evaluate, is_summary
from keras_pamunet.files import (
    locked,
    read_json_object,
    replace_bytes,
    replace_text,
    write_json,
)
from keras_pamunet.models import PAMUNet, load_model
from keras_pamunet.progress import track
from keras_pamunet.run_folder import (
    check_backend,
    open_run,
    read_config,
    replace_model,
    replace_settings,
    write_config,
)
from keras_pamunet.saving import to_keras_file, to_weights_file

# Numbers of each recipe; `_compile` and `_augment` hold the rest.
RECIPES = {
    "default": {"epochs": 60, "batch_size": 16, "learning_rate": 1e-3},
    "paper": {"epochs": 100, "batch_size": 8, "learning_rate": 1e-2},
}
# As many tell the statistics of any set of images.
STATISTICS_BATCHES = 100
METRICS, BEFORE = "metrics.json", "metrics_before.json"


def train(
    data: str | Path = "phantom",
    output: str | Path | None = None,
    *,
    split: str | None = None,
    recipe: str = "default",
    size: int | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    seed: int = 0,
    progress: bool = True,
    part: str | None = None,
    weights: str | Path | None = None,
    window: str | tuple[float, float] | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    **model_arguments: Any,
) -> dict[str, Any]:
    """Trains a `PAMUNet`, keeps the best epoch and scores it on the test pairs.

    Called again with the same arguments it goes on after the last finished epoch of
    an interrupted run, and ends with the same weights. The paper's recipe, whose
    learning rate is constant, also goes on to more epochs than a finished run had.

    Args:
        data: see `keras_pamunet.data.open_source`.
        output: the run folder. Defaults to `runs/<data>-<recipe>`. It gets
            `config.json`, `history.csv`, TensorBoard logs in `logs/`, `model.keras`
            (the epoch of the best validation Dice), `learning_curve.png`,
            `metrics.json` and `pictures/`; of `weights` also `metrics_before.json`,
            `comparison.json` and `before_after.png`.
        split: see `keras_pamunet.data.open_splits`.
        recipe: `"default"`: AdamW with warm-up and cosine decay, cross-entropy and
            Dice, strong augmentation, moving average of the weights, in the end the
            batch statistics of images as they are; scored by the mean over four
            mirror images. `"paper"`: SGD, cross-entropy, flips and
            rotations, as in section IV of the paper.
        size: height and width the images are resized to. Defaults to that of the
            `weights`, else to 128, and to 64 for the phantoms.
        epochs: defaults to the recipe's, 60 or 100.
        batch_size: defaults to the recipe's, 16 or 8.
        learning_rate: the highest of the schedule; the only one of the paper's
            recipe. Defaults to the recipe's, 0.001 or 0.01.
        seed: of the weights, the drawn split, the order and the augmentation.
        progress: whether to say what is trained on what, and to show progress bars.
        part: the part of the split to score. Defaults to `"test"`, or `"validation"`
            of a split that has no test pairs.
        weights: a model to start from, see `keras_pamunet.models.load_model`. What
            does not fit starts at random, and a warning says so. If it tells as many
            classes apart, it is scored before, too.
        window: the HU of CT volumes that become grey values, see
            `keras_pamunet.data.Volumes`. The model keeps it. Defaults to that of the
            `weights`, else to `"liver"`.
        callbacks: of Keras, such as `keras.callbacks.EarlyStopping`. At the end of an
            epoch they find the weights that are validated.
        **model_arguments: arguments of `PAMUNet` other than `input_shape`. They
            default to those of the `weights`, but for `num_classes`.

    Returns:
        What `keras_pamunet.evaluation.evaluate` returns for `part`.

    Raises:
        ValueError: for unfit data or arguments, or a folder that holds another run.
        OSError: if the run folder cannot be written.
        FloatingPointError: if the loss is no number any more.
        KeyboardInterrupt: on Ctrl-C. The run folder stays usable.
    """
    if recipe not in RECIPES:
        raise ValueError(
            "Invalid value for argument `recipe`. Expected one of "
            f"{tuple(RECIPES)}. Received: recipe={recipe!r}"
        )
    if weights is not None and model_arguments.get("encoder_weights") is not None:
        raise ValueError(
            "Expected `weights` or `encoder_weights`. Received both: "
            f"weights={str(weights)!r}, encoder_weights="
            f"{model_arguments['encoder_weights']!r}"
        )
    base = None if weights is None else load_model(weights)
    if size is None and base is not None:
        size = base.input_shape[1]
    given = {
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
    }
    given = {name: value for name, value in given.items() if value is not None}
    for name, value in given.items():
        if not 0 < value < math.inf:
            raise ValueError(
                f"Invalid value for argument `{name}`. Expected a positive number. "
                f"Received: {name}={value!r}"
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
    if window is None and base is not None and is_volumes(data):
        window = base.window
    num_classes = model_arguments.get("num_classes", 1)
    parts = open_splits(data, split, num_classes, seed, window)
    if parts["train"].window is not None:
        model_arguments["window"] = parts["train"].window
        _check_windowed(model_arguments, base)
    elif base is not None and base.window is not None:
        model_arguments["window"] = None  # Nobody knows that of these images.
    settings = {
        "data": str(data),
        "split": split,
        "recipe": recipe,
        "size": size,
        **RECIPES[recipe],
        **given,
        "seed": seed,
        "part": part,
        "weights": weights,
        "model": model_arguments,
    }
    output = Path(output or f"runs/{Path(data).resolve().name}-{recipe}")
    part = part or ("test" if "test" in parts else "validation")
    if part not in parts:
        raise ValueError(f"Expected one of {tuple(parts)}. Received: part={part!r}")
    with locked(output):
        return _run(output, settings, parts, part, base, progress, callbacks)


def _check_windowed(model_arguments, base):
    """Makes sure that a model takes the grey values that are made of CT volumes."""
    default = (0, 255) if base is None else base.input_range
    input_range = model_arguments.get("input_range", default)
    if tuple(input_range) != (0, 255):
        raise ValueError(
            "Expected input_range (0, 255) for CT volumes: of their HU those in the "
            f"window {model_arguments['window']} become grey values from 0 to 255. "
            f"Received: {input_range}. Give the HU as the window: --window LOW,HIGH."
        )


def _run(output, settings, parts, part, base, progress, callbacks):
    """Trains, or goes on, in a folder that no other process works in."""
    seed, size, recipe = settings["seed"], settings["size"], settings["recipe"]
    model_arguments, batch_size = settings["model"], settings["batch_size"]
    constant_rate = recipe == "paper"
    names = {name: source.names for name, source in parts.items()}
    if not constant_rate:
        _check_same_epochs(output, settings["epochs"])
    held = open_run(output, settings, names, "epochs" if constant_rate else None)
    state = _RunState(output, keep=constant_rate)
    if held and read_config(output)["settings"]["epochs"] < settings["epochs"]:
        state.reopen()
        replace_settings(output, settings)
    if (output / METRICS).exists() and not state.path.exists():
        return _read_metrics(output / METRICS)
    if held:
        check_backend(output)

    parts = {name: Cache(source, (size, size)) for name, source in parts.items()}
    input_range = model_arguments.get("input_range", base and base.input_range)
    check(parts.values(), progress, input_range or (0, 255))
    set_random_seed(seed)
    shape = (size, size, parts["train"].channels)

    def begin():
        if base is None:
            return PAMUNet(shape, **model_arguments)
        return base.clone(input_shape=shape, **{"num_classes": 1, **model_arguments})

    def score(model, folder=None):
        return evaluate(
            model,
            parts[part],
            folder,
            batch_size=batch_size,
            progress=progress,
            part=part,
            flips=not constant_rate,
        )

    model = begin()
    if not held:
        write_config(output, settings, names)
    steps = max(len(parts["train"]) // batch_size, 1)
    if progress:
        print(_plan(output, settings, parts, part, model, steps))
    before = None
    if base is not None and base.num_classes == model.num_classes:
        if not (output / BEFORE).exists():
            write_json(output / BEFORE, score(model))
        before = _read_metrics(output / BEFORE)
        if progress:
            print(f"Before training, on {part}: Dice {before['summary']['dice']:.3f}")
    _compile(model, recipe, settings["learning_rate"], steps, settings["epochs"])
    first_epoch = state.restore(model)
    if first_epoch and progress:
        print(f"Going on after epoch {first_epoch}.")
    average = [] if constant_rate else [keras.callbacks.SwapEMAWeights(True)]
    model.fit(
        pipeline(
            parts["train"],
            batch_size,
            _augment(recipe, model.input_range),
            shuffle=True,
            repeat=True,
            seed=seed,
            first_batch=first_epoch * steps,
        ),
        validation_data=next(iter(pipeline(parts["validation"], 2**31))),
        validation_batch_size=batch_size,
        epochs=settings["epochs"],
        initial_epoch=first_epoch,
        steps_per_epoch=steps,
        callbacks=[*average, state, *callbacks],
        shuffle=False,  # The pipeline does.
        # Bars that redraw themselves fill a log file with thousands of lines.
        verbose=0 if not progress else 1 if sys.stdout.isatty() else 2,
    )
    model = load_model(output)
    if not constant_rate:
        batches = pipeline(parts["train"], batch_size, shuffle=True, repeat=True)
        count = min(steps, STATISTICS_BATCHES)
        estimate_batch_statistics(
            model,
            track(
                (images for images, _ in itertools.islice(batches, count)),
                "Batch statistics",
                count,
                progress,
            ),
        )
        replace_model(output, to_keras_file(model))
    write_learning_curve(state.history, output / "learning_curve.png")
    result = score(model, output)
    if before is not None:
        results = {"before": before, "after": result}
        comparison = compare(results)
        comparison["settings"] = {
            "part": part,
            "flips": not constant_rate,
            "full_size": False,
        }
        write_comparison(comparison, output)
        write_before_after(
            {"before": begin(), "after": model},
            results,
            parts[part],
            output / "before_after.png",
            flips=not constant_rate,
        )
    state.close()
    return result


def _check_same_epochs(output, epochs):
    """Makes sure that a run whose learning rate falls to 0 is not to go on."""
    try:
        held = read_config(output)["settings"]
    except FileNotFoundError:
        return
    if held.get("recipe") == "default" and held.get("epochs") != epochs:
        raise ValueError(
            f"Expected the {held.get('epochs')} epochs that {output} was begun with: "
            "over them the learning rate of the default recipe falls to 0, so that "
            f"more cannot follow. Received: epochs={epochs}. Train on from it into "
            f"another folder (--weights {output} --output OTHER), or anew "
            "(--output OTHER)."
        )


def _plan(output, settings, parts, part, model, steps):
    """What will be done, said before it takes its time."""
    size, recipe = settings["size"], settings["recipe"]
    start = settings["weights"] or model.encoder_weights or "random weights"
    if settings["weights"] is None and model.encoder_weights is not None:
        start = f"encoder from {start}"
    others = [f"{len(parts['validation'])} to validate"]
    if part != "validation":
        others.append(f"{len(parts[part])} of {part} to score at the end")
    devices = ", ".join(device_names())
    rows = {
        "network": f"PAM-UNet, {model.count_params():,} parameters",
        "pairs": f"{len(parts['train'])} to train, {', '.join(others)}",
        "size": f"{size} x {size} pixels",
        "start": start,
        "recipe": f"{recipe}: {settings['epochs']} epochs of {steps} steps, "
        f"{settings['batch_size']} images each",
        "device": f"{devices} ({keras.backend.backend()})",
        "output": output,
    }
    lines = [f"{name:8} {value}" for name, value in rows.items()]
    lines.append("Compiling takes up to two minutes, in which nothing is shown.")
    return "\n".join(lines)


def _compile(model, recipe, learning_rate, steps, epochs):
    if recipe == "paper":
        loss = "binary" if model.activation == "sigmoid" else "categorical"
        model.compile(
            keras.optimizers.SGD(learning_rate, momentum=0.9, weight_decay=1e-4),
            f"{loss}_crossentropy",
        )
        return
    warm_up = min(5, epochs / 10) * steps
    rate = keras.optimizers.schedules.CosineDecay(
        0.0,
        steps * epochs - warm_up,
        warmup_target=learning_rate,
        warmup_steps=warm_up,
    )
    optimizer = keras.optimizers.AdamW(
        rate, weight_decay=1e-3, use_ema=True, ema_momentum=0.98
    )
    model.compile(optimizer)


def _augment(recipe, value_range):
    if recipe == "paper":
        return Augment(
            rotation=180, zoom=(1, 1), shift=0, contrast=0, brightness=0, tint=0
        )
    return Augment(rotation=180, zoom=(0.75, 1.3), shift=0.1, value_range=value_range)


def _read_metrics(path):
    """What a finished run has found."""
    result = read_json_object(path)
    kinds = {"part": str, "flips": bool, "summary": dict, "images": list}
    whole = all(isinstance(result.get(name), kind) for name, kind in kinds.items())
    if not whole or not is_summary(result["summary"]):
        raise ValueError(
            f"Expected the scores of a run in {path}. It is damaged: keras-pamunet "
            "evaluate scores the run's model anew; or name another output folder."
        )
    return result


class _RunState(keras.callbacks.Callback):
    """Keeps history, best model and all that is needed to go on, after each epoch.

    Stands behind `SwapEMAWeights`: at the end of an epoch the model holds the
    averaged weights, which are the ones to publish; at the beginning of the next it
    holds the weights to go on with.
    """

    def __init__(self, output, keep):
        super().__init__()
        self.output = output
        self.path = output / "state.weights.h5"
        # Of a run that may go on to more epochs.
        self.last = output / "last.weights.h5"
        self.keep = keep
        self.history = []
        self.best = -1.0

    def restore(self, model):
        """Loads the state, if there is one; returns the number of finished epochs."""
        if not self.path.exists():
            return 0
        model.optimizer.build(model.trainable_variables)
        try:
            model.load_weights(self.path)
            rows = history.read_history(self.output)
            # A run may be stopped between the history's last row and its state.
            iterations = int(model.optimizer.iterations)
            self.history = [row for row in rows if row["step"] <= iterations]
            self.best = history.best_epoch(self.history)["val_dice"]
        except (OSError, ValueError, KeyError) as error:
            raise ValueError(
                f"Cannot go on from {self.path} and {self.output / history.HISTORY}: "
                f"{error!r}. They are damaged: name another output folder, or delete "
                "this one."
            ) from error
        return len(self.history)

    def reopen(self):
        """Makes a finished run one that goes on.

        Raises:
            ValueError: if its last weights are not there.
        """
        if self.last.exists():
            self.last.replace(self.path)
        elif (self.output / METRICS).exists() and not self.path.exists():
            raise ValueError(
                f"Expected {self.last} to go on from. There is none, as in runs of "
                "older versions: name another output folder (--output)."
            )

    def close(self):
        """Makes the run a finished one."""
        if self.keep:
            self.path.replace(self.last)
        else:
            self.path.unlink(missing_ok=True)  # There is none after a single epoch.

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
            replace_bytes(self.path, to_weights_file(self.model))

    def on_train_end(self, logs=None):
        if self.keep and self.history:
            replace_bytes(self.path, to_weights_file(self.model))

    def on_train_batch_end(self, batch, logs=None):
        if batch == 0:
            keep_freed_memory()

    def on_epoch_end(self, epoch, logs=None):
        # The loss is the mean of an epoch, and tells nothing of its last step.
        if not (math.isfinite(logs["loss"]) and math.isfinite(logs["val_loss"])):
            raise FloatingPointError(
                f"The loss became {logs['val_loss']} in epoch {epoch + 1}. Give a "
                "lower learning rate (--learning-rate)."
            )
        row = {"epoch": epoch + 1, "step": int(self.model.optimizer.iterations), **logs}
        self.history.append(row)
        if row["val_dice"] > self.best:
            self.best = row["val_dice"]
            replace_model(self.output, to_keras_file(self.model))
        text = history.to_text(self.history)
        replace_text(self.output / history.HISTORY, text)
        values = [Summary.Value(tag=k, simple_value=v) for k, v in logs.items()]
        summary = Summary(value=values)
        self._log(Event(wall_time=time.time(), step=epoch + 1, summary=summary))
