"""Damaged files, full disks and laid links, for as long as a test may take."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

from tests.fuzz.runner import causes, run
from tests.fuzz.targets import KINDS
from tests.fuzz.writers import WRITERS

# Tries that take a few seconds. `make fuzz` goes on for as long as one likes.
TRIES = {
    "runs": 80,
    "models": 8,
    "presets": 15,
    "searches": 20,
    "volumes": 400,
    "images": 400,
    "masks": 400,
    "splits": 250,
    "onnx": 400,
    "records": 100,
}

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="once is enough"
)


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files(kind):
    report = run([kind], seed=0, tries={kind: range(TRIES[kind])})
    assert not report.findings, "\n".join(causes(report, 0))


@pytest.mark.parametrize("names", [[*WRITERS], ["run"]], ids=["files", "run"])
def test_full_disk(tmp_path, names):
    """In a process of its own, which lives to its end: HDF5 can end one at its exit."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.writers", str(tmp_path), *names],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    unclear = {
        name: seen["error"]
        for name, seen in found.items()
        if not seen["error"].startswith(("OSError: ", "ValueError: ", "Incomplete: "))
        or str(tmp_path) not in seen["error"]
    }
    assert not unclear
    # A run that could not be written has no files of before.
    other = {name: seen["other"] for name, seen in found.items() if seen["other"]}
    assert names == ["run"] or not other


@pytest.mark.parametrize("name", WRITERS)
def test_laid_links(tmp_path, name):
    """A link under a name that a temporary file might have is not written through."""
    folder, precious = tmp_path / name, tmp_path / "precious"
    folder.mkdir()
    WRITERS[name](folder)
    precious.write_bytes(b"mine")
    for path in [*folder.iterdir(), folder]:
        for guess in (".partial-{}", "new-{}", "{}.tmp", ".{}.tmp", "{}~", ".{}-"):
            path.with_name(guess.format(path.name)).symlink_to(precious)
    WRITERS[name](folder)
    assert precious.read_bytes() == b"mine"
