"""Several devices and processes, simulated on this machine."""

import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

from keras_pamunet import training
from keras_pamunet.distribution import Devices, join
from keras_pamunet.models import load_model
from tests.helpers import SMALL, once
from tests.training import distributed

JAX = distributed.BACKEND == "jax"
# The fixture is made once: all tests in one process of pytest.
pytestmark = [
    pytest.mark.xdist_group("distribution"),
    pytest.mark.skipif(distributed.BACKEND == "torch", reason="trains on one device"),
]
DEVICES = 4 if JAX else 2


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """Folder and findings of a training on one device."""
    folder = tmp_path_factory.mktemp("one")
    return folder, *distributed.run(folder, "none")


def check_same(one, folder, found):
    """The same losses, kept weights and scores in every process."""
    first, expected = one
    for process in found:
        np.testing.assert_allclose(process["losses"], expected["losses"], atol=1e-4)
        assert process["dice"] == pytest.approx(expected["dice"], abs=1e-4)
    weights = [load_model(x / "run").get_weights() for x in (first, folder)]
    for ours, theirs in zip(*weights, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-3)


def test_devices_of_one_process(one, tmp_path):
    (found,) = distributed.run(tmp_path, "auto", devices=DEVICES)
    assert found["devices"] == DEVICES
    check_same(one, tmp_path, [found])
    if JAX:
        # One sum for all gradients but those of batch normalisation, which are among
        # those of its statistics, three forth and three back. Then some of the scores.
        assert found["gathers"] == 0
        assert found["largest_sum"] >= found["weights"]
        assert 0 < found["other_sums"] < 7 * found["channels"]
        np.testing.assert_allclose(*found["own_scope"], atol=1e-4)


def test_processes(one, tmp_path):
    """Only the first writes, and a run goes on after one of them was killed."""
    processes = distributed.start(
        tmp_path, "multi_worker", processes=2, options=["--kill", "1", "20"]
    )
    processes[1].communicate(timeout=900)
    assert processes[1].returncode == -signal.SIGKILL
    start = time.monotonic()
    said = iter(processes[0].stdout.readline, "")
    assert any("ConnectionError: Expected all 2 processes" in line for line in said)
    assert time.monotonic() - start < 60
    processes[0].kill()  # JAX waits for the other one before it ends.
    processes[0].communicate()
    assert (tmp_path / "run/state.weights.h5").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    found = distributed.run(tmp_path, "multi_worker", processes=2)
    # Those of the second epoch.
    first, expected = one
    losses = expected["losses"][15:]
    check_same((first, {**expected, "losses": losses}), tmp_path, found)
    names = [sorted(x.name for x in (f / "run").iterdir()) for f in (first, tmp_path)]
    assert names[0] == names[1]


class FourDevices(Devices):
    count = 4


@once
def test_unfit_batch(tmp_path):
    """Before any data is read."""
    devices = FourDevices()
    arguments = {"output": tmp_path / "run", "distribute": devices}
    with pytest.raises(ValueError, match="by 4 devices.*batch_size=10. Give 8 or 12"):
        training.train("nowhere", batch_size=10, **arguments)
    with pytest.raises(ValueError, match="batch_size=3. Give 4"):
        training.train("nowhere", batch_size=3, **arguments)
    devices.accumulates = False
    with pytest.raises(ValueError, match="no `accumulate`.*accumulate=2, 4 devices"):
        training.train("nowhere", accumulate=2, **arguments)
    assert not (tmp_path / "run").exists()


@once
def test_more_devices_than_pairs(tmp_path, folder):
    many = FourDevices()
    many.count = 16
    arguments = {**SMALL, "batch_size": 16, "distribute": many}
    with pytest.raises(ValueError, match="10 pairs, 16 devices"):
        training.train(folder, tmp_path / "run", **arguments)


def test_one_device(monkeypatch):
    for name in ("TF_CONFIG", "KERAS_DISTRIBUTION_NUM_PROCESSES"):
        monkeypatch.delenv(name, raising=False)
    for word in ("auto", "data_parallel"):
        with pytest.warns(UserWarning, match=f"'{word}'. There is one, on which"):
            assert join(word).count == 1
    assert join("none").count == 1


@once
@pytest.mark.parametrize("config", [None, "{}", "nonsense"])
def test_processes_that_are_not_described(monkeypatch, config):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if config is not None:
        monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(ValueError, match="description of the processes in TF_CONFIG"):
        join("multi_worker")


@pytest.mark.skipif(not JAX, reason="is told by other variables")
def test_processes_that_jax_is_not_told_of(monkeypatch):
    monkeypatch.delenv("KERAS_DISTRIBUTION_NUM_PROCESSES", raising=False)
    # In a process that has computed nothing yet.
    code = "from keras_pamunet.distribution import join; join('multi_worker')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "ValueError: Expected a description of the processes in" in done.stderr


def test_unknown_word():
    with pytest.raises(ValueError, match="'data_parallel'.*distribute='all'"):
        join("all")


def test_other_back_end(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with pytest.raises(ValueError, match="KERAS_BACKEND=jax .*Received: torch"):
        join("data_parallel")
    assert join("none").count == 1
