"""Folders of runs: what they were made with, so that the same call can go on."""

import hashlib
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from keras_pamunet.files import (
    is_own_leftover,
    is_split,
    plain,
    read_json_object,
    replace_bytes,
    sha256_of,
    write_json,
)

CONFIG, MODEL = "config.json", "model.keras"


def open_run(
    output: Path,
    settings: dict[str, Any],
    split: dict[str, Any],
    may_grow: str | None = None,
    hint: str = "Name another output folder, or delete this one.",
) -> bool:
    """Looks whether a folder is free for a run, or holds it already.

    Args:
        output: the folder.
        settings: of the run. Paths and numbers of NumPy may be among them.
        split: names of the pairs in each subset.
        may_grow: the setting that may be higher than that of the run in the folder,
            as `"recipe.epochs"`.
        hint: what to do about a folder that holds another run.

    Returns:
        Whether the folder holds this run already.

    Raises:
        ValueError: if the run in it has other settings or another split, if its
            `config.json` is damaged, or the folder holds something else.
    """
    if (output / CONFIG).exists():
        config = read_config(output)
        held, settings = _flat(config["settings"]), _flat(plain(settings))
        other = [
            f"{name}={held.get(name)!r}, not {settings.get(name)!r}"
            for name in {**held, **settings}
            if held.get(name) != settings.get(name)
            and not (name == may_grow and _is_lower(held.get(name), settings[name]))
        ]
        if other:
            raise ValueError(
                f"{output} holds a run of other settings: {', '.join(other)}. {hint}"
            )
        if config["split"] != split:
            raise ValueError(
                f"{output} holds a run on other pairs: the data set or its split has "
                f"changed since. {hint}"
            )
        return True
    others = [path for path in output.glob("*") if not is_own_leftover(path.name)]
    if others:
        raise ValueError(
            f"Expected a run folder, a new or an empty one. {output} holds other "
            f"files: {others[0].name}"
        )
    return False


def _flat(settings, prefix=""):
    """Settings and those within settings, by names such as `recipe.epochs`."""
    flat = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def _is_lower(held, given):
    return isinstance(held, int) and held < given


def check_backend(output: Path) -> None:
    """Makes sure that a run goes on with the back end it began with.

    Raises:
        ValueError: if Keras runs on another one, with which it would end with other
            weights.
    """
    backend, ours = read_config(output).get("backend"), _backend()
    if backend != ours:
        raise ValueError(
            f"Expected the back end that {output} was begun with: set KERAS_BACKEND="
            f"{backend}. Received: {ours}, with which it would end "
            "with other weights. Or name another output folder."
        )


def check_versions(output: Path) -> None:
    """Makes sure that this process has the versions that a run began with.

    Raises:
        ValueError: if those of this package, Keras or the back end differ.
    """
    began, here = read_config(output).get("versions", {}), versions()
    names = ("keras-pamunet", "keras", _backend())
    other = [
        f"{name} {here.get(name)}, not {began.get(name)}"
        for name in names
        if here.get(name) != began.get(name)
    ]
    if other:
        raise ValueError(
            f"Expected the versions that {output} was begun with. Received: "
            f"{', '.join(other)}. Install those, or begin in another folder."
        )


def write_config(output: Path, settings: dict[str, Any], split: dict[str, Any]) -> None:
    """Writes `config.json`: settings, split, versions and git revision of a run.

    Raises:
        OSError: if it cannot be written.
    """
    config = {
        "settings": plain(settings),
        "split": split,
        "versions": versions(),
        "backend": _backend(),
        "git_revision": _git_revision(),
    }
    write_json(output / CONFIG, config)


def replace_settings(output: Path, settings: dict[str, Any]) -> None:
    """Writes other settings into `config.json` of a run.

    Raises:
        OSError: if it cannot be written.
    """
    write_json(output / CONFIG, {**read_config(output), "settings": plain(settings)})


def read_config(output: Path) -> dict[str, Any]:
    """Reads the `config.json` of a run folder.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is damaged, or not of a run.
    """
    path = output / CONFIG
    config = read_json_object(path)
    settings, split = config.get("settings"), config.get("split")
    if settings is None and split is None:  # E.g. the config.json of a preset.
        raise ValueError(
            f"Expected a run folder, a new or an empty one. {path} is not of a run."
        )
    is_settings = isinstance(settings, dict) and isinstance(
        settings.get("data", ""), str
    )
    if not is_settings or not is_split(split):
        raise ValueError(
            f"Expected the settings of a run and the names of its pairs in {path}. It "
            "is damaged: name another output folder, or delete this one."
        )
    return config


def replace_model(output: Path, content: bytes) -> None:
    """Writes `model.keras` of a run, and its SHA-256 into `config.json`.

    The old model's hash stays beside it: a kill between the two leaves that model.

    Raises:
        OSError: if one cannot be written.
    """
    path = output / MODEL
    hashes = [sha256_of(path)] if path.exists() else []
    hashes.append(hashlib.sha256(content).hexdigest())
    write_json(output / CONFIG, {**read_config(output), "model_sha256": hashes})
    replace_bytes(path, content)


def run_of(path: Path) -> Path | None:
    """The run folder that a path names, by itself or by its model; or None."""
    folder = path.parent if path.name == MODEL else path
    is_run = (folder / MODEL).is_file() and (folder / CONFIG).is_file()
    return folder if is_run else None


def check_model(output: Path) -> None:
    """Makes sure that `model.keras` of a run folder is the file that the run wrote.

    Runs of versions that kept no hash pass.

    Raises:
        ValueError: if it was cut or altered.
    """
    config = read_json_object(output / CONFIG)
    if "model_sha256" not in config:
        return
    hashes = config["model_sha256"]
    if not isinstance(hashes, list) or sha256_of(output / MODEL) not in hashes:
        raise ValueError(
            f"{output / MODEL} is not the file that the run wrote: its SHA-256 is not "
            f"that of {CONFIG}. It was cut or altered."
        )


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


def _backend():
    import keras  # Not before: who scores exported models may have no back end.

    return keras.backend.backend()


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
