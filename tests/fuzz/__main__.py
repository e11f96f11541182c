"""`python -m tests.fuzz --seconds 60 --seed 0`: tries damaged files on the package."""

import argparse
import os
import sys

from tests.fuzz.runner import causes, run, table
from tests.fuzz.targets import KINDS


def main() -> int:
    parser = argparse.ArgumentParser("python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="time for all kinds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", choices=KINDS, action="append", help="all by default")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--try", dest="number", type=int, help="this try alone")
    given = parser.parse_args()
    kinds = given.kind or KINDS
    if given.number is None:
        report = run(kinds, given.seed, given.seconds, jobs=given.jobs)
    else:
        tries = {kind: [given.number] for kind in kinds}
        report = run(kinds, given.seed, tries=tries, jobs=1)
    print(*causes(report, given.seed), table(report), sep="\n\n")
    return 1 if report.findings else 0


if __name__ == "__main__":
    sys.exit(main())
