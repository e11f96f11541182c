"""Files of models, checked before Keras reads them. Needs no Keras."""

import io
import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile

import h5py
import numpy as np

from keras_pamunet.files import check_regular

# Members of a `.keras` file, beside `assets/`.
CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
# FCN8 has 2.1 GB with an optimizer of three numbers a weight.
MAX_BYTES = 2**32
MAX_CONFIG_BYTES = 2**24
# Names of a file of weights: PAM-UNet's has 3,000 with its optimizer's.
MAX_NAMES = 10**6


def read_archive(path: str | Path) -> tuple[dict[str, Any], dict[str, Counter]]:
    """Reads the configuration in a `.keras` file, and makes sure of the rest.

    Returns:
        The content of its `config.json`, and what `check_weights` returns.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: names the file, if it is damaged, holds other members than Keras
            writes, or claims to be larger than it is; see `check_weights`.
    """
    check_regular(path)
    try:
        with ZipFile(path) as archive:
            _check_members(archive)
            # Reads all, and so compares the checksums.
            members = {name: archive.read(name) for name in archive.namelist()}
            config = json.loads(members[CONFIG])
            if not isinstance(config, dict):
                raise ValueError(f"{CONFIG} holds no JSON object")
        return config, check_weights(members[WEIGHTS])
    except RecursionError:
        raise ValueError(
            f"Cannot load {path}: {CONFIG} is nested too deeply."
        ) from None
    except (BadZipFile, EOFError, OSError, ValueError, NotImplementedError) as error:
        raise ValueError(f"Cannot load {path}; it may be damaged: {error}") from error
    except Exception as error:  # Of zlib's and struct's, there is no common base.
        raise ValueError(f"Cannot load {path}; it is damaged: {error!r}") from error


def _check_members(archive):
    members = archive.infolist()
    names = [member.filename for member in members]
    strange = [
        name
        for name, count in Counter(names).items()
        if count > 1
        or not (name in (CONFIG, METADATA, WEIGHTS) or name.startswith("assets/"))
    ]
    if strange or not {CONFIG, WEIGHTS} <= set(names):
        raise ValueError(
            f"expected {CONFIG}, {METADATA} and {WEIGHTS}, each once; received "
            f"{', '.join(names)[:500]}"
        )
    for member in members:
        if member.flag_bits & 1:
            raise ValueError(f"{member.filename} is encrypted")
        if member.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
            raise ValueError(f"{member.filename} is compressed in a way unknown here")
        limit = MAX_CONFIG_BYTES if member.filename.endswith(".json") else MAX_BYTES
        # Weights hardly shrink. Text does, to a twentieth at best.
        limit = min(limit, 2**20 + 30 * member.compress_size)
        if member.file_size > limit:
            raise ValueError(
                f"{member.filename} would have {member.file_size:,} bytes of at most "
                f"{limit:,}"
            )
    if sum(member.file_size for member in members) > MAX_BYTES:
        raise ValueError(f"it would have more than {MAX_BYTES:,} bytes")


def check_weights(file: bytes | str | Path) -> dict[str, Counter]:
    """Makes sure that an HDF5 file holds numbers as Keras writes them, and no more.

    Args:
        file: its content or path.

    Returns:
        For each part of the file (`"layers"`, `"optimizer"`, `"vars"`) how many of
        its arrays have each shape.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: names the file, if it is none, has links to other places, storage
            in other files, compressed or virtual data, claims more numbers than it
            holds, or has weights that are NaN or infinite.
    """
    content: io.BytesIO | str | Path
    if isinstance(file, str | Path):
        check_regular(file)
        prefix, size = f"Cannot load {file}: ", Path(file).stat().st_size
        content = file
    else:
        prefix, size, content = "", len(file), io.BytesIO(file)
    shapes = defaultdict(Counter)
    claimed = 0
    try:
        with h5py.File(content, "r") as root:
            datasets = list(_datasets(root))
            for name, dataset in datasets:
                claimed += _check_dataset(name, dataset)
                if claimed > size:
                    raise ValueError("it claims to hold more than its size")
            for name, dataset in datasets:
                part = name.partition("/")[0]
                shapes[part][dataset.shape] += 1
                if part == "optimizer" or dataset.dtype.kind != "f":
                    continue
                if not np.isfinite(dataset[()]).all():
                    raise ValueError(f"the weights {name} are NaN or infinite")
    # h5py's kinds for a damaged file.
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        raise ValueError(f"{prefix}no weights as Keras writes them: {error}") from error
    return shapes


def _datasets(root) -> Iterator[tuple[str, h5py.Dataset]]:
    """All datasets of a file. Each object has one name, so there is no circle."""
    groups, seen = [("", root)], set()
    while groups:
        prefix, group = groups.pop()
        for name in group:
            link = group.get(name, getlink=True)
            if type(link) is not h5py.HardLink:
                raise ValueError(f"{prefix}{name} is a link to another place")
            item = group[name]
            address = h5py.h5o.get_info(item.id).addr
            if address in seen or len(seen) > MAX_NAMES:
                raise ValueError(f"{prefix}{name} is there twice")
            seen.add(address)
            if isinstance(item, h5py.Group):
                groups.append((f"{prefix}{name}/", item))
            elif isinstance(item, h5py.Dataset):
                yield prefix + name, item
            else:
                raise ValueError(f"{prefix}{name} is neither group nor array")


def _check_dataset(name, dataset):
    """The bytes that a dataset claims to have."""
    plain = dataset.dtype.kind in "fiub" or (  # bfloat16 is of kind V.
        dataset.dtype.kind == "V" and dataset.dtype.names is None
    )
    settings = dataset.id.get_create_plist()
    if (
        dataset.shape is None
        or not plain
        or dataset.is_virtual
        or dataset.external
        or settings.get_nfilters()
    ):
        raise ValueError(f"{name} is no plain array of numbers in the file itself")
    return math.prod(dataset.shape) * dataset.dtype.itemsize
