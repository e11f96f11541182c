"""The command `keras-pamunet`: reads arguments, calls the verb, prints.

A verb is imported once it is called: Keras takes seconds that `--help` need not take.
"""

from keras_pamunet.cli import (
    attention,
    benchmark,
    cka,
    data,
    evaluate,
    export,
    figure,
    info,
    page,
    predict,
    train,
    tune,
)
from keras_pamunet.cli.entry import app, run

__all__ = ["app", "run"]

# In the order of `--help`.
for command in (
    predict.predict,
    train.train,
    evaluate.evaluate,
    tune.tune,
    export.export,
    page.page,
    benchmark.benchmark,
    data.check,
    data.show,
    data.split,
    attention.attention,
    cka.cka,
    info.info,
):
    app.command()(command)
app.add_typer(figure.figure, name="figure")
