"""The examples run as they are written, but for their length."""

import json
import subprocess
import sys
from pathlib import Path

import keras
import pytest

from keras_pamunet import PAMUNet, hub

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.mark.skipif(
    keras.backend.backend() == "jax", reason="compiles for minutes; once is enough"
)
def test_finetune(tmp_path):
    notebook = json.loads((EXAMPLES / "finetune.ipynb").read_text("utf-8"))
    cells = [
        "".join(x["source"]) for x in notebook["cells"] if x["cell_type"] == "code"
    ]
    code = "\n".join(cells)
    for long, short in (
        ("EPOCHS = 5", "EPOCHS = 1"),
        ("SIZE = 64", "SIZE = 32"),
        (
            "open_splits(DATA)",
            "{k: v.subset(v.names[:8]) for k, v in open_splits(DATA).items()}",
        ),
    ):
        assert long in code
        code = code.replace(long, short)
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    metadata = json.loads((tmp_path / "my_preset" / hub.METADATA).read_text())
    assert 0 <= metadata["scores"]["dice"] <= 1
    assert PAMUNet.from_preset(tmp_path / "my_preset").input_shape == (None, 32, 32, 3)
