"""Training steps and predictions of the whole network on both back ends.

Run it with `python benchmarks/networks.py [--short]`. The sides are the network without
attention, to which the ratios are, with attention of first order, with exact attention,
with its plain formula, with Keras' own convolutions, and with batch normalisation not
folded into the convolutions. The short form is of training steps.
"""

from sides import main

# Multiply-adds of an image of 128 x 128 pixels: the attention's share grows with the
# fourth power of the side, that of the rest with the second.
CONVOLUTIONS, PROJECTIONS, ATTENTION = 235_296_768, 7_471_104, 592_183_296
# Of first order: products of channels x channels of every gate, of images of any size.
MATRICES = 2_806_272


def make(form, work, size, batch):
    import sys
    from unittest.mock import patch

    import keras
    import numpy as np

    from keras_pamunet import PAMUNet, layers
    from keras_pamunet.backend import keep_freed_memory
    from keras_pamunet.layers import inverted_residual, progressive_luong_attention
    from keras_pamunet.ops import attention_scores

    keep_freed_memory()

    def plain(query, key, value, score_activation):
        scores = attention_scores(query, key, score_activation)
        context = keras.ops.matmul(scores, value)
        return context, keras.ops.var(scores, axis=(1, 2))

    def one_by_one(conv, norm, inputs):
        return norm(conv(inputs))

    if form == "plain formula":
        patch.object(progressive_luong_attention, "luong_attention", plain).start()
    if form == "Keras' convolutions":
        for name in ("Conv2D", "Conv2DTranspose", "DepthwiseConv2D"):
            module = sys.modules[getattr(layers, name).__module__]
            patch.object(module, "jax_on_cpu", lambda: False).start()
    if form == "not folded":
        patch.object(inverted_residual, "_normalized", one_by_one).start()
    arguments = {"no attention": {"attention": None}, "first order": {}}.get(
        form, {"score_activation": "sigmoid"}
    )
    model = PAMUNet((size, size, 3), **arguments)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (batch, size, size, 3), "uint8")
    masks = rng.integers(0, 2, (batch, size, size, 1), "uint8")
    if work == "train":
        return lambda: model.train_on_batch(images, masks)
    return lambda: model.predict_on_batch(images)


def comparisons(short):
    cases = [(128, 8), (256, 1), (512, 1)]
    if not short:
        cases.insert(1, (128, 1))
    lists = []
    for size, batch in cases:
        for work in ("train",) if short else ("train", "predict"):
            forms = ["no attention", "first order"]
            if not (short and size > 256):  # Minutes in which nothing else is seen.
                forms += ["exact"]
            if batch > 1 and not short:
                forms += ["plain formula", "Keras' convolutions"]
            if work == "predict":
                forms += ["not folded"]
            for backend in ("tensorflow", "jax"):
                lists.append(
                    [
                        {
                            "backend": backend,
                            "form": form,
                            "work": work,
                            "size": size,
                            "batch": batch,
                            "gflop": gflop(form, work, size, batch),
                        }
                        for form in forms
                    ]
                )
    return lists


def gflop(form, work, size, batch):
    scale = size / 128
    macs = CONVOLUTIONS * scale**2
    if form == "first order":
        # Two products with c x c in place of the three projections.
        macs += 2 / 3 * PROJECTIONS * scale**2 + MATRICES
    elif form != "no attention":
        macs += PROJECTIONS * scale**2 + ATTENTION * scale**4
    passes = 3 if work == "train" else 1
    return 2 * batch * macs * passes / 1e9


if __name__ == "__main__":
    main("networks", make, comparisons)
