"""Prediction in ONNX Runtime, on two threads, and `predict` of Keras.

Run it with `python benchmarks/exported.py [--short]`: attention of first order, and
exact, against none; and, in the long form, exact attention in Keras against the same in
ONNX Runtime.
"""

from sides import main


def make(form, size, batch, key_stride):
    import tempfile
    from pathlib import Path

    import numpy as np

    from keras_pamunet import PAMUNet

    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (batch, size, size, 3), "uint8")
    arguments = {
        "no attention": {"attention": None},
        "first order": {"key_stride": key_stride},
    }.get(form, {"score_activation": "sigmoid", "key_stride": key_stride})
    model = PAMUNet((size, size, 3), **arguments)
    if form == "Keras":
        return lambda: model.predict(images, verbose=0)

    from keras_pamunet.exporting import export
    from keras_pamunet.inference.onnx_model import OnnxModel

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        export(model, path, progress=False)
        exported = OnnxModel(path, threads=2)
    return lambda: exported.predict_on_batch(images)


def comparisons(short):
    lists = []
    for size in (128, 256, 512):
        forms = ["no attention", "first order"]
        if not (short and size > 256):  # Minutes in which nothing else is seen.
            forms += ["exact"]
        lists.append([side(form, size=size) for form in forms])
    if not short:
        for case in ((128, 1, 1), (128, 8, 1), (128, 1, 2), (128, 8, 2), (256, 1, 4)):
            keras = [side("Keras", backend, *case) for backend in ("tensorflow", "jax")]
            lists.append([side("exact", "tensorflow", *case), *keras])
    return lists


def side(form, backend="tensorflow", size=128, batch=1, key_stride=1):
    return {
        "backend": backend,
        "form": form,
        "size": size,
        "batch": batch,
        "key_stride": key_stride,
    }


if __name__ == "__main__":
    main("exported", make, comparisons)
