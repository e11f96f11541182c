"""Files: written whole or not at all, read with limits. Needs no Keras."""

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

# The largest JSON file that is read. Those of a run with 100,000 images have 20 MB.
MAX_JSON_BYTES = 2**28
LOCK = ".lock"
PARTIAL = ".partial-"


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """A new file to write to, which takes the place of `path` once that is done.

    It has the name of `path` and lies in a new folder beside it, whose name nobody can
    foresee and which is this user's alone: no link laid there is written through. A
    reader finds the old file or the new one, whole.

    Raises:
        OSError: if the file cannot be written.
    """
    path = Path(path)
    folder = Path(tempfile.mkdtemp(prefix=PARTIAL, dir=path.parent))
    try:
        yield folder / path.name
        os.replace(folder / path.name, path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def replace_bytes(path: Path, content: bytes) -> None:
    """Writes a file as `written_aside` does.

    Raises:
        OSError: names the file, if it cannot be written.
    """
    try:
        with written_aside(path) as new:
            new.write_bytes(content)
    except OSError as error:
        raise unwritable(path, error) from error


def replace_text(path: Path, text: str) -> None:
    """Writes a text file in UTF-8 as `replace_bytes` does.

    Bytes of file names that are no text become escapes, which JSON reads as they were.
    """
    replace_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_json(path: Path, content: Any) -> None:
    """Writes a JSON file as `replace_text` does. Numbers of NumPy become plain ones."""
    text = json.dumps(content, indent=1, ensure_ascii=False, default=to_plain)
    replace_text(path, text + "\n")


def to_plain(value: Any) -> Any:
    """A number of NumPy as one of Python, anything else as text, for `json.dumps`."""
    return value.item() if hasattr(value, "item") else str(value)


def plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as they will be read again: paths as text, tuples as lists."""
    return json.loads(json.dumps(settings, default=to_plain))


def read_json(path: Path) -> Any:
    """Reads a JSON file in UTF-8, with or without a byte order mark.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: names the file, if it holds no JSON, is nested too deeply or larger
            than 256 MB.
    """
    path = Path(path)
    check_regular(path)
    if path.stat().st_size > MAX_JSON_BYTES:
        raise ValueError(
            f"Expected a JSON file of at most {MAX_JSON_BYTES:,} bytes. Received: "
            f"{path} of {path.stat().st_size:,} bytes"
        )
    try:
        return json.loads(path.read_text("utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"Cannot read {path}: {error}") from error
    except RecursionError:
        raise ValueError(f"Cannot read {path}: it is nested too deeply.") from None


def read_json_object(path: Path) -> dict[str, Any]:
    """Reads a JSON file that holds an object; errors as `read_json`."""
    content = read_json(path)
    if not isinstance(content, dict):
        raise ValueError(
            f"Expected {path} to hold a JSON object. Received: a "
            f"{type(content).__name__}"
        )
    return content


def is_split(split: Any) -> bool:
    """Whether this is lists of names by part of the data, as JSON holds them."""
    return isinstance(split, dict) and all(
        isinstance(names, list) and {*map(type, names)} == {str}
        for names in split.values()
    )


def check_regular(path: str | Path) -> None:
    """Makes sure that a path is a file: reading a pipe would wait for ever.

    Raises:
        FileNotFoundError: if there is nothing.
        ValueError: for a folder, a pipe or a device.
    """
    if not Path(path).exists():
        raise FileNotFoundError(f"Expected a file. Not there: {path}")
    if not Path(path).is_file():
        raise ValueError(
            f"Expected a file. Received: {path}, a folder, a pipe or a device"
        )


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_own_leftover(name: str) -> bool:
    """Whether a file of this name is what a killed process of ours leaves behind."""
    return name == LOCK or name.startswith(PARTIAL)


def make_folder(folder: Path) -> None:
    """Makes a folder, and fails before long work if nothing can be written there.

    Raises:
        OSError: in that case.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise OSError(
            f"Expected a folder that can be written. Received: {folder} "
            f"({error.strerror}). Name another."
        ) from error


@contextmanager
def locked(folder: Path, wait: float = 0) -> Iterator[None]:
    """Makes a folder and keeps it to this process. A process that dies lets it go.

    Args:
        folder: may be there.
        wait: seconds to wait for another process that has it.

    Raises:
        ValueError: if another process has it.
        OSError: if the folder cannot be written.
    """
    make_folder(folder)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=wait)
    except Timeout:
        raise ValueError(
            f"Expected a folder that no other process works in. Received: {folder}, "
            "which one is writing to. Wait for its end, or name another folder."
        ) from None
    try:
        yield
    finally:
        (folder / LOCK).unlink(missing_ok=True)
        lock.release()


def unwritable(path: Path, error: OSError) -> OSError:
    """The error with a message that names the file and says what to do."""
    hint = ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        hint = " Make room there, or name another folder."
    named = OSError(f"Cannot write {path}: {error.strerror or error}.{hint}")
    named.errno = error.errno
    return named
