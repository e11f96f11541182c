"""What importing the package and asking for help cost."""

import json
import os
import subprocess
import sys

import keras

LIGHT = (
    "import json, sys; import {before}; known = set(sys.modules); "
    "import {module}; print(json.dumps(sorted(set(sys.modules) - known)))"
)


def imported(before, module):
    done = subprocess.run(
        [sys.executable, "-c", LIGHT.format(before=before, module=module)],
        env={**os.environ, "KERAS_BACKEND": keras.backend.backend()},
        capture_output=True,
        text=True,
        check=True,
    )
    return {name.partition(".")[0] for name in json.loads(done.stdout)}


def test_import_adds_nothing_heavy():
    added = imported("keras", "keras_pamunet")
    heavy = (
        "tensorflow jax torch cv2 PIL grain nibabel matplotlib keras_tuner tensorboard"
    )
    assert "keras_pamunet" in added
    assert not added & {*heavy.split(), "tensorflow_datasets", "typer", "rich"}


def test_command_line_imports_no_back_end():
    added = imported("sys", "keras_pamunet_cli")
    assert "typer" in added
    assert not added & {"keras", "keras_pamunet", "tensorflow", "jax", "torch", "numpy"}


def test_version_and_info():
    for arguments in (["--version"], ["info", "--json"], ["--help"]):
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                "from keras_pamunet_cli import app; app()",
                *arguments,
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        if arguments[0] == "info":
            assert json.loads(done.stdout)["keras"] == keras.__version__
