from pathlib import Path
from typing import Any

import keras
from tensorboard.summary import Writer


class TensorBoardLog(keras.callbacks.Callback):
    """Writes an epoch's numbers for TensorBoard. Needs no TensorFlow.

    Args:
        folder: for the files of events.
    """

    def __init__(self, folder: Path):
        super().__init__()
        self.folder = folder

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.writer = Writer(str(self.folder))

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        for name, value in logs.items():
            self.writer.add_scalar(name, value, epoch + 1)
        self.writer.flush()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self.writer.close()
