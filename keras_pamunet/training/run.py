"""Trains a network on a data set, into a run folder that survives interruption."""

import dataclasses
import functools
import inspect
import itertools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from keras_pamunet.analysis.before_after import write_before_after
from keras_pamunet.analysis.learning_curve import write_learning_curve
from keras_pamunet.backend import device_names, freed_memory_kept, set_random_seed
from keras_pamunet.comparison import compare, write_comparison
from keras_pamunet.data import WINDOWS, Resized, check, open_splits, pipeline
from keras_pamunet.data.pairs import Pairs
from keras_pamunet.data.resized import CACHE_BYTES
from keras_pamunet.data.windows import takes_hu, window_limits
from keras_pamunet.distribution import Devices, join
from keras_pamunet.evaluation import evaluate, is_summary
from keras_pamunet.files import locked, read_json_object, sha256_of, write_json
from keras_pamunet.history import read_history
from keras_pamunet.models import Segmenter, check_arguments, find_network, load_model
from keras_pamunet.models.task import Task
from keras_pamunet.progress import track
from keras_pamunet.run_folder import (
    check_backend,
    open_run,
    read_config,
    replace_model,
    replace_settings,
    write_config,
)
from keras_pamunet.saving import to_keras_file
from keras_pamunet.scores import Scores
from keras_pamunet.targets import label_count
from keras_pamunet.training.batch_statistics import estimate_batch_statistics
from keras_pamunet.training.checkpoint import Checkpoint
from keras_pamunet.training.recipe import Recipe, find_recipe
from keras_pamunet.training.stop_at_nan import StopAtNaN
from keras_pamunet.training.tensorboard_log import TensorBoardLog

# 100 batches are enough for stable statistics, whatever the size of the data set.
STATISTICS_BATCHES = 100
METRICS, BEFORE = "metrics.json", "metrics_before.json"


@freed_memory_kept()
def train(
    data: str | Path = "phantom",
    output: str | Path | None = None,
    *,
    network: str | None = None,
    split: str | None = None,
    recipe: str | Recipe = "default",
    size: int | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    accumulate: int | None = None,
    learning_rate: float | None = None,
    seed: int = 0,
    progress: bool = True,
    subset: str | None = None,
    weights: str | Path | None = None,
    window: str | tuple[float, float] | None = None,
    balanced: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    distribute: str | Devices = "none",
    **model_arguments: Any,
) -> Scores:
    """Trains a network, keeps the best epoch and scores it on the test pairs.

    Called again with the same arguments it goes on after the last finished epoch of
    an interrupted run, and ends with the same weights. A recipe of a constant
    learning rate, such as the paper's, also goes on to more epochs than a finished
    run had.

    Args:
        data: see `keras_pamunet.data.open_source`.
        output: the run folder. Defaults to `runs/<data>-<recipe>`. It gets
            `config.json`, `history.csv`, TensorBoard logs in `logs/`, `model.keras`
            (the epoch of the best validation Dice), `learning_curve.png`,
            `metrics.json` and `pictures/`; of `weights` also `metrics_before.json`,
            `comparison.json` and `before_after.png`.
        network: a name of `keras_pamunet.models.list_models()`. Defaults to that of
            the `weights`, else to `"pamunet"`.
        split: see `keras_pamunet.data.open_splits`.
        recipe: a `Recipe`, or its name. `"default"`: AdamW with warm-up and cosine
            decay, cross-entropy and Dice, strong augmentation, moving average of the
            weights, in the end the batch statistics of images as they are; scored by
            the mean over four mirror images. `"paper"`: SGD, cross-entropy, flips and
            rotations, as in section IV of the paper, and its exact gates.
        size: height and width the images are resized to. Defaults to that of the
            `weights`, else to 128, and to 64 for the phantoms.
        epochs: defaults to the recipe's, 60 or 100.
        batch_size: defaults to the recipe's, 16 or 8.
        accumulate: parts of a batch to compute one after another, if it does not fit
            the memory. Defaults to the recipe's, the whole at once.
        learning_rate: the highest of the schedule; the only one of the paper's
            recipe. Defaults to the recipe's, 0.001 or 0.01.
        seed: of the weights, the drawn split, the order and the augmentation.
        progress: whether to say what is trained on what, and to show progress bars.
        subset: the subset of the split to score. Defaults to `"test"`, or
            `"validation"` of a split that has no test pairs.
        weights: a model to start from, see `keras_pamunet.models.load_model`. What
            does not fit starts at random, and a warning says so. If it tells as many
            classes apart, it is scored before, too.
        window: of CT, the HU that the network looks at, its `input_range`: a name in
            `keras_pamunet.data.WINDOWS` or `(lowest, highest)`. Defaults to that of
            the `weights`, else to `"liver"`.
        balanced: whether to draw as many pairs with an object as without one, such as
            the slices of whole volumes, of which most are empty.
        callbacks: of Keras, such as `keras.callbacks.EarlyStopping`. At the end of an
            epoch they find the weights that are validated.
        distribute: the devices to train on, which share each batch: a word of
            `keras_pamunet.distribution.join`, or what that returns. Of several
            processes each calls `train` with the same arguments, and the first writes
            the run folder, which all can read.
        **model_arguments: arguments of the network other than `input_shape`, such as
            `dtype="mixed_bfloat16"`. They default to those of the `weights`. On CT
            volumes `mirror_axes` default to `()`, for a liver lies on one side.

    Returns:
        What `keras_pamunet.evaluation.evaluate` returns for `subset`.

    Raises:
        ValueError: for unfit data or arguments, or a folder that holds another run.
        OSError: if the run folder cannot be written.
        ConnectionError: if another process has stopped. The run folder stays usable.
        FloatingPointError: if the loss is no number any more.
        KeyboardInterrupt: on Ctrl-C. The run folder stays usable.
    """
    devices = join(distribute) if isinstance(distribute, str) else distribute
    run = Run.plan(
        data,
        output,
        network=network,
        split=split,
        recipe=find_recipe(
            recipe,
            epochs=epochs,
            batch_size=batch_size,
            accumulate=accumulate,
            learning_rate=learning_rate,
        ),
        size=size,
        seed=seed,
        subset=subset,
        weights=weights,
        window=window,
        balanced=balanced,
        arguments=model_arguments,
        devices=devices,
    )
    progress = progress and devices.process == 0
    with devices.folder(run.output) as output, locked(output):
        run = dataclasses.replace(run, output=output)
        if run.open():
            return run.result()
        model = run.begin()
        if progress:
            print(run.describe(model))
        run.check(model, progress)
        before = run.score_before(model, progress)
        run.fit(model, progress, callbacks)
        return run.finish(before, progress)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """A training: what it is made of, and the folder that it lives in.

    Args:
        output: the run folder.
        settings: what `config.json` records.
        recipe: how it trains.
        subsets: sources of pairs by the name of their subset, in their own sizes.
        subset: the subset that is scored in the end.
        size: height and width of the images in the network.
        seed: of all that is drawn.
        network: class of the network.
        arguments: those of the network other than `input_shape`.
        base: the model it starts from, if any.
        devices: what it trains on.
    """

    output: Path
    settings: dict[str, Any]
    recipe: Recipe
    subsets: dict[str, Pairs]
    subset: str
    size: int
    seed: int
    network: type[Segmenter]
    arguments: dict[str, Any]
    base: Segmenter | None
    devices: Devices = Devices()

    @classmethod
    def plan(
        cls,
        data: str | Path,
        output: str | Path | None,
        *,
        network: str | None,
        split: str | None,
        recipe: Recipe,
        size: int | None,
        seed: int,
        subset: str | None,
        weights: str | Path | None,
        window: str | tuple[float, float] | None,
        balanced: bool,
        arguments: dict[str, Any],
        devices: Devices,
    ) -> "Run":
        """Checks all arguments of `train`, the network's before any data is read.

        Raises:
            ValueError: for unfit arguments.
        """
        if weights is not None and arguments.get("encoder_weights") is not None:
            raise ValueError(
                "Expected `weights` or `encoder_weights`. Received both: "
                f"weights={str(weights)!r}, encoder_weights="
                f"{arguments['encoder_weights']!r}"
            )
        base = None if weights is None else load_model(weights)
        name = network or ("pamunet" if base is None else base.network)
        kind = find_network(name)
        if base is not None and base.network != name:
            raise ValueError(
                f"Expected weights of the network {name}. Received: {weights}, a "
                f"{base.network}"
            )
        if size is None and base is not None:
            size = base.input_shape[1]
        if size is None:
            size = 64 if str(data) == "phantom" else 128
        if "input_shape" in arguments:
            raise ValueError(
                "Expected `size`, height and width of the images. Received: "
                f"input_shape={arguments['input_shape']!r}"
            )
        if base is None and recipe.score_activation is not None:
            arguments = kind.with_scores(recipe.score_activation, arguments)
        shaped = {**arguments, "input_shape": (size, size, 3)}
        check_arguments(kind, shaped, base, inspect.signature(train).parameters)
        arguments = _with_classes(arguments, base)
        labels = label_count(arguments["num_classes"], arguments["masks"])
        if window is not None:
            window = window_limits(window)
            if "input_range" in arguments:
                raise ValueError(
                    "Expected `window` or `input_range`, which are the same. Received: "
                    f"window={window}, input_range={arguments['input_range']}"
                )
        _check_batch(recipe, devices)
        subsets = open_splits(data, split, labels, seed)
        if len(subsets["train"]) < devices.count:
            raise ValueError(
                "Expected at least as many pairs to train on as devices. Received: "
                f"{len(subsets['train'])} pairs, {devices.count} devices"
            )
        arguments = _for_kind(subsets["train"], arguments, base, window)
        recipe = recipe.suited_to(
            _argument("input_range", arguments, base),
            _argument("mirror_axes", arguments, base),
        )
        scored = subset or ("test" if "test" in subsets else "validation")
        if scored not in subsets:
            raise ValueError(
                f"Expected one of {tuple(subsets)}. Received: subset={subset!r}"
            )
        settings = {
            "data": str(data),
            "split": split,
            "network": name,
            "size": size,
            "recipe": dataclasses.asdict(recipe),
            "seed": seed,
            "subset": subset,
            "balanced": balanced or None,  # As in runs of before it was there.
            "weights": weights,
            "start_sha256": _sha256_of_start(base, arguments.get("encoder_weights")),
            "model": arguments,
        }
        return cls(
            output=Path(output or f"runs/{Path(data).resolve().name}-{recipe.name}"),
            settings=settings,
            recipe=recipe,
            subsets=subsets,
            subset=scored,
            size=size,
            seed=seed,
            network=kind,
            arguments=arguments,
            base=base,
            devices=devices,
        )

    @property
    def constant_rate(self) -> bool:
        """Whether the run can go on to more epochs."""
        return self.recipe.schedule == "constant"

    def open(self) -> bool:
        """Opens the folder; returns whether the run in it is a finished one.

        Raises:
            ValueError: if the folder holds something else.
        """
        names = {name: source.names for name, source in self.subsets.items()}
        epochs = "recipe.epochs" if self.constant_rate else None
        if not self.constant_rate:
            _check_same_epochs(self.output, self.recipe.epochs)
        if not open_run(self.output, self.settings, names, epochs):
            return False
        checkpoint = self._checkpoint()
        held = read_config(self.output)["settings"]
        is_done = self._metrics.exists() and not checkpoint.path.exists()
        if held["recipe"]["epochs"] < self.recipe.epochs:
            if is_done:
                checkpoint.reopen()
            replace_settings(self.output, self.settings)
        elif is_done:
            return True
        check_backend(self.output)
        return False

    def result(self) -> Scores:
        """What a finished run has found.

        Raises:
            ValueError: if its record is damaged.
        """
        return _read_metrics(self._metrics)

    def begin(self) -> Segmenter:
        """The network as the run begins with it."""
        set_random_seed(self.seed)
        shape = (self.size, self.size, self.subsets["train"].channels)
        if self.base is None:
            return self.network(shape, **self.arguments)
        return self.base.clone(input_shape=shape, **self.arguments)

    def describe(self, model: Segmenter) -> str:
        """What will be done, to be said before it takes its time."""
        settings, recipe = self.settings, self.recipe
        start = settings["weights"] or "random weights"
        if encoder := self.arguments.get("encoder_weights"):
            start = f"encoder from {encoder}"
        count = {name: len(source) for name, source in self.subsets.items()}
        others = [f"{count['validation']} to validate"]
        if self.subset != "validation":
            others.append(f"{count[self.subset]} of {self.subset} to score at the end")
        devices = ", ".join(device_names())
        if self.devices.count > 1:
            devices = (
                f"{self.devices.count} devices of {self.devices.processes} "
                f"process(es), {devices}"
            )
        rows = {
            "network": f"{model.network}, {model.count_params():,} parameters",
            "pairs": f"{count['train']} to train, {', '.join(others)}",
            "size": f"{self.size} x {self.size} pixels",
            "start": start,
            "recipe": f"{recipe.name}: {recipe.epochs} epochs of {self._steps} steps, "
            f"{recipe.batch_size} images each"
            + (f" in {recipe.parts} parts" if recipe.parts > 1 else ""),
            "device": f"{devices} ({keras.backend.backend()})",
            "output": self.output,
        }
        lines = [f"{name:8} {value}" for name, value in rows.items()]
        lines.append("Compiling takes up to two minutes, in which nothing is shown.")
        return "\n".join(lines)

    def check(self, model: Segmenter, progress: bool) -> None:
        """Checks the data, and begins the folder's record.

        Raises:
            ValueError: for unfit data, see `keras_pamunet.data.check`.
        """
        check(self._resized.values(), progress, model.input_range)
        if not (self.output / "config.json").exists():
            names = {name: source.names for name, source in self.subsets.items()}
            write_config(self.output, self.settings, names)

    def score_before(self, model: Segmenter, progress: bool) -> Scores | None:
        """The scores of the model it starts from, if its classes are the same."""
        base = self.base
        classes = model.num_classes, model.masks
        if base is None or (base.num_classes, base.masks) != classes:
            return None
        path = self.output / BEFORE
        if not path.exists():
            write_json(path, self._score(model, None, progress).to_json())
        before = _read_metrics(path)
        if progress:
            print(
                f"Before training, on {self.subset}: Dice {before.summary['dice']:.3f}"
            )
        return before

    def fit(
        self,
        model: Segmenter,
        progress: bool,
        callbacks: Sequence[keras.callbacks.Callback] = (),
    ) -> None:
        """Trains, from where the run in the folder was stopped.

        On several devices it is a copy of the model that is trained.
        """
        with self.devices.scope():
            if self.devices.count > 1:
                model = model.clone()
                self.devices.synchronize(model)
            self._fit(model, progress, callbacks)

    def _fit(self, model, progress, callbacks):
        recipe, devices = self.recipe, self.devices
        steps, size = self._steps * recipe.parts, recipe.batch_size // recipe.parts
        recipe.compile(model, steps)
        checkpoint = self._checkpoint()
        first_epoch = checkpoint.restore(model)
        if devices.agree(first_epoch) != first_epoch:
            raise ValueError(
                f"Expected a run folder that all processes can read. {self.output} "
                "is one that the first process goes on from, and this one does not see."
            )
        if first_epoch and progress:
            print(f"Going on after epoch {first_epoch}.")
        average = recipe.ema_momentum is not None
        validation = pipeline(
            self._resized["validation"],
            len(self.subsets["validation"]),
            masks=model.masks,
        )
        train = pipeline(
            self._resized["train"],
            size,
            recipe.augment,
            shuffle=True,
            repeat=True,
            seed=self.seed,
            first_batch=first_epoch * steps,
            masks=model.masks,
            balanced=bool(self.settings["balanced"]),
            shard=devices.shard,
        )
        # As arrays: Keras under TensorFlow is slow with what comes in batches.
        validation, validation_size = devices.rows(next(iter(validation)), size)
        model.fit(
            devices.batches(train),
            validation_data=validation,
            validation_batch_size=validation_size,
            epochs=recipe.epochs,
            initial_epoch=first_epoch,
            steps_per_epoch=steps,
            callbacks=[
                *([keras.callbacks.SwapEMAWeights(True)] if average else []),
                StopAtNaN(),
                checkpoint,
                TensorBoardLog(self.output / "logs"),
                *callbacks,
            ],
            shuffle=False,  # The pipeline does.
            # Progress bars on a terminal only: in a log file each redraw is a line.
            verbose=0 if not progress else 1 if sys.stdout.isatty() else 2,
        )

    def finish(self, before: Scores | None, progress: bool) -> Scores:
        """Completes, scores and draws the model that was kept.

        Args:
            before: the scores of the model it started from.
            progress: whether to show progress bars.

        Returns:
            The scores.
        """
        model = load_model(self.output)
        if self.recipe.batch_statistics:
            self._estimate_statistics(model, progress)
            replace_model(self.output, to_keras_file(model))
        rows = read_history(self.output)
        write_learning_curve(rows, self.output / "learning_curve.png")
        result = self._score(model, self.output, progress)
        if before is not None:
            self._compare(model, before, result)
        self._checkpoint().close()
        return result

    def _estimate_statistics(self, model, progress):
        train = self._resized["train"]
        batches = pipeline(
            train,
            self.recipe.batch_size,
            shuffle=True,
            repeat=True,
            balanced=bool(self.settings["balanced"]),
        )
        count = min(self._steps, STATISTICS_BATCHES)
        images = (images for images, _ in itertools.islice(batches, count))
        images = track(images, "Batch statistics", count, progress)
        estimate_batch_statistics(model, images)

    def _compare(self, model, before, result):
        flips = self.recipe.flips
        results = {"before": before, "after": result}
        settings = {"subset": self.subset, "flips": flips, "full_size": False}
        write_comparison(compare(results, settings), self.output)
        write_before_after(
            {"before": self.begin(), "after": model},
            results,
            self._resized[self.subset],
            self.output / "before_after.png",
            flips=flips,
        )

    def _score(self, model, folder, progress):
        return evaluate(
            model,
            self._resized[self.subset],
            folder,
            batch_size=self.recipe.batch_size,
            progress=progress,
            subset=self.subset,
            flips=self.recipe.flips,
        )

    def _checkpoint(self):
        return Checkpoint(self.output, keep=self.constant_rate)

    @property
    def _steps(self):
        return max(len(self.subsets["train"]) // self.recipe.batch_size, 1)

    @property
    def _metrics(self):
        return self.output / METRICS

    @functools.cached_property
    def _resized(self):
        size = (self.size, self.size)
        pairs = sum(map(len, self.subsets.values()))
        return {
            name: Resized(source, size, CACHE_BYTES * len(source) // pairs)
            for name, source in self.subsets.items()
        }


def _check_batch(recipe, devices):
    """Makes sure that the devices get equal parts of a batch."""
    if recipe.parts > 1 and not devices.accumulates:
        raise ValueError(
            "Expected no `accumulate` on several devices under TensorFlow. Received: "
            f"accumulate={recipe.accumulate}, {devices.count} devices. Set "
            "KERAS_BACKEND=jax, or leave it out: each has a part of the batch only."
        )
    parts = recipe.parts * devices.count
    if recipe.batch_size % parts:
        lower = recipe.batch_size // parts * parts
        hint = " or ".join(str(x) for x in (lower, lower + parts) if x)
        raise ValueError(
            f"Expected a batch size that divides by {devices.count} devices, times "
            f"accumulate={recipe.parts}. Received: batch_size={recipe.batch_size}. "
            f"Give {hint}."
        )


def _with_classes(arguments, base):
    """A network's arguments, with the classes of the model it starts from."""
    default = {"num_classes": 1, "masks": "exclusive"}
    if base is not None:
        default = {"num_classes": base.num_classes, "masks": base.masks}
    return {**default, **arguments}


def _argument(name, arguments, base):
    """What a network will have: as given, of its start, or the default."""
    default = inspect.signature(Task).parameters[name].default
    return arguments.get(name, getattr(base, name, default))


def _sha256_of_start(base, encoder_weights):
    """Hash of the weights that a run starts from; None of random ones."""
    if base is not None:
        return base.fingerprint
    if encoder_weights is not None and Path(encoder_weights).is_file():
        return sha256_of(Path(encoder_weights))
    return None


def _for_kind(source, arguments, base, window):
    """A network's arguments, with what follows from the kind of images."""
    if not source.in_hu:
        if window is not None:
            raise ValueError(
                f"Expected a window for CT volumes only. Received: window={window} for "
                "pictures. Their range is `input_range`."
            )
        return arguments
    default = WINDOWS["liver"]
    if base is not None and takes_hu(base.input_range):
        default = base.input_range
    found = {"input_range": window or default, **arguments}
    if not takes_hu(found["input_range"]):
        raise ValueError(
            "Expected a window of HU as `input_range` of a network for CT. Received: "
            f"{found['input_range']}, that of pictures. Give --window LOW,HIGH."
        )
    if base is None or not takes_hu(base.input_range):
        found.setdefault("mirror_axes", ())
        found.setdefault("class_names", source.class_names)
    elif (base.num_classes, base.masks) != (found["num_classes"], found["masks"]):
        found.setdefault("class_names", source.class_names)
    return found


def _check_same_epochs(output, epochs):
    """Makes sure that a run whose learning rate falls to 0 is not to go on."""
    try:
        held = read_config(output)["settings"].get("recipe")
    except FileNotFoundError:
        return
    if not isinstance(held, dict) or held.get("schedule") != "cosine":
        return
    if held.get("epochs") != epochs:
        raise ValueError(
            f"Expected the {held.get('epochs')} epochs that {output} was begun with: "
            "over them the learning rate of its recipe falls to 0, so that more "
            f"cannot follow. Received: epochs={epochs}. Train on from it into another "
            f"folder (--weights {output} --output OTHER), or anew (--output OTHER)."
        )


def _read_metrics(path):
    found = read_json_object(path)
    kinds = {"subset": str, "flips": bool, "summary": dict, "images": list}
    whole = all(isinstance(found.get(name), kind) for name, kind in kinds.items())
    if not whole or not is_summary(found["summary"]):
        raise ValueError(
            f"Expected the scores of a run in {path}. It is damaged: keras-pamunet "
            "evaluate scores the run's model anew; or name another output folder."
        )
    names = [field.name for field in dataclasses.fields(Scores)]
    return Scores(**{name: found[name] for name in names if name in found})
