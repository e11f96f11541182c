from pathlib import Path
from typing import Any

import keras

from keras_pamunet import history
from keras_pamunet.files import replace_bytes, replace_text
from keras_pamunet.run_folder import replace_model
from keras_pamunet.saving import to_keras_file, to_weights_file


class Checkpoint(keras.callbacks.Callback):
    """Keeps history, best model and all that is needed to go on, after each epoch.

    Stands behind `SwapEMAWeights`: at the end of an epoch the model holds the
    averaged weights, which are the ones to publish; at the beginning of the next it
    holds the weights to go on with.

    Args:
        output: the run folder.
        keep: whether a finished run keeps its last weights, to go on to more epochs.

    Attributes:
        history: a row for each epoch, see `keras_pamunet.history.read_history`.
    """

    def __init__(self, output: Path, keep: bool):
        super().__init__()
        self.output = output
        self.path = output / "state.weights.h5"
        # The weights that a finished run goes on from to more epochs.
        self.last = output / "last.weights.h5"
        self.keep = keep
        self.history = []
        self.best = -1.0

    def restore(self, model: keras.Model) -> int:
        """Loads the state, if there is one; returns the number of finished epochs.

        Raises:
            ValueError: if it is damaged.
        """
        if not self.path.exists():
            return 0
        model.optimizer.build(model.trainable_variables)
        try:
            model.load_weights(self.path)
            rows = history.read_history(self.output)
            # A run may be stopped between the history's last row and its state.
            iterations = _iterations(model)
            self.history = [row for row in rows if row["step"] <= iterations]
            self.best = history.best_epoch(self.history)["val_dice"]
        except (OSError, ValueError, KeyError) as error:
            raise ValueError(
                f"Cannot go on from {self.path} and {self.output / history.HISTORY}: "
                f"{error!r}. They are damaged: name another output folder, or delete "
                "this one."
            ) from error
        return len(self.history)

    def reopen(self) -> None:
        """Makes a finished run one that goes on.

        Raises:
            ValueError: if its last weights are not there.
        """
        if self.last.exists():
            self.last.replace(self.path)
        elif not self.path.exists():
            raise ValueError(
                f"Expected {self.last} to go on from. There is none, as in runs of "
                "older versions: name another output folder (--output)."
            )

    def close(self) -> None:
        """Makes the run a finished one."""
        if self.keep:
            self.path.replace(self.last)
        else:
            # The state is first written before epoch 2: a run of one epoch has none.
            self.path.unlink(missing_ok=True)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self.history:
            replace_bytes(self.path, to_weights_file(self.model))

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        if self.keep and self.history:
            replace_bytes(self.path, to_weights_file(self.model))

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        row = {"epoch": epoch + 1, "step": _iterations(self.model), **logs}
        self.history.append(row)
        if row["val_dice"] > self.best:
            self.best = row["val_dice"]
            replace_model(self.output, to_keras_file(self.model))
        text = history.to_text(self.history)
        replace_text(self.output / history.HISTORY, text)


def _iterations(model):
    return int(keras.ops.convert_to_numpy(model.optimizer.iterations))
