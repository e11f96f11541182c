"""A process that makes tries: reads their numbers, writes how each went."""

import faulthandler
import json
import os
import sys
import tempfile
from pathlib import Path

import numpy as np

# Audit events of Python by which a program is started or a host is asked.
FORBIDDEN = {
    *("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork"),
    *("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"),
}


def main(kind: str, seed: int, root: Path) -> None:
    faulthandler.enable()
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # What libraries print is no answer.
    from tests.fuzz.targets import KINDS

    attempt = KINDS[kind](root)
    forbidden = []

    def watch(event, arguments):
        if event in FORBIDDEN:
            forbidden.append(f"{event} {arguments!r}"[:300])
            raise PermissionError("No program is started and no host is asked here.")

    sys.addaudithook(watch)
    print(json.dumps(["ready", ""]), file=answers)
    for line in sys.stdin:
        number = int(line)
        rng = np.random.default_rng([seed, number, *kind.encode()])
        forbidden.clear()
        with tempfile.TemporaryDirectory(dir=root) as folder:
            column, text = attempt(rng, Path(folder))
        if forbidden:
            column, text = "program", forbidden[0]
        print(json.dumps([column, text]), file=answers)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
