"""Prediction in ONNX Runtime, on two threads, against `predict` of Keras.

Run it with `python benchmarks/exported.py [--short]`.
"""

from sides import main


def make(form, size, batch, key_stride):
    import tempfile
    from pathlib import Path

    import numpy as np

    from keras_pamunet import PAMUNet

    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (batch, size, size, 3), "uint8")
    kinds = {"first order": {"score_activation": "first_order"}}
    kinds["no attention"] = {"attention": None, "key_stride": 1}
    _, _, kind = form.partition(", ")
    arguments = {"key_stride": key_stride, **kinds.get(kind, {})}
    model = PAMUNet((size, size, 3), **arguments)
    if form == "Keras":
        return lambda: model.predict(images, verbose=0)

    from keras_pamunet.inference.onnx_model import OnnxModel
    from keras_pamunet.onnx_export import export

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        export(model, path, progress=False)
        exported = OnnxModel(path, threads=2)
    return lambda: exported.predict_on_batch(images)


def comparisons(short):
    cases = [(128, 1, 1), (128, 8, 1), (128, 1, 2), (128, 8, 2)]
    if not short:
        cases += [(256, 1, 1), (256, 1, 4)]
    sides = [
        ("ONNX Runtime", "tensorflow"),
        ("ONNX Runtime, first order", "tensorflow"),
        ("ONNX Runtime, no attention", "tensorflow"),
        ("Keras", "tensorflow"),
        ("Keras", "jax"),
    ]
    return [
        [
            {
                "backend": backend,
                "form": form,
                "size": size,
                "batch": batch,
                "key_stride": key_stride,
            }
            for form, backend in sides
        ]
        for size, batch, key_stride in cases
    ]


if __name__ == "__main__":
    main("exported", make, comparisons)
