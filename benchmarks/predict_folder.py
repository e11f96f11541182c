"""The whole command `predict` on a folder of photographs, from a cold start.

Run it with `python benchmarks/predict_folder.py PHOTOS [--base REVISION]`. The base is
an earlier revision of this repository, whose `predict` takes its input by `-i`, with
its own preset; both take turns. Under JAX this side finds what an untimed run before
has compiled.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from keras_pamunet.sides import machine

ROOT = Path(__file__).parents[1]
PRESET = "pamunet_kvasir_seg_256"
BACKENDS = {"TensorFlow": "tensorflow", "JAX": "jax", "ONNX Runtime": "tensorflow"}
RUN = "from keras_pamunet.cli import app; app()"
RUN_BASE = "from keras_pamunet_cli import app; app()"


def seconds(run, code, backend, options, work):
    """Time of one command, in a process of its own, with a new output folder."""
    with tempfile.TemporaryDirectory(dir=work) as output:
        environment = {
            **os.environ,
            "KERAS_BACKEND": backend,
            "PYTHONPATH": str(code),
            "XDG_CACHE_HOME": str(work / "cache"),
        }
        command = [sys.executable, "-c", run, "predict", *options, "-o", output]
        start = time.perf_counter()
        subprocess.run(
            command, env=environment, cwd=code, check=True, capture_output=True
        )
        return time.perf_counter() - start


def export(run, code, path):
    """Writes a side's preset as an ONNX file."""
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow"}
    environment["PYTHONPATH"] = str(code)
    command = [sys.executable, "-c", run, "export", PRESET, "-o", str(path), "--quiet"]
    subprocess.run(command, check=True, cwd=code, env=environment)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("photos", type=Path, help="folder of photographs")
    parser.add_argument("--base", help="revision to compare with")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--sides", nargs="+", choices=[*BACKENDS], default=[*BACKENDS])
    arguments = parser.parse_args()
    photos = str(arguments.photos.resolve())
    rows = []
    with tempfile.TemporaryDirectory() as work:
        work = Path(work)
        base = work / "base"
        if arguments.base:
            add = ["git", "worktree", "add", "--detach", str(base), arguments.base]
            subprocess.run(add, check=True, cwd=ROOT, capture_output=True)
            export(RUN_BASE, base, work / "base.onnx")
        export(RUN, ROOT, work / "now.onnx")
        try:
            for name in arguments.sides:
                backend = BACKENDS[name]
                is_onnx = name == "ONNX Runtime"
                new, old = (
                    ["--model", str(work / f"{side}.onnx") if is_onnx else PRESET]
                    for side in ("now", "base")
                )
                now = (RUN, ROOT, backend, [photos, *new], work)
                before_options = ["-i", photos, *old, "--overlay"]
                if backend == "jax":
                    seconds(*now)
                times, before = [], []
                for _ in range(arguments.repeats):
                    times.append(seconds(*now))
                    if arguments.base:
                        then = (RUN_BASE, base, backend, before_options, work)
                        before.append(seconds(*then))
                row = {"with": name, "seconds": round(statistics.median(times), 1)}
                if before:
                    row["base_seconds"] = round(statistics.median(before), 1)
                    row["ratio"] = round(row["base_seconds"] / row["seconds"], 2)
                rows.append(row)
                print(row, flush=True)
        finally:
            if arguments.base:
                remove = ["git", "worktree", "remove", "--force", str(base)]
                subprocess.run(remove, check=True, cwd=ROOT)
    result = {
        "machine": machine(),
        "photos": len(list(arguments.photos.iterdir())),
        "repeats": arguments.repeats,
        "base": arguments.base,
        "rows": rows,
    }
    path = ROOT / "benchmarks" / "results" / "predict_folder.json"
    path.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
