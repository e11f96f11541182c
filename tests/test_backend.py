"""What is asked of the C library."""

import subprocess
import sys

import pytest

MEMORY = """
import resource
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from keras_pamunet.backend import freed_memory_kept

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(2**27, "uint8")
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def held():
    with open("/proc/self/status") as file:
        (line,) = (line for line in file if line.startswith("VmRSS"))
    return int(line.split()[1])

with ThreadPoolExecutor(1) as pool, freed_memory_kept():
    print(*(pool.submit(faults).result() for _ in range(2)), held(), end=" ")
print(held())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc is Linux's")
def test_freed_memory_is_kept():
    """128 MiB, more than glibc keeps of a thread; returned in the end."""
    done = subprocess.run(
        [sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True
    )
    first, second, within, after = map(int, done.stdout.split())
    assert second < first / 10
    assert after < within - 100_000  # kB
