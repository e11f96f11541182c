"""Runs the sides of a comparison in turn, each in a process of its own.

A benchmark calls `main` with a function that makes the work of one side, and one that
lists the comparisons. Every side of a comparison is a process that waits for its
turn, so that all of them see the same machine, whatever else it is doing. Memory is
measured as Linux counts it.
"""

import argparse
import ctypes
import gc
import json
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

RESULTS = Path(__file__).parent / "results"
TURN_SECONDS = 0.2


def main(
    name: str,
    make: Callable[..., Callable[[], Any]],
    comparisons: Callable[[bool], list[list[dict]]],
) -> None:
    """Prints the table of a benchmark and writes it to `results/<name>.json`.

    Times are the median and the 95th percentile of a side's calls.

    Args:
        name: of the benchmark.
        make: called in a side's process with the entries of that side; returns the
            work to time.
        comparisons: called with whether `--short` was given; returns lists of sides.
            A side is a dictionary with `backend`, `gflop` (floating point operations
            of its work, may be left out) and what `make` takes. Ratios are to a
            list's first side.
    """
    parser = argparse.ArgumentParser(description=name)
    parser.add_argument("--short", action="store_true", help="a part, in minutes")
    parser.add_argument("--repeats", type=int, default=7, help="turns of each side")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        _serve(make, json.loads(arguments.side))
        return
    rows = []
    lists = comparisons(arguments.short)
    for sides in track(lists, name, console=Console(stderr=True)):
        rows += _compare(sides, arguments.repeats)
    result = {"machine": f"{os.cpu_count()} x {processor()}", "rows": rows}
    RESULTS.mkdir(exist_ok=True)
    suffix = "-short" if arguments.short else ""
    path = RESULTS / f"{name}{suffix}.json"
    lines = ",\n".join(map(json.dumps, rows))
    path.write_text(
        f'{{"machine": {json.dumps(result["machine"])}, "rows": [\n{lines}\n]}}\n',
        "utf-8",
    )
    _print(result)
    print(path)


def _serve(make, side):
    """The process of one side: works for a turn for every line it reads."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # Whatever else is printed does not get between the answers.
    del side["backend"]
    side.pop("gflop", None)
    work = make(**side)
    work()
    work()  # The first one traces and compiles; some do so twice.
    print(json.dumps(_memory(work)), file=answers, flush=True)
    for _ in sys.stdin:
        print(json.dumps(_turn(work)), file=answers, flush=True)


def _turn(work):
    """Seconds of each call. The first finds another side's data in the caches.

    So it counts only where it takes a turn for itself, and that matters little.
    """
    seconds = []
    while sum(seconds) < TURN_SECONDS:
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return seconds[1:] or seconds


def _memory(work):
    """Peak memory of the process so far, and of the work beyond what is held before."""
    process = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # Freed memory would hide what the work takes.
    Path("/proc/self/clear_refs").write_text("5")  # Has the peak begin anew.
    before = _status("VmRSS")
    work()
    work_gib = (_status("VmHWM") - before) / 2**20
    return {"work_gib": round(work_gib, 3), "process_gib": round(process / 2**20, 3)}


def _status(name):
    status = Path("/proc/self/status").read_text()
    return int(re.search(rf"{name}:\s+(\d+) kB", status)[1])


def _compare(sides, repeats):
    processes, memory = [], []
    try:
        for side in sides:
            processes.append(_start(side))
            memory.append(_ask(processes[-1], None))
        answers = [
            [_ask(process, "work") for process in processes] for _ in range(repeats)
        ]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    calls = [[x for turn in turns for x in turn] for turns in zip(*answers)]
    medians = [statistics.median(seconds) for seconds in calls]
    return [
        {
            **side,
            **_rate(side, median),
            "ms": round(median * 1e3, 2),
            "p95_ms": round(float(np.percentile(seconds, 95)) * 1e3, 2),
            "ratio": round(median / medians[0], 3),
            **held,
            "memory_ratio": round(held["process_gib"] / memory[0]["process_gib"], 3),
        }
        for side, median, seconds, held in zip(sides, medians, calls, memory)
    ]


def _rate(side, seconds):
    if "gflop" not in side:
        return {}
    gflop = side["gflop"]
    return {"gflop": round(gflop, 2), "gflop_per_s": round(gflop / seconds, 1)}


def _start(side):
    errors = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the process)
    process = subprocess.Popen(
        [sys.executable, sys.argv[0], "--side", json.dumps(side)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        env={
            **os.environ,
            "KERAS_BACKEND": side["backend"],
            "TF_CPP_MIN_LOG_LEVEL": "3",
        },
    )
    process.errors = errors
    return process


def _ask(process, question):
    if question is not None:
        print(question, file=process.stdin, flush=True)
    answer = process.stdout.readline()
    if not answer:
        process.errors.seek(0)
        errors = process.errors.read().decode()[-2000:]
        raise RuntimeError(f"A side has failed: {process.args}\n{errors}")
    return json.loads(answer)


def processor():
    """Its name, and the widest vectors it knows: those decide more than the name."""
    facts = dict(
        re.findall(
            r"^(model name|flags)\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.M
        )
    )
    vectors = [x for x in ("avx512f", "avx2") if x in facts.get("flags", "").split()]
    return " ".join([facts.get("model name", platform.processor()), *vectors[:1]])


def _print(result):
    table = Table(title=result["machine"])
    columns = list(dict.fromkeys(key for row in result["rows"] for key in row))
    for column in columns:
        table.add_column(column)
    for row in result["rows"]:
        table.add_row(*(str(row.get(column, "")) for column in columns))
    Console(width=120).print(table)
