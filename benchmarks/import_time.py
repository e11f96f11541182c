"""What `import keras_pamunet` adds to `import keras`, in seconds.

Run it with `python benchmarks/import_time.py`.
"""

import json
import statistics
import subprocess
import sys

CODE = (
    "import time, keras; start = time.perf_counter(); import keras_pamunet; "
    "print(time.perf_counter() - start)"
)


def main() -> None:
    seconds = []
    for _ in range(5):
        done = subprocess.run(
            [sys.executable, "-c", CODE], capture_output=True, text=True, check=True
        )
        seconds.append(float(done.stdout))
    print(json.dumps({"added_s": statistics.median(seconds), "all": seconds}))


if __name__ == "__main__":
    main()
