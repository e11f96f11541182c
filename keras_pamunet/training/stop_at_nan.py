import math
from typing import Any

import keras


class StopAtNaN(keras.callbacks.Callback):
    """Ends training with an error once an epoch's loss is no number any more.

    Raises:
        FloatingPointError: at the end of an epoch whose loss, in training or in
            validation, is NaN or infinite.
    """

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        # The loss is the mean of an epoch, and tells nothing of its last step.
        if not (math.isfinite(logs["loss"]) and math.isfinite(logs["val_loss"])):
            raise FloatingPointError(
                f"The loss became {logs['val_loss']} in epoch {epoch + 1}. Give a "
                "lower learning rate (--learning-rate)."
            )
