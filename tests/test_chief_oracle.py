"""A chief and its workers, as processes on this machine."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from keras_pamunet import PAMUNet, run_folder, tuning
from keras_pamunet.workers import at_work
from tests import search_member
from tests.helpers import once

pytestmark = once
PATIENCE = 300  # Seconds.


@pytest.fixture
def place(folder, tmp_path):
    """What `Party` starts its processes with."""
    model = tmp_path / "model.keras"
    PAMUNet((32, 32, 3), expansion=1).save(model)
    (tmp_path / "gates").mkdir()
    return [folder, tmp_path / "search", model, tmp_path / "gates"]


@pytest.fixture
def address():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def start(place, tmp_path):
    """Starts a process of the search; none outlives the test."""
    started = []

    def start(*roles):
        path = tmp_path / f"{len(started)}.log"
        command = [sys.executable, "-m", "tests.search_member", *place, *roles]
        with path.open("w") as log:
            process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        process.said = path.read_text
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def until(condition, *processes):
    end = time.monotonic() + PATIENCE
    while not condition():
        said = "\n".join(process.said() for process in processes)
        assert time.monotonic() < end, said
        assert all(process.poll() is None for process in processes), said
        time.sleep(0.1)


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_each_trial_counts_once(place, address, start, monkeypatch):
    """Though a worker is killed in its trial, and then the chief."""
    data, output, model, gates = place
    log = gates / "log"
    for name in ("a", "b"):
        (gates / name).touch()
    chief = start(address)
    a, b = start(address, "a"), start(address, "b")
    until(lambda: log.exists() and len(log.read_text().splitlines()) == 2, chief, a, b)
    kill(a)
    chief.send_signal(signal.SIGSTOP)
    (gates / "b").unlink()
    time.sleep(2)  # In which b ends its trial, and asks a chief that does not answer.
    kill(chief)
    chief = start(address)
    assert b.wait(PATIENCE) == 0, b.said()
    assert chief.wait(PATIENCE) == 0, chief.said()

    began = [line.split() for line in log.read_text().splitlines()]
    of_a = [trial for name, trial in began if name == "a"]
    of_b = [trial for name, trial in began if name == "b"]
    assert len(of_a) == 1 and of_a[0] == of_b[-1]
    assert len(of_b) == len({*of_b}) == 6  # Two of eight are refused.
    monkeypatch.setattr(tuning.SegmenterHyperModel, "build", search_member.build)
    monkeypatch.setattr(tuning, "train", search_member.made_up(model))
    alone = search_member.search(data, output.with_name("alone"), progress=False)
    assert {row["status"] for row in alone.trials} == {"done", "refused", "failed"}
    tables = [(x / "trials.csv").read_text() for x in (output, alone.folder)]
    assert tables[0] == tables[1]
    assert f"best: {alone.best['trial']}" in chief.said()
    assert (output / "best/model.weights.h5").exists()
    assert (output / "trials.png").exists()
    # All is done: nobody is waited for.
    again = search_member.search(data, output, chief=address, progress=False)
    assert again.trials == alone.trials
    # One process goes on with what several began.
    assert len(search_member.search(data, output, progress=False).trials) == 8


@contextmanager
def fails(error, message):
    with pytest.raises(error, match=message):
        yield


def test_who_may_not_join(place, address, start, tmp_path, monkeypatch):
    data, output, *_ = place
    monkeypatch.setattr(tuning.SegmenterHyperModel, "build", search_member.build)

    def join(worker="a", data=data, output=output, chief=address, **others):
        search_member.search(data, output, chief=chief, worker=worker, **others)

    chief = start(address)
    until(lambda: "Listening" in chief.said(), chief)
    with fails(
        ValueError, "other settings: search=.'expansion'.*arguments of the chief"
    ):
        join(search=("learning_rate",))
    with fails(ValueError, "other settings: seed=0, not 1"):
        join(seed=1)
    with fails(ValueError, "holds no search"):
        join(output=tmp_path / "elsewhere")
    (data / "images/case 11.png").rename(tmp_path / "case 11.png")
    (data / "masks/case 11.png").rename(tmp_path / "mask 11.png")
    with fails(ValueError, "other pairs.*on the same data"):
        join()
    (tmp_path / "case 11.png").rename(data / "images/case 11.png")
    (tmp_path / "mask 11.png").rename(data / "masks/case 11.png")
    with monkeypatch.context() as patch:
        patch.setattr(run_folder, "versions", lambda: {"keras-pamunet": "0.1"})
        with fails(ValueError, "Received: keras-pamunet 0.1, not"):
            join()
    with (
        at_work(output / "trials/workers", "a"),
        fails(ValueError, "a name of its own"),
    ):
        join("a")
    with fails(ValueError, "no other process works in"):
        search_member.search(data, output, chief="127.0.0.1:1")
    with fails(OSError, f"{address}.*Take another port"):
        search_member.search(data, tmp_path / "other", chief=address)
    # Files that are not of one place, though they look so.
    monkeypatch.setattr(tuning, "at_work", lambda *_: at_work(tmp_path, "a"))
    with fails(OSError, "see the lock of the worker 'a'"):
        join("a")
    assert chief.poll() is None and "KERASTUNER_ORACLE_IP" not in os.environ


def test_no_chief(place, address, monkeypatch):
    monkeypatch.setattr(tuning, "WAIT_FOR_CHIEF", 0.2)
    with fails(OSError, f"chief of a search at {address}. None has answered for 0.2 s"):
        search_member.search(*place[:2], chief=address, worker="a")
    assert not place[1].exists()


def test_a_worker_needs_a_chief(place):
    with fails(ValueError, "address of the `chief`"):
        search_member.search(*place[:2], worker="a")
