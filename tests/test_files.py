"""Files written whole or not at all, and read with limits."""

import json
import os
import stat
import subprocess
import sys

import pytest

from keras_pamunet.files import (
    locked,
    make_folder,
    read_json,
    read_json_object,
    replace_text,
    write_json,
    written_aside,
)


def test_written_aside(tmp_path):
    path = tmp_path / ("a" * 250 + ".png")  # As long as names get.
    with written_aside(path) as new:
        new.write_text("some")
        assert not path.exists() and new.name == path.name
    assert path.read_text() == "some" and list(tmp_path.iterdir()) == [path]
    with pytest.raises(KeyboardInterrupt), written_aside(path) as new:
        new.write_text("other")
        raise KeyboardInterrupt
    assert path.read_text() == "some" and list(tmp_path.iterdir()) == [path]


def test_no_link_is_written_through(tmp_path):
    """Whatever links lie in the folder, the file takes the place of its own name."""
    own = tmp_path / "own"
    own.write_text("own")
    for name in (".partial-a", "new-a", ".partial-", "a"):
        (tmp_path / name).symlink_to(own)
    replace_text(tmp_path / "a", "some")
    assert own.read_text() == "own" and not (tmp_path / "a").is_symlink()


def test_umask(tmp_path):
    before = os.umask(0o027)
    try:
        replace_text(tmp_path / "a", "")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


FULL = """
import resource, signal, sys
from pathlib import Path
from keras_pamunet.files import replace_text

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
replace_text(Path(sys.argv[1]), "x" * 2000)
"""


def test_full_disk(tmp_path):
    """A limit of the file's size, for that needs no disk of its own."""
    path = tmp_path / "a.txt"
    path.write_text("old")
    done = subprocess.run(
        [sys.executable, "-c", FULL, path], capture_output=True, text=True
    )
    assert f"OSError: Cannot write {path}: File too large. Make room" in done.stderr
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": ', "Cannot read .*a.json"),
        (b"\xff\xfe", "Cannot read .*a.json"),
        (b"[" * 100_000, "Cannot read .*a.json: it is nested too deeply"),
        (b"[1]", "a JSON object. Received: a list"),
    ],
)
def test_damaged_json(tmp_path, content, message):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_json_object(tmp_path / "a.json")


def test_json(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps({"a": "ü"}).encode())
    assert read_json(path) == {"a": "ü"}
    monkeypatch.setattr("keras_pamunet.files.MAX_JSON_BYTES", 10)
    with pytest.raises(ValueError, match="at most 10 bytes. Received: .*a.json of 1"):
        read_json(path)
    with pytest.raises(FileNotFoundError, match="Not there: .*b.json"):
        read_json(tmp_path / "b.json")


def test_names_that_are_no_text(tmp_path):
    """Bytes of a file name that are no UTF-8 come back as they were."""
    name = os.fsdecode(b"a\xff.png")
    write_json(tmp_path / "a.json", {"names": [name, "ü"]})
    assert read_json(tmp_path / "a.json") == {"names": [name, "ü"]}
    assert json.loads((tmp_path / "a.json").read_bytes())["names"][0] == name


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipe(tmp_path):
    """Reading one would wait for ever."""
    os.mkfifo(tmp_path / "a.json")
    with pytest.raises(ValueError, match="Expected a file. Received: .*a.json"):
        read_json(tmp_path / "a.json")


def test_locked(tmp_path):
    with (
        locked(tmp_path / "run"),
        pytest.raises(ValueError, match="no other process works in"),
        locked(tmp_path / "run"),
    ):
        pass
    with locked(tmp_path / "run"):
        pass
    assert not list((tmp_path / "run").iterdir())


REPLACE = """
import sys
from pathlib import Path
from keras_pamunet.files import replace_text

for _ in range(300):
    replace_text(Path(sys.argv[1]), sys.argv[2] * 5000)
"""


def test_two_processes(tmp_path):
    """Neither takes the other's temporary file; the last one's content stays, whole."""
    command = [sys.executable, "-c", REPLACE, tmp_path / "a"]
    both = [subprocess.Popen([*command, letter]) for letter in "xy"]
    assert [process.wait(100) for process in both] == [0, 0]
    assert set((tmp_path / "a").read_text()) in ({"x"}, {"y"})
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_make_folder(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="can be written. Received: .*file/a"):
        make_folder(tmp_path / "file" / "a")
