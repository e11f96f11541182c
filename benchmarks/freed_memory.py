"""Training steps with freed memory kept, and given back to the system.

Run it with `python benchmarks/freed_memory.py [--short]`. `keep_freed_memory` of
`keras_pamunet.backend` says what keeps it. Ratios are to memory that is given back, as
glibc does by itself. The short form is of TensorFlow and 128 x 128 pixels.
"""

from sides import main


def make(form, size, batch):
    import numpy as np

    from keras_pamunet import PAMUNet
    from keras_pamunet.backend import keep_freed_memory

    if form == "kept":
        keep_freed_memory()
    model = PAMUNet((size, size, 3))
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (batch, size, size, 3), "uint8")
    masks = rng.integers(0, 2, (batch, size, size, 1), "uint8")
    return lambda: model.train_on_batch(images, masks)


def comparisons(short):
    return [
        [
            {"backend": backend, "form": form, "size": size, "batch": 16}
            for form in ("given back", "kept")
        ]
        for size in ((128,) if short else (128, 256))
        for backend in (("tensorflow",) if short else ("tensorflow", "jax"))
    ]


if __name__ == "__main__":
    main("freed_memory", make, comparisons)
