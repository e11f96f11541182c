"""What importing the package and asking for help cost."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import pytest

from tests.helpers import once

ROOT = Path(__file__).parents[1]

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


@once
def test_command_line_imports_no_back_end():
    added = imported("sys", "keras_pamunet.cli")
    assert "typer" in added
    assert not added & {"keras", "tensorflow", "jax", "torch", "numpy"}


CHOSEN = """
import sys
for name in sys.argv[1].split():
    sys.modules[name] = None  # As if not installed.
import keras_pamunet
exec(sys.argv[2])
import keras
print(keras.backend.backend())
"""


def chosen(tmp_path, missing, keras_json=None, first="", **variables):
    """The back end in a new process without some packages, or its error."""
    if keras_json is not None:
        (tmp_path / "keras.json").write_text(keras_json)
    environment = {**os.environ, "KERAS_HOME": str(tmp_path), **variables}
    if "KERAS_BACKEND" not in variables:
        environment.pop("KERAS_BACKEND", None)
    done = subprocess.run(
        [sys.executable, "-c", CHOSEN, missing, first],
        env=environment,
        capture_output=True,
        text=True,
    )
    return (done.stdout if done.returncode == 0 else done.stderr).splitlines()[-1]


@once
def test_installed_back_end(tmp_path):
    """Keras alone would fail: its `keras.json` says tensorflow, as it comes."""
    pytest.importorskip("jax")
    for text in (None, '{"backend": "tensorflow"}', "cut"):
        assert chosen(tmp_path, "tensorflow", text) == "jax"


@once
def test_chosen_back_end(tmp_path):
    pytest.importorskip("jax")
    pytest.importorskip("tensorflow")
    assert chosen(tmp_path, "", '{"backend": "jax"}') == "jax"
    text = '{"backend": "tensorflow"}'
    assert chosen(tmp_path, "", text, KERAS_BACKEND="jax") == "jax"
    assert chosen(tmp_path, "", text, KERAS_BACKEND="") == "tensorflow"


@once
def test_no_back_end(tmp_path):
    """Said once a name is used that needs one: others do without."""
    use = "keras_pamunet.PAMUNet"
    found = chosen(tmp_path, "tensorflow jax torch", first=use)
    assert found.startswith("ImportError: Expected a back end of Keras.")
    use = "keras_pamunet.OnnxModel; sys.exit(0)"
    assert chosen(tmp_path, "tensorflow jax torch", first=f"print(); {use}") == ""
    use = "keras_pamunet.models"
    found = chosen(tmp_path, "tensorflow", first=use, KERAS_BACKEND="tensorflow")
    assert "KERAS_BACKEND" in found and "Received: 'tensorflow'" in found


@once
def test_version_and_info():
    for arguments in (["--version"], ["info", "--json"], ["--help"]):
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                "from keras_pamunet.cli import app; app()",
                *arguments,
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        if arguments[0] == "info":
            assert json.loads(done.stdout)["keras"] == keras.__version__


@once
def test_presets_without_keras():
    code = (
        "import sys; from keras_pamunet.cli import app; app(standalone_mode=False); "
        "assert not {'keras', 'tensorflow', 'jax', 'torch'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "info", "presets", "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    preset = json.loads(done.stdout)["pamunet_kvasir_seg"]
    assert preset["input_shape"] == [128, 128, 3] and preset["megabytes"] < 16
    assert all(0 < scores["dice"] < 1 for scores in preset["metrics"].values())


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder where the wheel of the package is installed, and nothing else."""
    root = tmp_path_factory.mktemp("wheel")
    for name in ("keras_pamunet", "hub"):
        shutil.copytree(ROOT / name, root / "source" / name)
    for path in (*ROOT.glob("*.py"), ROOT / "pyproject.toml", ROOT / "README.md"):
        shutil.copy(path, root / "source")

    def run(*command):
        command = [sys.executable, "-m", *map(str, command)]
        subprocess.run(command, capture_output=True, check=True)

    run("build", "--wheel", "--no-isolation", "--outdir", root, root / "source")
    (wheel,) = root.glob("*.whl")
    run("pip", "install", "--no-index", "--no-deps", "--target", root / "site", wheel)
    return root / "site"


@once
def test_presets_of_the_wheel(installed, tmp_path):
    code = (
        "import keras_pamunet; print(keras_pamunet.__file__); "
        "keras_pamunet.PAMUNet.from_preset('pamunet_kvasir_seg')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(installed)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(installed))
