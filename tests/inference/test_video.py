"""What `predict` writes of a video."""

import csv

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from keras_pamunet.cli import app
from keras_pamunet.inference.video import predict_video
from tests.helpers import once
from tests.inference.test_images import Brightness

pytestmark = once
SIDES = (48, 64)


def frame(index):
    """Black, with a bright square that moves down from the third frame on."""
    picture = np.zeros((*SIDES, 3), "uint8")
    if index >= 2:
        picture[10 + index : 26 + index, 20:36] = 255
    return picture


def write(path, codec="mp4v", count=9):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 10, SIDES[::-1])
    for index in range(count):
        writer.write(frame(index))
    writer.release()
    return path


@pytest.fixture
def path(tmp_path):
    return write(tmp_path / "scope.mp4")


def test_video(tmp_path, path):
    model = Brightness(None)
    done = predict_video(model, path, tmp_path / "out", batch_size=4, progress=False)
    assert (done.frames, done.found, done.own_frames_per_second) == (9, 7, 10)
    assert done.frames_per_second > 0
    assert {*model.batches} == {4}
    with done.table.open() as file:
        rows = [*csv.DictReader(file)]
    assert [row["seconds"] for row in rows[:3]] == ["0.0", "0.1", "0.2"]
    assert [row["objects"] for row in rows] == ["0"] * 2 + ["1"] * 7
    for index, row in enumerate(rows[2:], 2):
        # The codec blurs the borders.
        assert float(row["percent"]) == pytest.approx(100 * 256 / (48 * 64), abs=0.6)
        assert int(row["x"]) == pytest.approx(20, abs=1)
        assert int(row["y"]) == pytest.approx(10 + index, abs=1)
        assert int(row["width"]) == pytest.approx(16, abs=1)
    overlay = cv2.VideoCapture(str(done.overlay))
    there, first = overlay.read()
    assert there and first.shape == (*SIDES, 3)
    assert overlay.get(cv2.CAP_PROP_FRAME_COUNT) == 9
    yellow = np.array([first, *(overlay.read()[1] for _ in range(8))])
    # Red and green, and hardly blue: the outline, from the third frame on.
    outlined = (yellow[..., 2].astype(int) - yellow[..., 0] > 50).any(axis=(1, 2))
    assert outlined.tolist() == [False] * 2 + [True] * 7


def test_no_video(tmp_path, path):
    model = Brightness()
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("no video" * 100)
    (tmp_path / "cut.mp4").write_bytes(path.read_bytes()[:300])
    for name in ("empty", "text", "cut"):
        with pytest.raises(ValueError, match=f"with a frame. Received: .*{name}.mp4$"):
            predict_video(model, tmp_path / f"{name}.mp4", tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="Not there"):
        predict_video(model, tmp_path / "none.mp4", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_outputs_that_are_there(tmp_path, path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/scope.csv").write_text("mine")
    with pytest.raises(FileExistsError, match="scope.csv, which exists.*--overwrite"):
        predict_video(Brightness(), path, tmp_path / "out", progress=False)
    assert (tmp_path / "out/scope.csv").read_text() == "mine"
    predict_video(Brightness(), path, tmp_path / "out", overwrite=True, progress=False)
    assert (tmp_path / "out/scope.csv").read_text() != "mine"


def test_video_that_breaks_off(tmp_path):
    """Its header claims more frames than there are."""
    whole = write(tmp_path / "whole.avi", "MJPG").read_bytes()
    path = tmp_path / "cut.avi"
    path.write_bytes(whole[: len(whole) // 2 + 2000])
    with pytest.warns(UserWarning, match="cut.avi breaks off: . of its 9 frames"):
        done = predict_video(Brightness(), path, tmp_path / "out", progress=False)
    assert 0 < done.frames < 9


def test_command_line(tmp_path, path, monkeypatch):
    monkeypatch.setattr(
        "keras_pamunet.cli.predict.open_exported", lambda path: Brightness()
    )
    model = ["--model", tmp_path / "model.tflite"]

    def run(*arguments):
        return CliRunner().invoke(app, ["predict", *map(str, (*arguments, *model))])

    done = run(path, "--no-flips")
    assert done.exit_code == 0, done.output
    assert "7 of 9 frames with a finding" in done.stdout
    assert (tmp_path / "scope_predicted/scope.csv").exists()
    assert run(path).exit_code == 1  # They are there now.
    done = run(path, "--class-masks")
    assert done.exit_code == 1 and "for --class-masks" in done.stderr
    done = run(path, tmp_path)
    assert done.exit_code == 1 and "one video at a time" in done.stderr
