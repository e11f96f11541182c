"""Compares trainings of PAM-UNet on several devices with one on a single device.

`KERAS_BACKEND=jax python -m tests.training.same_training` prints the largest difference
of the losses of 30 steps, and of the weights that are kept. The tests do so with a
smaller network.
"""

import tempfile
from pathlib import Path

import numpy as np

from keras_pamunet.models import load_model
from tests.training.distributed import BACKEND, run

OPTIONS = ["--network", "pamunet", "--learning-rate", "0.001"]
KINDS = {
    "devices": ("data_parallel", {"devices": 4 if BACKEND == "jax" else 2}),
    "processes": ("multi_worker", {"processes": 2}),
}


def main():
    with tempfile.TemporaryDirectory() as parent:
        (one,) = run(Path(parent, "one"), "none", options=OPTIONS)
        for name, (distribute, arguments) in KINDS.items():
            folder = Path(parent, name)
            found = run(folder, distribute, options=OPTIONS, **arguments)
            losses = np.subtract([x["losses"] for x in found], one["losses"])
            ours, theirs = (
                load_model(Path(parent, x, "run")).get_weights() for x in ("one", name)
            )
            weights = [np.abs(x - y).max() for x, y in zip(ours, theirs, strict=True)]
            print(
                f"{BACKEND}, {found[0]['devices']} {name}, {losses.shape[1]} steps: "
                f"losses differ by {np.abs(losses).max():.1e}, weights by "
                f"{max(weights):.1e}"
            )


if __name__ == "__main__":
    main()
