"""Measures the sides of a comparison in turn, each in a process of its own.

Every side is a process that waits for its turn, so that all of them see the same
machine, whatever else it is doing.
"""

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
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

TURN_SECONDS = 0.2


def serve(make: Callable[[], Callable[[], Any]]) -> None:
    """The process of one side: works for a turn for every line it reads.

    Args:
        make: returns the work to time.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # Whatever else is printed does not get between the answers.
    work = make()
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
    """Peak memory of the process so far, and of the work beyond what is held before.

    As Linux counts it; other systems do not tell that of the work.
    """
    if sys.platform != "linux":
        process = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return {"process_gib": round(process / 2**30, 3)}  # macOS counts bytes.
    process = _status("VmHWM")  # Linux' ru_maxrss has the peak of who started it, too.
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


def compare(
    commands: Sequence[Sequence[str]],
    repeats: int,
    environments: Sequence[Mapping[str, str]] | None = None,
) -> list[dict[str, Any]]:
    """Runs sides in turn.

    Args:
        commands: of each side, a program that calls `serve`.
        repeats: turns of each side.
        environments: of each side, variables beyond those of this process.

    Returns:
        For each side: `"ms"` and `"p95_ms"`, the median and the 95th percentile of its
        calls, `"ratio"` to the first side's median, memory in GiB as `"process_gib"`
        (peak of the process) and, on Linux, `"work_gib"` (that of the work), and
        `"memory_ratio"` of the processes' peaks.

    Raises:
        RuntimeError: if a side fails, with the last that it said.
    """
    environments = environments or [{} for _ in commands]
    processes, memory = [], []
    with ExitStack() as stack:
        for command, environment in zip(commands, environments):
            processes.append(stack.enter_context(_side(command, environment)))
            memory.append(_ask(processes[-1], None))
        answers = [
            [_ask(process, "work") for process in processes] for _ in range(repeats)
        ]
    calls = [[x for turn in turns for x in turn] for turns in zip(*answers)]
    medians = [statistics.median(seconds) for seconds in calls]
    return [
        {
            "ms": round(median * 1e3, 2),
            "p95_ms": round(float(np.percentile(seconds, 95)) * 1e3, 2),
            "ratio": round(median / medians[0], 3),
            **held,
            "memory_ratio": round(held["process_gib"] / memory[0]["process_gib"], 3),
        }
        for median, seconds, held in zip(medians, calls, memory)
    ]


@contextmanager
def _side(command, environment):
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, **environment},
        ) as process,
    ):
        process.errors = errors
        try:
            yield process
        finally:
            process.kill()


def _ask(process, question):
    if question is not None:
        print(question, file=process.stdin, flush=True)
    answer = process.stdout.readline()
    if not answer:
        process.errors.seek(0)
        errors = process.errors.read().decode()[-2000:]
        raise RuntimeError(f"A side has failed: {process.args}\n{errors}")
    return json.loads(answer)


def machine() -> str:
    """Number and name of the cores, and the widest vectors they know.

    Those decide more than the name.
    """
    path = Path("/proc/cpuinfo")
    text = path.read_text() if path.exists() else ""
    facts = dict(re.findall(r"^(model name|flags)\s*: (.+)$", text, re.M))
    vectors = [x for x in ("avx512f", "avx2") if x in facts.get("flags", "").split()]
    name = facts.get("model name", platform.processor())
    return " ".join([f"{os.cpu_count()} x {name}", *vectors[:1]])
