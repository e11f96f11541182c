"""Images a second of two processes, a core each, against one process on one core.

`python benchmarks/data_parallel.py --backend jax`. Both sides train PAM-UNet by `fit`
on drawn images from the pipeline, with as many images a core in a batch. They take
turns, so that both see the same machine. Linux, for `taskset`. Writes
`results/data_parallel-<backend>.json`.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

from rich.progress import track

from keras_pamunet.sides import machine

RESULTS = Path(__file__).parent / "results"
SIDES = {"one process": [0], "two processes": [0, 1]}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", choices=("jax", "tensorflow"), default="jax")
    parser.add_argument("--batch", type=int, default=16, help="images a core")
    parser.add_argument("--steps", type=int, default=8, help="of a turn")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options)
        return
    sides = {name: start(options, cores) for name, cores in SIDES.items()}
    rates = {name: [] for name in sides}
    try:
        for processes in sides.values():
            ask(processes)  # Compiles.
        for _ in track(range(options.turns), "Turns"):
            for name, processes in sides.items():
                images = options.batch * len(processes) * options.steps
                rates[name].append(images / max(ask(processes)))
    finally:
        for process in sum(sides.values(), []):
            process.kill()
            process.wait()
    report(options, rates)


def report(options, rates):
    one, two = (statistics.median(side) for side in rates.values())
    result = {
        "machine": machine(),
        **{x: vars(options)[x] for x in ("backend", "batch", "size", "steps")},
        "images_per_s": {
            name: [round(x, 2) for x in side] for name, side in rates.items()
        },
        "ratio": round(two / one, 3),
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"data_parallel-{options.backend}.json"
    path.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    for name, side in rates.items():
        print(f"{name}: {statistics.median(side):.1f} images/s")
    print(f"ratio {result['ratio']}\n{path}")


def start(options, cores):
    """The processes of a side, each bound to its core."""
    addresses = [f"127.0.0.1:{free_port()}" for _ in cores]
    return [
        subprocess.Popen(
            ["taskset", "-c", str(core), sys.executable, *sys.argv, "--serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "KERAS_BACKEND": options.backend,
                "TF_CPP_MIN_LOG_LEVEL": "3",
                **described(addresses, index),
            },
        )
        for index, core in enumerate(cores)
    ]


def described(addresses, index):
    """The variables that tell a process of the others."""
    if len(addresses) == 1:
        return {}
    task = {"type": "worker", "index": index}
    return {
        "KERAS_DISTRIBUTION_JOB_ADDRESSES": addresses[0],
        "KERAS_DISTRIBUTION_NUM_PROCESSES": str(len(addresses)),
        "KERAS_DISTRIBUTION_PROCESS_ID": str(index),
        "TF_CONFIG": json.dumps({"cluster": {"worker": addresses}, "task": task}),
    }


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def ask(processes):
    """Has the processes work for a turn together; returns the seconds of each."""
    for process in processes:
        print(file=process.stdin, flush=True)
    answers = [process.stdout.readline() for process in processes]
    if not all(answers):
        raise RuntimeError("A process has failed; see above.")
    return [float(answer) for answer in answers]


def serve(options):
    """One process of a side: works for a turn for every line it reads."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # Whatever else is printed does not get between the answers.
    import keras

    from keras_pamunet import PAMUNet
    from keras_pamunet.data import Augment, Phantom, Resized, pipeline
    from keras_pamunet.distribution import Devices, join

    is_alone = "KERAS_DISTRIBUTION_PROCESS_ID" not in os.environ
    devices = Devices() if is_alone else join("multi_worker")
    pairs = Resized(Phantom(256), (options.size, options.size))
    times = []
    clock = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: times.append(time.perf_counter())
    )
    with devices.scope():
        model = PAMUNet((options.size, options.size, 3))
        devices.synchronize(model)
        for _ in sys.stdin:
            batch = options.batch * devices.count
            data = pipeline(
                pairs, batch, Augment(), shuffle=True, repeat=True, shard=devices.shard
            )
            # The first step makes the pipeline ready.
            model.fit(
                devices.batches(data),
                steps_per_epoch=options.steps + 1,
                callbacks=[clock],
                shuffle=False,
                verbose=0,
            )
            seconds = times[-1] - times[-1 - options.steps]
            print(seconds, file=answers, flush=True)


if __name__ == "__main__":
    main()
