"""Latency in ONNX Runtime, and a training step, of the networks of the paper's tables.

Run it with `python benchmarks/costs.py [--short]`. The rows are those of
`examples/tables.toml`; ratios are to PAM-UNet. One image of 128 x 128 pixels and two
threads, and a step of 8 images on both back ends. The short form leaves out the steps
under JAX, and `examples/reproduce_tables.py` shows it, too.
"""

import tomllib
from pathlib import Path

from sides import main

SIZE, BATCH = 128, 8
PLAN = Path(__file__).parents[1] / "examples" / "tables.toml"


def make(form, work):
    import tempfile

    import numpy as np

    from keras_pamunet.backend import keep_freed_memory
    from keras_pamunet.exporting import export
    from keras_pamunet.inference.onnx_model import OnnxModel
    from keras_pamunet.models import find_network

    keep_freed_memory()
    (row,) = (row for row in rows() if row["name"] == form)
    arguments = dict(row.get("arguments", {}))
    if arguments.get("attention") == "none":
        arguments["attention"] = None
    model = find_network(row["network"])((SIZE, SIZE, 3), **arguments)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (BATCH, SIZE, SIZE, 3), "uint8")
    if work == "train":
        masks = rng.integers(0, 2, (BATCH, SIZE, SIZE, 1), "uint8")
        return lambda: model.train_on_batch(images, masks)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        export(model, path, progress=False)
        exported = OnnxModel(path, threads=2)
    return lambda: exported.predict_on_batch(images[:1])


def rows():
    return tomllib.loads(PLAN.read_text("utf-8"))["rows"]


def comparisons(short):
    names = dict.fromkeys(["PAM-UNet", *(row["name"] for row in rows())])
    works = [("predict", "tensorflow"), ("train", "tensorflow")]
    if not short:
        works.append(("train", "jax"))
    return [
        [{"backend": backend, "form": name, "work": work} for name in names]
        for work, backend in works
    ]


if __name__ == "__main__":
    main("costs", make, comparisons)
