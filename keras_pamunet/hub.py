"""Presets: published models, each a folder that says what it is."""

import ctypes
import io
import os
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from keras_pamunet.files import (
    read_json_object,
    replace_bytes,
    replace_text,
    sha256_of,
    unwritable,
    write_json,
)

PACKAGE = Path(__file__).parent
# In a checkout the presets stand beside the package, in a wheel inside it.
CHECKOUT = (PACKAGE.parent / "setup.py").is_file()
PRESETS = PACKAGE.parent / "hub" if CHECKOUT else PACKAGE / "presets"
CONFIG, WEIGHTS, METADATA, CARD = (
    "config.json",
    "model.weights.h5",
    "metadata.json",
    "README.md",
)
HASHED = (CONFIG, WEIGHTS)


def presets() -> dict[str, dict[str, Any]]:
    """The published presets by name: what each is and what it reaches.

    Returns:
        For each a dictionary of `task`, `input_shape`, `metrics`, `version`,
        `megabytes` and `folder`. The metrics are means over the test images, by the
        way of scoring; the model card says more.
    """
    described = {}
    for name, folder in _folders().items():
        try:
            described[name] = _describe(folder)
        except (OSError, ValueError) as error:
            warnings.warn(f"The preset {name} is damaged: {error}", stacklevel=2)
    return described


def network_of(config: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Name of the network's class in a preset's configuration, and its arguments.

    Presets of format 1 hold the arguments of a `PAMUNet` and nothing else.

    Raises:
        ValueError: if it holds no such configuration.
    """
    if "class_name" not in config:
        return "PAMUNet", config
    arguments = config.get("config")
    if config.get("format") != 2 or not isinstance(arguments, dict):
        raise ValueError(
            "Expected a preset of format 2, with the network's arguments as `config`. "
            f"Received: {str(config)[:200]}"
        )
    return str(config["class_name"]), arguments


def _describe(folder):
    metadata = read_json_object(folder / METADATA)
    return {
        "task": metadata.get("task"),
        "input_shape": network_of(read_json_object(folder / CONFIG))[1].get(
            "input_shape"
        ),
        "metrics": _objects(metadata, "metrics"),
        "version": metadata.get("version"),
        "megabytes": round((folder / WEIGHTS).stat().st_size / 1e6, 1),
        "folder": str(folder),
    }


def _objects(metadata, name):
    """A JSON object of JSON objects, such as the scores."""
    held = metadata.get(name, {})
    if not isinstance(held, dict) or any(
        not isinstance(x, dict) for x in held.values()
    ):
        raise ValueError(f"expected objects in {name!r}; received {held!r:.100}")
    return held


def _folders():
    return {path.parent.name: path.parent for path in PRESETS.glob(f"[!.]*/{METADATA}")}


def find(preset: str | Path) -> Path:
    """The folder of a preset.

    Args:
        preset: the name of a published preset, a folder, or
            `hf://<owner>/<repository>` on Hugging Face, which is downloaded.

    Raises:
        ValueError: if it is none of these.
        ImportError: for `hf://` without `huggingface_hub`.
        OSError: if a download fails.
    """
    known = _folders()
    if str(preset) in known:
        return known[str(preset)]
    if str(preset).startswith("hf://"):
        return _download(str(preset).removeprefix("hf://"))
    if Path(preset).is_dir():
        return Path(preset)
    raise ValueError(
        "Expected the name of a preset, its folder or hf://<owner>/<repository>. "
        f"Presets: {', '.join(known) or 'none is published yet'}. Received: "
        f"{str(preset)!r}"
    )


def _download(repository):
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise ImportError(
            "hf:// needs the package huggingface_hub: pip install huggingface_hub"
        ) from error
    try:
        files = [*HASHED, METADATA, CARD]
        return Path(snapshot_download(repository, allow_patterns=files))
    except (OSError, ValueError) as error:  # Offline it raises an OSError.
        raise OSError(f"Cannot download hf://{repository}: {error}") from error


def read(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Reads a preset's configuration and metadata, and checks its files' hashes.

    Returns:
        `(config, metadata)`: what `config.json` and `metadata.json` hold. See
        `network_of` for the config.

    Raises:
        ValueError: if a file is missing, or is not the one that was published.
    """
    missing = [name for name in (*HASHED, METADATA) if not (folder / name).is_file()]
    if missing:
        raise ValueError(
            f"Expected a preset: {', '.join((*HASHED, METADATA))} in {folder}. Not "
            f"there: {', '.join(missing)}"
        )
    metadata = read_json_object(folder / METADATA)
    published = metadata.get("sha256")
    if not isinstance(published, dict):
        published = {}
    for name in HASHED:
        if published.get(name) != sha256_of(folder / name):
            raise ValueError(
                f"{folder / name} is not the file that was published: its SHA-256 is "
                f"not that of {METADATA}. It was cut or altered; get the preset anew."
            )
    return read_json_object(folder / CONFIG), metadata


def write(
    folder: Path,
    config: dict[str, Any],
    weights: bytes,
    metadata: dict[str, Any] | None = None,
    card: str | None = None,
    half: bool = False,
) -> None:
    """Writes a preset, whole or not at all. Until then the old one stays in its place.

    Args:
        folder: where to.
        config: `{"format": 2, "class_name": ..., "config": ...}`, the network's class
            and its arguments.
        weights: content of the weights' file.
        metadata: what else `metadata.json` shall hold.
        card: text of `README.md`.
        half: whether kernels are stored in half precision.

    Raises:
        ValueError: if the folder holds something else.
        OSError: if it cannot be written.
    """
    folder = Path(folder).resolve()  # A link is kept, and its target replaced.
    held = {path.name for path in folder.iterdir()} if folder.exists() else set()
    if held and METADATA not in held or held - {*HASHED, METADATA, CARD}:
        raise ValueError(
            "Expected a new folder, or one that holds a preset and nothing else. "
            f"Received: {folder} with {', '.join(sorted(held))}"
        )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        aside = tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent)
    except OSError as error:
        raise unwritable(folder, error) from error
    new = Path(aside, folder.name)
    try:
        new.mkdir()  # Unlike that around it, for whom the umask says.
        write_json(new / CONFIG, config)
        replace_bytes(new / WEIGHTS, _to_half(weights) if half else weights)
        sha256 = {name: sha256_of(new / name) for name in HASHED}
        write_json(new / METADATA, {**(metadata or {}), "sha256": sha256})
        if card is not None:
            replace_text(new / CARD, card)
        if folder.exists():
            _exchange(new, folder)
        else:
            os.replace(new, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _exchange(new, old):
    """Has two folders swap their names: at no moment is there none."""
    libc = ctypes.CDLL(None, use_errno=True) if os.name == "posix" else None
    if hasattr(libc, "renameat2"):
        here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
        names = os.fsencode(new), os.fsencode(old)
        if libc.renameat2(here, names[0], here, names[1], exchange) == 0:
            return
    # Not every system and file system can.
    aside = new.with_name("old")
    os.replace(old, aside)
    try:
        os.replace(new, old)
    except BaseException:  # Ctrl-C, too.
        os.replace(aside, old)
        raise


def _to_half(content):
    """Stores kernels as float16. The vectors, small, hold batch norm's statistics."""
    halved = io.BytesIO()
    with h5py.File(io.BytesIO(content)) as source, h5py.File(halved, "w") as target:

        def copy(name, item):
            if isinstance(item, h5py.Group):
                target.require_group(name).attrs.update(item.attrs)
                return
            values = item[()]
            if np.ndim(values) > 1 and values.dtype == np.float32:
                values = values.astype(np.float16)
            target.create_dataset(name, data=values).attrs.update(item.attrs)

        target.attrs.update(source.attrs)
        source.visititems(copy)
    return halved.getvalue()
