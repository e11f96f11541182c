"""Presets: published models, each a folder that says what it is."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from operator import methodcaller
from pathlib import Path
from typing import Any

import h5py
import numpy as np

PACKAGE = Path(__file__).parent
# In a checkout the presets stand beside the package, in a wheel inside it.
PRESETS = (PACKAGE.parent / "hub", PACKAGE / "presets")
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
    return {name: _describe(folder) for name, folder in _folders().items()}


def _describe(folder):
    metadata = _read_json(folder / METADATA)
    return {
        "task": metadata.get("task"),
        "input_shape": _read_json(folder / CONFIG).get("input_shape"),
        "metrics": metadata.get("metrics", {}),
        "version": metadata.get("version"),
        "megabytes": round((folder / WEIGHTS).stat().st_size / 1e6, 1),
        "folder": str(folder),
    }


def _folders():
    return {
        path.parent.name: path.parent
        for folder in PRESETS
        for path in sorted(folder.glob(f"[!.]*/{METADATA}"))
    }


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
    except (OSError, ValueError) as error:  # No network is a kind of OSError there.
        raise OSError(f"Cannot download hf://{repository}: {error}") from error


def read(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Reads a preset's configuration and metadata, and checks its files' hashes.

    Returns:
        `(config, metadata)`: the arguments of the model, and what `metadata.json`
        holds.

    Raises:
        ValueError: if a file is missing, or is not the one that was published.
    """
    missing = [name for name in (*HASHED, METADATA) if not (folder / name).is_file()]
    if missing:
        raise ValueError(
            f"Expected a preset: {', '.join((*HASHED, METADATA))} in {folder}. Not "
            f"there: {', '.join(missing)}"
        )
    metadata = _read_json(folder / METADATA)
    published = metadata.get("sha256")
    if not isinstance(published, dict):
        published = {}
    for name in HASHED:
        if published.get(name) != _hash(folder / name):
            raise ValueError(
                f"{folder / name} is not the file that was published: its SHA-256 is "
                f"not that of {METADATA}. It was cut or altered; get the preset anew."
            )
    return _read_json(folder / CONFIG), metadata


def write(
    folder: Path,
    config: dict[str, Any],
    save_weights: Callable[[Path], None],
    metadata: dict[str, Any] | None = None,
    card: str | None = None,
    half: bool = False,
) -> None:
    """Writes a preset, whole or not at all: a preset of before stays until then.

    Args:
        folder: where to.
        config: arguments of the model.
        save_weights: called with the path to write the weights to.
        metadata: what else `metadata.json` shall hold.
        card: text of `README.md`.
        half: whether kernels are stored in half precision.

    Raises:
        ValueError: if the folder holds something else.
        OSError: if it cannot be written.
    """
    folder = Path(folder).resolve()  # A link stays one.
    held = {path.name for path in folder.iterdir()} if folder.exists() else set()
    if held and METADATA not in held or held - {*HASHED, METADATA, CARD}:
        raise ValueError(
            "Expected a new folder, or one that holds a preset and nothing else. "
            f"Received: {folder} with {', '.join(sorted(held))}"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        new.chmod(0o755)
        _write_json(new / CONFIG, config)
        save_weights(new / WEIGHTS)
        if half:
            _to_half(new / WEIGHTS)
        sha256 = {name: _hash(new / name) for name in HASHED}
        _write_json(new / METADATA, {**(metadata or {}), "sha256": sha256})
        if card is not None:
            (new / CARD).write_text(card, "utf-8")
        if folder.exists():
            old = new.with_name(new.name + "-old")
            os.replace(folder, old)
            try:
                os.replace(new, folder)
            except BaseException:  # Ctrl-C, too.
                os.replace(old, folder)
                raise
            shutil.rmtree(old)
        else:
            os.replace(new, folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _to_half(path):
    """Stores kernels as float16. The vectors, small, hold batch norm's statistics."""
    temporary = path.with_name("half")
    with h5py.File(path) as source, h5py.File(temporary, "w") as target:

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
    os.replace(temporary, path)


def _hash(path):
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_json(path):
    try:
        content = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"Cannot read {path}: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"Expected {path} to hold a JSON object.")
    return content


def _write_json(path, content):
    to_plain = methodcaller("item")  # Of a number of NumPy.
    text = json.dumps(content, indent=1, ensure_ascii=False, default=to_plain)
    path.write_text(text + "\n", "utf-8")
