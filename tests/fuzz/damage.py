"""Damages files: pure functions of a random generator and what a file holds."""

import copy
import io
import json
import struct
import zipfile

import nibabel
import numpy as np

NUMBERS = (0, 1, -1, 2, 7, 255, 256, 32767, 65535, 2**31 - 1, -(2**31), 2**32 - 1)
FLOATS = (0.0, -1.0, 1e-30, 1e30, np.nan, np.inf, -np.inf, 0.001, 352.0)
MAGICS = (
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff\xe0",
    b"II*\x00",
    b"MM\x00*",
    b"BM",
    b"GIF89a",
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 20 20\n",
    b"PK\x03\x04",
    b"\x1f\x8b\x08",
    b"\x89HDF\r\n\x1a\n",
    b"\\\\.\\",
)
VALUES = (
    *(None, True, False, 0, 1, -1, 3, 2**31 - 1, 1e308, float("nan"), float("inf")),
    *("", "x", "none", "../x", "\ud800", "https://localhost:9/x.h5"),
    *([], {}, [[]], [None], [0], {"": None}, [1e9] * 4, "a" * 5000),
)


def damage_bytes(rng: np.random.Generator, data: bytes) -> bytes:
    """One to three of the changes that disks, networks and programs make."""
    data = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        how = rng.integers(8)
        # Headers stand at either end, and are where the faults are.
        ends = min(len(data), (64, 512, 2**40)[rng.integers(3)])
        at = int(rng.integers(ends + 1))
        at = len(data) - at if rng.random() < 0.2 else at
        size = int(rng.integers(1, 65))
        if how == 0 and at < len(data):
            data[at] ^= 1 << rng.integers(8)
        elif how == 1 and len(data) > 1:
            del data[int(rng.integers(len(data))) :]
        elif how == 2:
            del data[at : at + size]
        elif how == 3:
            data[at:at] = data[at : at + size]
        elif how == 4:
            number = NUMBERS[rng.integers(len(NUMBERS))]
            size = int(rng.choice([1, 2, 4, 8]))
            number = (number % 2 ** (8 * size)).to_bytes(
                size, rng.choice(["little", "big"])
            )
            data[at : at + size] = number
        elif how == 5:
            data[at : at + 4] = struct.pack("<f", FLOATS[rng.integers(len(FLOATS))])
        elif how == 6 and rng.random() < 0.5:
            magic = MAGICS[rng.integers(len(MAGICS))]
            data[: len(magic)] = magic
        elif how == 7:
            data += rng.bytes(size)
    return bytes(data)


def damage_json(rng: np.random.Generator, text: str) -> bytes:
    """A JSON text with one to three parts changed, or the text itself damaged."""
    how = rng.integers(12)
    if how == 0:
        return damage_bytes(rng, text.encode())
    if how == 1:
        return b"[" * int(rng.choice([100, 2000, 200_000]))
    if how == 2:
        return text.encode("utf-16")
    if how == 3:
        content = VALUES[rng.integers(len(VALUES))]
    else:
        content = json.loads(text)
        for _ in range(rng.integers(1, 4)):
            _change(rng, content)
    text = json.dumps(content, ensure_ascii=bool(rng.integers(2)))
    return text.encode("utf-8", "surrogatepass")


def _change(rng, content):
    """Changes a part of lists and dictionaries, whatever their depth."""
    parts = [
        (holder, key)
        for holder in _holders(content)
        for key in (holder if isinstance(holder, dict) else range(len(holder)))
    ]
    if not parts:
        return
    holder, key = parts[rng.integers(len(parts))]
    how = rng.integers(6)
    if how == 0:
        del holder[key]
    elif how == 1:
        holder[key] = [holder[key]]
    elif how == 2:
        holder[key] = str(holder[key])
    elif how == 3 and isinstance(holder, dict):
        holder[f"{key}x"] = holder.pop(key)
    else:
        # A copy: what is changed next may lie in it.
        holder[key] = copy.deepcopy(VALUES[rng.integers(len(VALUES))])


def _holders(content):
    if isinstance(content, dict | list) and content:
        yield content
        for value in content.values() if isinstance(content, dict) else content:
            yield from _holders(value)


def damage_nifti(rng: np.random.Generator, data: bytes) -> bytes:
    """An uncompressed NIfTI file with one to three fields of its header changed."""
    second = nibabel.Nifti2Header.may_contain_header(data)
    kind = nibabel.Nifti2Header if second else nibabel.Nifti1Header
    dtype = kind.template_dtype
    data = bytearray(data)
    if data[:2] == b"\0\0":  # The size of the header, if that is big-endian.
        dtype = dtype.newbyteorder(">")
    header = np.frombuffer(data, dtype, 1)[0:1]
    for _ in range(rng.integers(1, 4)):
        field = header[dtype.names[rng.integers(len(dtype.names))]].reshape(-1)
        if field.dtype.kind == "S":
            field[0] = [b"", b"ni1", b"n+1", b"\xff" * 4][rng.integers(4)]
            continue
        values = FLOATS if field.dtype.kind == "f" else NUMBERS
        value = values[rng.integers(len(values))]
        with np.errstate(all="ignore"):
            at = rng.integers(len(field))
            field[at] = np.array(value).astype(field.dtype)
    return bytes(data)


def replace_member(data: bytes, name: str, content: bytes) -> bytes:
    """A zip archive with the content of one file replaced, and the right checksum."""
    new = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(new, "w") as archive:
        for member in old.namelist():
            archive.writestr(member, content if member == name else old.read(member))
    return new.getvalue()


def damage_directory(rng: np.random.Generator, data: bytes) -> bytes:
    """A zip archive with a byte of its directory changed: encryption, sizes, method."""
    data = bytearray(data)
    entries = [
        data.rfind(b"PK\x01\x02"),
        data.find(b"PK\x01\x02"),
        data.rfind(b"PK\5\6"),
    ]
    at = entries[rng.integers(3)] + int(rng.integers(4, 46))
    data[min(at, len(data) - 1)] ^= 1 << rng.integers(8)
    return bytes(data)


def damage_weights(rng: np.random.Generator, data: bytes) -> bytes:
    """An HDF5 file of Keras with one array of another size, name or value."""
    import h5py

    file = io.BytesIO(data)
    with h5py.File(file, "r+") as weights:
        names = []
        weights.visititems(
            lambda name, item: names.append(name) if hasattr(item, "shape") else None
        )
        name = names[rng.integers(len(names))]
        how, array = rng.integers(5), weights[name][()]
        del weights[name]
        if how == 0:  # Claims 3.9 GiB, what Keras lets pass, and holds none.
            weights.create_dataset(name, (1000, 2**20), "float32", chunks=(1, 2**20))
        elif how == 1:
            weights[name] = np.repeat(np.atleast_1d(array), 2, axis=0)
        elif how == 2:
            weights[name] = np.full_like(array, np.nan)
        elif how == 3:
            weights[name + "x"] = array
    return file.getvalue()
