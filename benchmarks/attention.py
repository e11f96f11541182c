"""Luong attention block by block and of first order, and the plain formula.

Run it with `python benchmarks/attention.py [--short]`. The multiply-adds counted are
those of the plain formula, two products forward and four more backward; of first order
those of its own.
"""

from sides import main

DEPTH = 16


def make(form, tokens, batch, backward):
    import numpy as np
    from compiled import compiled
    from keras import ops

    from keras_pamunet.ops import attention_scores, luong_attention

    def plain(query, key, value):
        scores = attention_scores(query, key)
        return ops.matmul(scores, value), ops.var(scores, axis=(1, 2))

    def loss(query, key, value):
        if form == "plain":
            context, variance = plain(query, key, value)
        else:
            kind = "first_order" if form == "first order" else "sigmoid"
            context, variance = luong_attention(query, key, value, kind)
        return ops.mean(ops.square(context)) + ops.sum(variance)

    rng = np.random.default_rng(0)
    if form == "matrix product":
        side = rng.normal(size=(tokens, tokens)).astype("float32")
        return compiled(lambda x, y: ops.max(ops.matmul(x, y)), [side, side], False)
    inputs = rng.normal(size=(3, batch, tokens, DEPTH)).astype("float32")
    return compiled(loss, list(inputs), backward)


def comparisons(short):
    cases = [(1024, 8), (4096, 8)]
    if not short:
        cases = [(256, 8), *cases, (16_384, 1), (65_536, 1)]
    lists = []
    for tokens, batch in cases:
        for backend in ("tensorflow", "jax"):
            for backward in (True,) if short else (False, True):
                products = 6 if backward else 2
                case = {"tokens": tokens, "batch": batch, "backward": backward}
                case["gflop"] = products * 2 * batch * tokens**2 * DEPTH / 1e9
                lists.append([{"backend": backend, "form": "block-wise", **case}])
                gflop = case["gflop"] * DEPTH / tokens
                first_order = {**case, "form": "first order", "gflop": gflop}
                lists[-1].append({"backend": backend, **first_order})
                # The plain formula's maps no longer fit a common machine.
                if tokens <= 4096:
                    lists[-1].append({"backend": backend, "form": "plain", **case})
                product = {"tokens": 2048, "batch": 1, "backward": False}
                product["gflop"] = 2 * 2048**3 / 1e9
                lists[-1].append(
                    {"backend": backend, "form": "matrix product", **product}
                )
    return lists


if __name__ == "__main__":
    main("attention", make, comparisons)
