"""Folders of runs: opened again by the same call, and by no other."""

import hashlib
import json

import keras
import numpy as np
import pytest

from keras_pamunet.run_folder import (
    check_backend,
    check_model,
    open_run,
    read_config,
    replace_model,
    write_config,
)

SETTINGS = {"data": "a", "epochs": np.int64(3), "input_range": (0, 255)}
SPLIT = {"train": ["a", "b"], "test": ["ü"]}


@pytest.fixture
def run(tmp_path):
    assert not open_run(tmp_path, SETTINGS, SPLIT)
    write_config(tmp_path, SETTINGS, SPLIT)
    return tmp_path


def test_run(run):
    assert open_run(run, SETTINGS, SPLIT)
    check_backend(run)
    config = read_config(run)
    assert config["settings"]["input_range"] == [0, 255] and config["split"] == SPLIT
    assert config["versions"]["keras"] == keras.__version__
    with pytest.raises(ValueError, match="other settings: epochs=3, not 4. Name"):
        open_run(run, {**SETTINGS, "epochs": 4}, SPLIT)
    with pytest.raises(ValueError, match="other settings: size=None, not 5. Name"):
        open_run(run, {**SETTINGS, "size": 5}, SPLIT)
    with pytest.raises(ValueError, match="other pairs: .* has changed since"):
        open_run(run, SETTINGS, {**SPLIT, "test": ["c"]})


def test_what_a_kill_leaves_behind(tmp_path):
    (tmp_path / ".lock").touch()
    (tmp_path / ".partial-abc").mkdir()
    assert not open_run(tmp_path, SETTINGS, SPLIT)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ValueError, match="holds other files: notes.txt"):
        open_run(tmp_path, SETTINGS, SPLIT)


def test_another_back_end(run):
    config = {**read_config(run), "backend": "nosuch"}
    (run / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="set KERAS_BACKEND=nosuch"):
        check_backend(run)


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", "[" * 10_000]
    + [
        json.dumps({"settings": {}, "split": {}, **change})
        for change in (
            {"settings": None},
            {"settings": []},
            {"settings": {"data": None}},
            {"split": None},
            {"split": ["train"]},
            {"split": {"train": "a"}},
            {"split": {"train": [1]}},
            {"split": {"train": [None, "a"]}},
        )
    ],
)
def test_damaged_config(run, content):
    (run / "config.json").write_text(content)
    with pytest.raises(ValueError, match=r"config\.json"):
        open_run(run, SETTINGS, SPLIT)


def test_hash_of_the_model(run):
    check_model(run)  # No hash, as older runs have none.
    for content in (b"one", b"two"):
        replace_model(run, content)
        assert (run / "model.keras").read_bytes() == content
        check_model(run)
        expected = hashlib.sha256(content).hexdigest()
        assert read_config(run)["model_sha256"][-1] == expected
    # A kill between the new hash and the new model leaves the old model.
    (run / "model.keras").write_bytes(b"one")
    check_model(run)
    (run / "model.keras").write_bytes(b"tow")
    with pytest.raises(ValueError, match="model.keras is not the file that the run"):
        check_model(run)
    config = {**read_config(run), "model_sha256": None}
    (run / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="model.keras is not the file that the run"):
        check_model(run)
