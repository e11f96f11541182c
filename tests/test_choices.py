"""What the command offers is what there is."""

import json
import os
import subprocess
import sys
from typing import get_args

import pytest
from typer.testing import CliRunner

from keras_pamunet import choices
from keras_pamunet.cli import app
from keras_pamunet.training import RECIPES
from keras_pamunet.tuning import TUNERS
from tests.helpers import own_networks


def test_registries():
    assert list(get_args(choices.Network)) == own_networks()
    assert list(get_args(choices.Recipe)) == list(RECIPES)
    assert list(get_args(choices.Tuner)) == list(TUNERS)


@pytest.mark.parametrize(
    ("command", "option", "names"),
    [
        ("train", "--network", choices.Network),
        ("train", "--recipe", choices.Recipe),
        ("train", "--attention", choices.Attention),
        ("export", "--score-activation", choices.ScoreActivation),
        ("tune", "--tuner", choices.Tuner),
    ],
)
def test_errors_name_the_choices(command, option, names):
    arguments = ["model"] if command == "export" else []
    done = CliRunner().invoke(app, [command, *arguments, option, "nosuch"])
    assert done.exit_code == 2
    said = "".join(x for x in done.output if x.isalnum() or x in "_'")
    assert "'nosuch'isnotoneof" in said
    assert all(f"'{name}'" in said for name in get_args(names))


def test_help_needs_no_keras():
    code = (
        "import json, sys; from keras_pamunet.cli import app; "
        "app(sys.argv[1:], standalone_mode=False); "
        "heavy = {'keras', 'tensorflow', 'jax', 'torch', 'numpy', 'cv2'}; "
        "print(json.dumps(sorted(heavy & set(sys.modules))))"
    )
    for command, shown in (
        ("train", "att_unet|deeplab_v3_plus"),
        ("tune", "bayesian|random|hyperband"),
        ("export", "sigmoid|softmax"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", code, command, "--help"],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "COLUMNS": "200"},
        )
        assert json.loads(done.stdout.splitlines()[-1]) == []
        assert shown in done.stdout
