"""A process of a search, whose trainings are made up: `search` and, as a program, one.

While there is a file `<gates>/<worker>` that worker's trials do not end.
"""

import shutil
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import keras

from keras_pamunet import tuning

SETTINGS = {"search": ("expansion",), "tuner": "random", "epochs": 1, "size": 32}
NO_LOSS = 5  # An expansion.
CEILING = 160_000  # MACs. Those of the expansions 7 and 8 are more.


def build(self, hp):
    width = self.values(hp)["expansion"]
    layer = keras.layers.Conv2D(8 * width, 1)
    return keras.Sequential([keras.Input((32, 32, 3)), layer])


def made_up(model, gates=None, worker=""):
    """Stands in for `train`. Each trial that begins leaves a line in `<gates>/log`."""

    def train(output, expansion, **arguments):
        if gates:
            with (gates / "log").open("a") as log:
                log.write(f"{worker} {output.parent.name}\n")
            while (gates / worker).exists():
                time.sleep(0.05)
        if expansion == NO_LOSS:
            raise FloatingPointError("The loss became nan")
        output.mkdir(parents=True, exist_ok=True)
        shutil.copy(model, output)
        return SimpleNamespace(dice=(expansion % 4) / 7)

    return train


def search(data, output, **others):
    settings = {**SETTINGS, "trials": 8, "max_macs": CEILING, **others}
    return tuning.tune(data, output, **settings)


if __name__ == "__main__":
    data, output, model, gates, *roles = sys.argv[1:]
    roles = dict(zip(("chief", "worker"), roles))
    tuning.SegmenterHyperModel.build = build
    tuning.train = made_up(model, Path(gates), roles.get("worker", ""))
    found = search(data, output, **roles)
    print("worked" if found is None else f"best: {found.best['trial']}")
