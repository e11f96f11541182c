"""Folders of runs: what they were made with, so that the same call can go on."""

import json
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import keras


def open_run(output: Path, settings: dict[str, Any], split: dict[str, Any]) -> bool:
    """Makes the folder of a run, or opens it to go on.

    Args:
        output: the folder.
        settings: of the run. Paths and numbers of NumPy may be among them.
        split: names of the pairs in each part.

    Returns:
        Whether the folder holds a run already.

    Raises:
        ValueError: if that run has other settings or another split, or the folder
            holds something else.
        OSError: if the folder cannot be made.
    """
    path = output / "config.json"
    settings = plain(settings)
    if path.exists():
        config = json.loads(path.read_text("utf-8"))
        if not {"settings", "split"} <= set(config):  # That of a preset, say.
            raise ValueError(
                f"Expected a run folder, a new or an empty one. {path} is not of a run."
            )
        held = config["settings"]
        if held == settings and config["split"] != split:
            raise ValueError(
                f"{output} holds a run on other pairs: the data set or its split has "
                "changed since. Name another output folder, or delete this one."
            )
        if held != settings:
            other = [name for name in settings if held.get(name) != settings[name]]
            raise ValueError(
                f"{output} holds a run of other settings: "
                + ", ".join(f"{k}={held.get(k)!r}, not {settings[k]!r}" for k in other)
                + ". Name another output folder, or delete this one."
            )
        return True
    if output.is_dir() and any(output.iterdir()):
        raise ValueError(
            f"Expected a run folder, a new or an empty one. {output} holds other files."
        )
    output.mkdir(parents=True, exist_ok=True)
    return False


def write_config(output: Path, settings: dict[str, Any], split: dict[str, Any]) -> None:
    """Writes `config.json`: settings, split, versions and git revision of a run."""
    config = {
        "settings": plain(settings),
        "split": split,
        "versions": versions(),
        "backend": keras.backend.backend(),
        "git_revision": _git_revision(),
    }
    text = json.dumps(config, indent=1, ensure_ascii=False)
    replace_text(output / "config.json", text + "\n")


def versions() -> dict[str, str]:
    """Versions of Python, this package and those it stands on, where installed."""
    found = {"python": sys.version.split()[0]}
    for name in ("keras-pamunet", "keras", "tensorflow", "jax", "torch", "numpy"):
        for package in (name, f"{name}-cpu"):
            try:
                found[name] = version(package)
            except PackageNotFoundError:
                continue
    return found


def _git_revision():
    checkout = Path(__file__).parents[1]
    if not (checkout / ".git").exists():
        return None
    call = ["git", "-C", str(checkout), "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(call, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None  # No git.
    return done.stdout.strip()


def replace_text(path: Path, text: str) -> None:
    """Writes a file so that a reader finds the old one or the new one, whole."""
    temporary = path.with_name(f"new-{path.name}")
    temporary.write_text(text, "utf-8")
    os.replace(temporary, path)


def plain(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings as they will be read again: paths as text, tuples as lists."""

    def to_plain(value):
        return value.item() if hasattr(value, "item") else str(value)

    return json.loads(json.dumps(settings, default=to_plain))
