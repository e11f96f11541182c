"""Searches the hyperparameters of a network with KerasTuner."""

import csv
import dataclasses
import inspect
import io
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import grpc
import keras
import keras_tuner
from keras_tuner import errors, oracles
from matplotlib.figure import Figure

from keras_pamunet.analysis.complexity import count
from keras_pamunet.chief_oracle import MESSAGE, WORKERS, ChiefOracle
from keras_pamunet.data import open_splits
from keras_pamunet.files import (
    locked,
    plain,
    read_json_object,
    replace_text,
    written_aside,
)
from keras_pamunet.models import Segmenter, check_arguments, find_network, load_model
from keras_pamunet.run_folder import (
    CONFIG,
    check_backend,
    check_versions,
    open_run,
    write_config,
)
from keras_pamunet.search import Search
from keras_pamunet.targets import label_count
from keras_pamunet.training import Recipe, find_recipe, train
from keras_pamunet.workers import (
    CHIEF,
    at_work,
    check_free,
    check_name,
    named_to_keras_tuner,
    patient_channel,
    split_address,
    wait_for_chief,
)

TUNERS = {
    "bayesian": oracles.BayesianOptimizationOracle,
    "random": oracles.RandomSearchOracle,
    "hyperband": oracles.HyperbandOracle,
}
TRIALS = "trials"
DEFAULT_SEARCH = ("expansion", "attention_regularization")
OBJECTIVE = keras_tuner.Objective("val_dice", "max")
# Seconds that a worker waits for a chief to begin.
WAIT_FOR_CHIEF = 300
# Seconds until a worker asks again, while it waits for the trials of others.
POLL = 1


class SegmenterHyperModel(keras_tuner.HyperModel):
    """Networks of a search space, for any tuner of KerasTuner.

    Give a tuner the direction with the objective: KerasTuner takes the name
    `"val_dice"` for Keras' loss `dice`, and would look for the lowest.

    Args:
        network: a name of `keras_pamunet.models.list_models()`.
        search: the hyperparameters to search: `"learning_rate"`, and names in the
            network's `search_space`. By default PAM-UNet's expansion factor and
            lambda, and the learning rate of other networks.
        **arguments: of the network, the same in all trials.

    Raises:
        ValueError: if `search` is empty or names something else, or does not go with
            the arguments; when fitted, if a score is to be the lowest.

    Example:

    >>> import keras_tuner
    >>> hypermodel = SegmenterHyperModel(input_shape=(64, 64, 3))
    >>> objective = keras_tuner.Objective("val_dice", "max")
    >>> tuner = keras_tuner.RandomSearch(hypermodel, objective, max_trials=5)
    >>> tuner.search(images, masks, validation_split=0.2, verbose=0)
    """

    def __init__(
        self,
        network: str = "pamunet",
        search: Sequence[str] | None = None,
        **arguments: Any,
    ):
        super().__init__()
        self.network = find_network(network)
        check_arguments(self.network, arguments)
        space = {"learning_rate": _draw_rate, **self.network.search_space}
        if search is None:
            search = [name for name in DEFAULT_SEARCH if name in space]
            search = search or ("learning_rate",)
        if not search or not set(search) <= set(space):
            raise ValueError(
                "Invalid value for argument `search`. Expected some of "
                f"{tuple(space)}. Received: search={tuple(search)!r}"
            )
        if both := set(search) & set(arguments):
            raise ValueError(f"Expected either to be given or searched: {both}")
        if "expansion" in search and arguments.get("encoder_weights") is not None:
            raise ValueError(
                "`encoder_weights` fit an expansion factor of 6 alone. Leave them out, "
                "or search others than the expansion."
            )
        self.search = tuple(search)
        self.space = {name: space[name] for name in self.search}
        self.arguments = arguments

    def values(self, hp: keras_tuner.HyperParameters) -> dict[str, Any]:
        """Values of a trial, as `keras_pamunet.training.train` takes them."""
        drawn = {name: draw(hp, name) for name, draw in self.space.items()}
        return self.network.settle(drawn)

    def build(self, hp: keras_tuner.HyperParameters) -> Segmenter:
        values = self.values(hp)
        learning_rate = values.pop("learning_rate", None)
        model = self.network(**{**self.arguments, **values})
        if learning_rate is not None:
            model.optimizer.learning_rate = learning_rate
        return model

    def fit(self, hp: Any, model: Segmenter, *args: Any, **kwargs: Any) -> Any:
        for callback in kwargs.get("callbacks") or []:
            check_objective(getattr(callback, "objective", None), model)
        return super().fit(hp, model, *args, **kwargs)


def _draw_rate(hp, name):
    return hp.Float(name, 1e-4, 1e-2, sampling="log", default=1e-3)


def check_objective(objective: Any, model: Segmenter) -> None:
    """Makes sure that a search is for the highest of a model's scores.

    Raises:
        keras_tuner.errors.FatalValueError: if it is for the lowest. It ends the
            search, of which other errors only fail a trial.
    """
    scores = {metric.name for metric in model.own_metrics()}
    for one in getattr(objective, "objectives", [objective]):
        name = getattr(one, "name", "")
        if name.removeprefix("val_") in scores and one.direction != "max":
            raise errors.FatalValueError(
                f"Expected to look for the highest {name}. Received: an objective of "
                f"direction {one.direction!r}, which KerasTuner chose if you gave the "
                f'name alone. Give keras_tuner.Objective("{name}", "max").'
            )


def tune(
    data: str | Path = "phantom",
    output: str | Path | None = None,
    *,
    network: str = "pamunet",
    split: str | None = None,
    recipe: str | Recipe = "default",
    search: Sequence[str] | None = None,
    tuner: str = "bayesian",
    trials: int | None = None,
    max_macs: float | None = None,
    epochs: int = 10,
    size: int | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    progress: bool = True,
    window: str | tuple[float, float] | None = None,
    chief: str | None = None,
    worker: str | None = None,
    **model_arguments: Any,
) -> Search | None:
    """Searches the hyperparameters that give the best Dice on the validation pairs.

    Each trial is a run of `keras_pamunet.training.train`. The test pairs are not used.
    Called again with the same arguments it goes on with the trial that was
    interrupted, or with more `trials`.

    Args:
        data: see `keras_pamunet.data.open_source`.
        output: folder of the search. Defaults to `runs/<data>-tune`. It gets
            `trials.csv`, a picture of Dice against MACs, `trials.png`, the best
            model as a preset, `best/`, and the run folder of each trial,
            `trials/trial_<number>/run`.
        network: see `SegmenterHyperModel`.
        split: see `keras_pamunet.data.open_splits`.
        recipe: see `keras_pamunet.training.train`.
        search: see `SegmenterHyperModel`.
        tuner: `"bayesian"` (Gaussian process), `"random"` or `"hyperband"`, which
            sorts out by short trials; it trains those it keeps anew, for longer.
        trials: number of trials, 12 by default. Hyperband has a number of its own.
        max_macs: multiply-adds for an image that a model may have. A trial above it
            is refused before it trains.
        epochs: of each trial; with Hyperband of the longest.
        size: see `train`.
        batch_size: see `train`.
        seed: of the search, and of each run.
        progress: whether to show progress.
        window: see `train`.
        chief: `"host:port"` of the process that leads a search of several. Without
            `worker` this is that process: it listens there, gives the trials to the
            workers and waits until all are done.
        worker: name of this process as one that works for the `chief`, with the same
            arguments and the same `output`, a folder that all of them share.
        **model_arguments: arguments of the network other than `input_shape`, the same
            in all trials.

    Returns:
        The trials, the best first, and the folder of the best model; None for a worker.

    Raises:
        ValueError: for unfit data or arguments, a folder that holds another search,
            and if no trial could be trained. Of a worker also for other settings,
            pairs, versions or back end than the chief's, and for a name that
            another one has.
        OSError: if the folder cannot be written, the chief cannot listen, or a worker
            finds none.
    """
    if worker is not None:
        check_name(worker)
        if chief is None:
            raise ValueError("Expected the address of the `chief` for a worker.")
        split_address(chief)
    elif chief is not None:
        check_free(chief)
    if tuner not in TUNERS:
        raise ValueError(
            "Invalid value for argument `tuner`. Expected one of "
            f"{tuple(TUNERS)}. Received: tuner={tuner!r}"
        )
    if tuner == "hyperband" and trials is not None:
        raise ValueError("Expected no `trials` with tuner='hyperband'.")
    if trials is None:
        trials = 12
    numbers = {"trials": trials, "epochs": epochs, "batch_size": batch_size}
    for name, value in numbers.items():
        if value is not None and value < 1:
            raise ValueError(
                f"Invalid value for argument `{name}`. Expected a positive number. "
                f"Received: {name}={value!r}"
            )
    if size is None:
        size = 64 if str(data) == "phantom" else 128
    recipe = find_recipe(recipe, epochs=epochs, batch_size=batch_size)
    # Before any data is read; what their channels are is seen then.
    own = inspect.signature(tune).parameters
    check_arguments(find_network(network), model_arguments, beside=own)
    SegmenterHyperModel(network, search, input_shape=(size, size, 3), **model_arguments)
    subsets = open_splits(data, split, _labels(model_arguments), seed)
    shape = (size, size, subsets["train"].channels)
    hypermodel = SegmenterHyperModel(
        network, search, input_shape=shape, **model_arguments
    )
    output = Path(output or f"runs/{Path(data).resolve().name}-tune")
    settings = {
        "data": str(data),
        "split": split,
        "network": network,
        "recipe": dataclasses.asdict(recipe),
        "search": hypermodel.search,
        "tuner": tuner,
        "max_macs": max_macs,
        "size": size,
        "seed": seed,
        "window": window,
        "model": model_arguments,
    }
    arguments = {
        "data": data,
        "network": network,
        "split": split,
        "recipe": recipe,
        "epochs": epochs,
        "size": size,
        "seed": seed,
        "window": window,
        "progress": progress,
        **model_arguments,
    }
    names = {name: source.names for name, source in subsets.items()}
    place = {"directory": output.resolve(), "project_name": TRIALS}
    limit = {"max_epochs": epochs} if tuner == "hyperband" else {"max_trials": trials}
    limit["seed"] = seed
    if worker is not None and chief is not None:
        if progress:
            print(f"Worker {worker}: looks for the chief at {chief}", flush=True)
        wait_for_chief(chief, WAIT_FOR_CHIEF)
        _check_joins(output, settings, names)
        with (
            at_work(output / TRIALS / WORKERS, worker),
            named_to_keras_tuner(worker, chief),
        ):
            runs = _WorkerRuns(_oracle(TUNERS[tuner], **limit), hypermodel, **place)
            runs.work(chief, max_macs, **arguments)
        return None
    if chief is None:
        oracle = _oracle(TUNERS[tuner], **limit)
        oracle.verbose = int(progress)
    else:
        kind = type("Chief", (ChiefOracle, TUNERS[tuner]), {})
        oracle = _oracle(kind, folder=output / TRIALS, progress=progress, **limit)
    role = nullcontext() if chief is None else named_to_keras_tuner(CHIEF, chief)
    with locked(output), role:
        resumed = open_run(output, settings, names)
        if resumed:
            check_backend(output)
        else:
            # Built once before the config.json is written: bad arguments must not
            # leave one that blocks the folder.
            hypermodel.build(keras_tuner.HyperParameters())
            write_config(output, settings, names)
        try:
            runs = _Runs(oracle, hypermodel, **place)
            # It may have begun in the other role, whose file KerasTuner looks for.
            if (output / TRIALS / "oracle.json").exists():
                oracle.reload()
            if chief is None:
                runs.search(max_macs, **arguments)
            elif oracle.remaining_trials() != 0 or oracle.ongoing_trials:
                runs.lead(chief)
            rows = _table(runs, epochs)
        except errors.FatalError as error:
            raise error.__cause__ from None
        except OSError:
            raise
        except Exception as error:  # Whatever KerasTuner makes of a damaged file.
            if not resumed:
                raise
            raise _damaged(output / TRIALS, error) from error
        return _report(rows, runs, settings, output)


def _oracle(kind, seed, **arguments):
    return kind(
        objective=OBJECTIVE,
        seed=seed + 1,  # KerasTuner takes a seed of 0 for none.
        # A failed trial is marked; no number of them ends the search without a table.
        max_consecutive_failed_trials=sys.maxsize,
        **arguments,
    )


def _check_joins(output, settings, names):
    """Makes sure that a worker does what the chief, who answers, has begun."""
    if not (output / CONFIG).exists():
        raise ValueError(
            f"Expected the chief's folder as the worker's output. {output} holds no "
            "search. Name the same one, on a file system that both share."
        )
    hint = "Start the worker with the arguments of the chief, on the same data."
    open_run(output, settings, names, hint=hint)
    check_backend(output)
    check_versions(output)


def _labels(arguments):
    masks = arguments.get("masks", "exclusive")
    return label_count(arguments.get("num_classes", 1), masks)


def _damaged(folder, error):
    """The error of a search that cannot go on; names the file, if it can be told."""
    for path in sorted(folder.rglob("*.json")):
        try:
            read_json_object(path)
        except ValueError as unreadable:
            return unreadable
    return ValueError(
        f"Cannot go on with the search in {folder}: {error!r}. One of its files, "
        "oracle.json or a trial.json, is damaged: name another output folder, or "
        "delete this one."
    )


def _table(runs, epochs):
    """A row for each trial, the best first."""
    trials = runs.oracle.trials.values()
    rows = [_row(trial, runs.hypermodel, epochs) for trial in trials]
    return sorted(
        rows,
        key=lambda row: (row["status"] != "done", -row["dice"], int(row["trial"])),
    )


def _report(rows, runs, settings, output):
    """Writes the table, the picture and the best model."""
    found = Search(trials=rows, folder=output)
    _write_table(rows, output / "trials.csv")
    _draw(found, settings["max_macs"], output / "trials.png")
    best = found.best
    if best["status"] != "done":
        raise ValueError(f"No trial could be trained; see {output / 'trials.csv'}")
    model = load_model(runs.run_folder(best["trial"]))
    model.save_to_preset(output / "best", {"search": plain(settings), "trial": best})
    return found


class _Runs(keras_tuner.Tuner):
    """Trials that are runs of `train`."""

    def run_folder(self, trial_id):
        return Path(self.get_trial_dir(trial_id), "run")

    def lead(self, address):
        """Gives the trials to workers, until all are done."""
        if self.oracle.progress:
            print(
                f"Listening at {address}. The search waits for workers: the same "
                "command with --worker and a name, on any number of machines.",
                flush=True,
            )
        self.search()

    def run_trial(self, trial, max_macs, epochs, **arguments):
        hp = trial.hyperparameters
        keras.utils.clear_session()
        macs = count(self.hypermodel.build(hp))["macs"]
        dice = 0.0  # Not a failure to KerasTuner, which would learn nothing from one.
        if max_macs is not None and macs > max_macs:
            trial.message = f"refused: more than {max_macs:,.0f} MACs"
        else:
            try:
                dice = train(
                    output=self.run_folder(trial.trial_id),
                    epochs=hp.values.get("tuner/epochs", epochs),
                    subset="validation",
                    **{**arguments, **self.hypermodel.values(hp)},
                ).dice
            except FloatingPointError as error:
                trial.message = f"failed: {error}"
            except (ValueError, OSError) as error:  # Of no trial, but of the whole.
                raise errors.FatalError(str(error)) from error
        return {OBJECTIVE.name: dice, "macs": macs}


class _WorkerRuns(_Runs):
    """Trials that a chief gives to this worker."""

    def work(self, address, max_macs, **arguments):
        """Does trials until the chief has no more."""
        self.oracle.stub = type(self.oracle.stub)(patient_channel(address))
        try:
            self.search(max_macs, **arguments)
        except errors.FatalError as error:
            raise error.__cause__ from None
        except grpc.RpcError as error:
            raise OSError(
                f"The chief at {address} has ended or refused: {error.details()}. What "
                "is done is kept: start both again with the same commands."
            ) from error

    def pre_create_trial(self):
        time.sleep(POLL)

    def on_trial_end(self, trial):
        path = Path(self.get_trial_dir(trial.trial_id), MESSAGE)
        replace_text(path, trial.message or "")
        super().on_trial_end(trial)


def _row(trial, hypermodel, epochs):
    """What came of a trial."""
    values = trial.hyperparameters.values
    metrics = {
        name: trial.metrics.get_best_value(name)
        for name in (OBJECTIVE.name, "macs")
        if trial.metrics.exists(name)
    }
    # The last line of KerasTuner's traceback is the exception.
    *_, note = (trial.message or "").strip().splitlines() or [""]
    status, colon, reason = note.partition(": ")
    known = status in ("refused", "failed")
    if not note and len(metrics) < 2:
        raise ValueError(f"trial {trial.trial_id} is done and has no metrics")
    return {
        "trial": trial.trial_id,
        "status": status if known else "failed" if note else "done",
        "dice": float(metrics.get(OBJECTIVE.name, 0.0)),
        "macs": int(metrics["macs"]) if "macs" in metrics else None,
        "epochs": values.get("tuner/epochs", epochs),
        **{name: values.get(name) for name in hypermodel.search},
        "note": reason if known else note,
    }


def _write_table(rows, path):
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    replace_text(path, text.getvalue())


def _draw(found, max_macs, path):
    """Dice against MACs, each trial with its number, and their Pareto front."""
    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    axes = figure.subplots()
    axes.set(xlabel="multiply-adds, millions", ylabel="validation Dice")
    axes.grid(alpha=0.3)
    front = [(row["macs"] / 1e6, row["dice"]) for row in found.front]
    if len(front) > 1:
        style = {"color": "tab:blue", "alpha": 0.4, "label": "Pareto front"}
        axes.step(*zip(*front), where="post", **style)
    for index, row in enumerate(found.trials):
        if row["status"] == "done":
            x, y = row["macs"] / 1e6, row["dice"]
            axes.plot(x, y, "o", color="tab:blue")
            # On either side in turn, for neighbours are often close.
            side = "right" if index % 2 else "left"
            axes.text(x, y, f"  {row['trial']}  ", ha=side, va="center")
    if max_macs is not None:
        axes.axvline(max_macs / 1e6, color="tab:red", linestyle="--", label="ceiling")
    if axes.get_legend_handles_labels()[0]:
        axes.legend()
    with written_aside(path) as new:
        figure.savefig(new, dpi=120)
