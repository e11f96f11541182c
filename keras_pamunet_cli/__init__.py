"""The command `keras-pamunet`: reads arguments, calls the verb, prints.

Stands beside the package and not in it: importing the package imports Keras and its
back end, seconds that `--help`, `--version` and `info` need not take.
"""

from keras_pamunet_cli import (
    attention,
    data,
    evaluate,
    export,
    info,
    predict,
    train,
    tune,
)
from keras_pamunet_cli.entry import app, run

__all__ = ["app", "run"]

# In the order of `--help`.
for command in (
    predict.predict,
    train.train,
    evaluate.evaluate,
    tune.tune,
    export.export,
    data.check,
    data.show,
    data.split,
    attention.attention,
    info.info,
):
    app.command()(command)
