"""The files for clusters call the program as it is, each part once."""

import os
import subprocess
from pathlib import Path

import pytest
import typer

from keras_pamunet.cli import app

yaml = pytest.importorskip("yaml")
FILES = Path(__file__).parents[1] / "examples" / "cluster"
COMMANDS = typer.main.get_command(app).commands
PROGRAMS = {
    "keras-pamunet": 'echo "$@" >> "$CALLS"',
    "scontrol": "printf 'node1\\nnode2\\n'",
    # Five tasks, one after the other.
    "srun": 'for SLURM_PROCID in 0 1 2 3 4; do export SLURM_PROCID; "$@"; done',
}


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """How the program is called by a command, in an environment."""
    for name, code in PROGRAMS.items():
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{code}\n")
        path.chmod(0o755)
    log = tmp_path / "calls"
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("CALLS", str(log))

    def calls(*command, **environment):
        log.unlink(missing_ok=True)
        subprocess.run(command, check=True, env={**os.environ, **environment})
        found = [line.split() for line in log.read_text().splitlines()]
        for name, *arguments in found:
            COMMANDS[name].make_context(name, arguments)
        return found

    return calls


def jobs(name):
    """Kind, name and the rest of what a file asks of Kubernetes."""
    return {
        (job["kind"], job["metadata"]["name"]): job["spec"]
        for job in yaml.safe_load_all((FILES / name).read_text("utf-8"))
    }


def command(job):
    (container,) = job["template"]["spec"]["containers"]
    return [*container["command"], *container["args"]]


def test_parts_on_kubernetes(calls):
    (job,) = jobs("predict.yaml").values()
    shards = [
        call[-1]
        for index in range(job["completions"])
        for call in calls(*command(job), JOB_COMPLETION_INDEX=str(index))
    ]
    assert shards == [f"{number}/16" for number in range(1, 17)]


def test_parts_on_slurm(calls):
    script = FILES / "predict.slurm"
    assert "#SBATCH --array=1-16" in script.read_text()
    for number in range(1, 17):
        (call,) = calls(
            "bash", script, "scans", "masks", SLURM_ARRAY_TASK_ID=f"{number}"
        )
        assert call[-1] == f"{number}/16" and call[1] == "scans"


def test_search_on_kubernetes(calls):
    found = jobs("search.yaml")
    (port,) = found["Service", "search-chief"]["ports"]
    (chief,) = calls(*command(found["Job", "search-chief"]))
    assert chief[-1] == f"0.0.0.0:{port['port']}"
    job = found["Job", "search-worker"]
    workers = [
        calls(*command(job), JOB_COMPLETION_INDEX=str(index))[0]
        for index in range(job["completions"])
    ]
    assert len({worker[-1] for worker in workers}) == 4
    for worker in workers:
        assert worker[:-4] == chief[:-2]  # The same search.
        assert worker[-3] == f"search-chief:{port['port']}"


def test_search_on_slurm(calls):
    script = FILES / "search.slurm"
    chief, *workers = calls(
        "bash",
        script,
        "photos",
        "out",
        "--trials",
        "40",
        SLURM_JOB_NODELIST="node[1-2]",
    )
    assert chief[-2:] == ["--chief", "0.0.0.0:8531"] and "40" in chief
    assert [worker[-1] for worker in workers] == ["w1", "w2", "w3", "w4"]
    for worker in workers:
        assert worker[:-4] == chief[:-2] and worker[-3] == "node1:8531"


def test_image():
    """It takes the paths and extras that there are, and is not root's."""
    root = FILES.parents[1]
    lines = (FILES / "Dockerfile").read_text("utf-8").splitlines()
    for line in lines:
        if line.startswith("COPY ") and "--from" not in line:
            assert all((root / path).exists() for path in line.split()[1:-1])
    setup = (root / "setup.py").read_text("utf-8")
    extras = {
        extra
        for line in lines
        if line.startswith("RUN pip install")
        for extra in line.partition("[")[2].partition("]")[0].split(",")
    }
    assert extras and all(f'"{extra}":' in setup for extra in extras)
    assert lines[-1] == "USER 1000"
