"""Makes tries in processes that are watched: a crash or a hang is an outcome, too."""

import itertools
import json
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

PARTS = ("right", "clear error")
BAD = ("traceback", "silent wrong", "hang", "memory", "crash", "program")
SECONDS_A_TRY = 30
# Bytes at which a process is stopped; the judge counts from 2 GiB for the call alone.
MEMORY = 6 * 2**30
# Bytes after which a process has done enough: other readers may leak.
ENOUGH = 3 * 2**30
START = 300  # Seconds for the seeds of a kind, among them a training.


@dataclass
class Finding:
    """A try that went wrong."""

    kind: str
    number: int
    column: str
    text: str


@dataclass
class Report:
    """Tries of each kind and column, and those that went wrong."""

    counts: dict[str, Counter] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


class Worker:
    """A process of `tests.fuzz.worker`, started again after each that died."""

    def __init__(self, kind: str, seed: int, root: Path):
        self.command = [sys.executable, "-m", "tests.fuzz.worker", kind, str(seed)]
        self.command.append(str(root))
        self.log = root / f"{kind}.log"
        self.process = None

    def attempt(self, number: int) -> tuple[str, str]:
        """Column and text of a try."""
        if self.process is None:
            self.start()
        self.process.stdin.write(f"{number}\n")
        self.process.stdin.flush()
        column, text = self._answer(SECONDS_A_TRY)
        if (
            column in ("hang", "memory", "crash")
            or _resident(self.process.pid) > ENOUGH
        ):
            self.close()
        return column, text

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None

    def start(self) -> None:
        """Starts the process, and has it make the seeds of its kind.

        Raises:
            RuntimeError: if it cannot.
        """
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=Path(__file__).parents[2],
                env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
            )
        column, text = self._answer(START)
        if column != "ready":
            self.close()
            raise RuntimeError(
                f"Cannot start {' '.join(self.command)}: {column} {text}"
            )

    def _answer(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if select.select([self.process.stdout], [], [], 0.02)[0]:
                line = self.process.stdout.readline()
                if not line:
                    return "crash", self._last_words()
                return tuple(json.loads(line))
            if (size := _resident(self.process.pid)) > MEMORY:
                return "memory", f"{size / 2**30:.1f} GiB"
        return "hang", f"over {seconds} s"

    def _last_words(self):
        code = self.process.wait()
        name = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        return f"{name}: {self.log.read_text(errors='replace')[-1500:]}"


def _resident(pid):
    """Bytes of memory that a process holds; 0 if it has gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGESIZE")


def run(
    kinds: Iterable[str],
    seed: int = 0,
    seconds: float | None = None,
    tries: dict[str, Iterable[int]] | None = None,
    jobs: int = 2,
) -> Report:
    """Makes tries of several kinds, `jobs` kinds at once.

    Args:
        kinds: names in `tests.fuzz.targets.KINDS`.
        seed: a try is a function of seed, kind and number.
        seconds: time for all, shared evenly, but for making the seeds; or
        tries: the numbers of the tries of each kind.
        jobs: processes.
    """
    kinds, report = list(kinds), Report()
    report.counts = {kind: Counter() for kind in kinds}
    share = None if seconds is None else seconds * min(jobs, len(kinds)) / len(kinds)

    def work(kind):
        with tempfile.TemporaryDirectory() as root:
            worker = Worker(kind, seed, Path(root))
            try:
                worker.start()
                began = time.monotonic()
                for number in tries[kind] if tries else itertools.count():
                    if number and share and time.monotonic() - began > share:
                        break
                    column, text = worker.attempt(number)
                    report.counts[kind][column] += 1
                    if column in BAD:
                        report.findings.append(Finding(kind, number, column, text))
            finally:
                worker.close()

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(work, kinds))
    return report


def table(report: Report) -> str:
    """The report as a table in Markdown."""
    columns = (*PARTS, *BAD)
    rows = [("kind", "tries", *columns), ("---", *["---:"] * (1 + len(columns)))]
    total = sum(report.counts.values(), Counter())
    for kind, counts in (*report.counts.items(), ("all", total)):
        rows.append((kind, counts.total(), *(counts[column] for column in columns)))
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows)


def causes(report: Report, seed: int) -> Iterator[str]:
    """Each kind of finding once, with the command that makes its first try again."""
    groups = {}
    for finding in report.findings:
        text = " ".join(finding.text.split())
        # Numbers differ where the cause does not.
        key = (
            finding.kind,
            finding.column,
            re.sub(r"\b0?x?[0-9a-f]*\d\S*", "#", text)[:90],
        )
        groups.setdefault(key, []).append((finding.number, text))
    for (kind, column, _), found in sorted(groups.items(), key=lambda x: -len(x[1])):
        number, text = found[0]
        command = f"python -m tests.fuzz --seed {seed} --kind {kind} --try {number}"
        yield f"{column}, {len(found)} x: {text[:400]}\n  {command}"
