"""Pairs a second and core: decoding a folder's originals, augmenting cached ones.

Run it with `taskset -c 0 python benchmarks/input_pipeline.py FOLDER`.
"""

import itertools
import json
import sys
import time

from keras_pamunet.data import Augment, Folder, Resized, pipeline


def rate(count: int, iterable) -> float:
    start = time.perf_counter()
    for _ in itertools.islice(iterable, count):
        pass
    return count / (time.perf_counter() - start)


def main(folder: str) -> None:
    pairs = Folder(folder)
    pairs = pairs.select(pairs.names[:200])
    cached = Resized(pairs, (128, 128))
    batches = iter(pipeline(cached, 16, Augment(), True, True, num_threads=1))
    result = {
        "decode_full_pairs_per_s": rate(200, (pairs[i] for i in range(200))),
        "decode_for_128_px_pairs_per_s": rate(200, (cached[i] for i in range(200))),
    }
    next(batches)
    result["augmented_128_px_pairs_per_s"] = 16 * rate(150, batches)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main(sys.argv[1])
