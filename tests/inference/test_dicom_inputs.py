"""Folders and zip files of DICOM, from conversion to masks."""

import shutil
from zipfile import ZipFile

import nibabel
import numpy as np
import pytest
from typer.testing import CliRunner

from keras_pamunet.cli import app
from keras_pamunet.data import Volume
from keras_pamunet.inference.dicom_inputs import convert
from keras_pamunet.models import ResUNet
from tests.data.test_dicom import write_series

pytest.importorskip("dicom2nifti")
pydicom = pytest.importorskip("pydicom")


@pytest.fixture
def hu(rng):
    return rng.integers(-1024, 400, (6, 10, 8), "int16")


@pytest.fixture
def study(tmp_path, hu):
    """Three patients, the second without a slice, the third in a zip file."""
    root = tmp_path / "study"
    write_series(root / "a/ct", hu)
    write_series(root / "b/ct", hu)
    (root / "b/ct/1-002.dcm").unlink()
    write_series(tmp_path / "c", hu // 2)
    shutil.make_archive(root / "c", "zip", tmp_path / "c")
    return root


def voxels(path):
    volume = Volume(path)
    return np.stack([volume.slice(z) for z in range(len(volume))])


def test_convert(study, hu, tmp_path):
    """Each folder and zip file is a scan; one that is unfit does not stop others."""
    found, problems, _ = convert([study], tmp_path / "out", recursive=True)
    assert [path.name for path in found] == ["a_ct.nii.gz", "c.nii.gz"]
    np.testing.assert_array_equal(voxels(found[0]), hu)
    np.testing.assert_array_equal(voxels(found[1]), hu // 2)
    (problem,) = problems
    assert "some are missing" in problem and "b/ct" in problem
    first = found[0].read_bytes()
    found, problems, _ = convert([study / "a/ct", study / "c.zip"], tmp_path / "out2")
    assert [path.name for path in found] == ["ct.nii.gz", "c.nii.gz"] and not problems
    assert found[0].read_bytes() == first  # A mask made of it stays its own.
    with pytest.raises(ValueError, match="different names.*a/ct.*b/ct"):
        convert([study / "a/ct", study / "b/ct"], tmp_path / "out3")


def test_others_pass(study, tmp_path):
    (study / "x.nii").touch()
    given = [study / "x.nii", study]
    assert convert(given, tmp_path / "out") == (given, [], {})
    assert not (tmp_path / "out").exists()


def test_parts(study, tmp_path):
    parts = [
        convert([study], tmp_path / "out", recursive=True, shard=(number, 2))
        for number in (1, 2)
    ]
    names = [[path.name for path in found] for found, _, _ in parts]
    assert names == [["a_ct.nii.gz", "c.nii.gz"], []]
    assert not parts[0][1] and len(parts[1][1]) == 1


def test_damaged_zip(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"PK no zip")
    ZipFile(tmp_path / "b.zip", "w").close()
    zips = [tmp_path / "a.zip", tmp_path / "b.zip"]
    found, problems, _ = convert(zips, tmp_path / "out")
    assert not found and f"Cannot read {zips[0]}" in problems[0]
    assert problems[1] == f"Expected DICOM files in {zips[1]}. Found none."


def test_command(study, tmp_path, monkeypatch):
    model = ResUNet((32, 32, 1), filters=4, input_range=(-200, 250), mirror_axes=())
    model.save(tmp_path / "model.keras")

    def predict(*inputs, output="masks"):
        options = ["--model", tmp_path / "model.keras", "--quiet", "--no-overlay"]
        command = ["predict", *inputs, *options, "-o", tmp_path / output]
        return CliRunner().invoke(app, [str(x) for x in command])

    done = predict(study / "a/ct")
    assert done.exit_code == 0, done.output
    assert "1 new mask" in done.output
    assert not (tmp_path / "masks/dicom").exists()
    image = nibabel.load(tmp_path / "masks_nifti/ct.nii.gz")
    mask = nibabel.load(tmp_path / "masks/ct.nii.gz")
    assert mask.shape == image.shape and (mask.affine == image.affine).all()
    assert "1 mask(s) were there and are kept" in predict(study / "a/ct").output
    done = predict(study / "a/ct", "--dicom-seg")
    assert "1 new mask" in done.output and "masks/dicom" in done.output
    segmentation = pydicom.dcmread(tmp_path / "masks/dicom/ct.dcm")
    assert segmentation.Modality == "SEG"
    assert "kept" in predict(study / "a/ct", "--dicom-seg").output
    for path in (study / "a/ct").iterdir():
        scan = pydicom.dcmread(path)
        del scan.FrameOfReferenceUID
        scan.save_as(path)
    done = predict(study / "a/ct", study / "c.zip", "--dicom-seg", output="segs")
    assert done.exit_code == 1 and "a/ct: " in done.stderr
    names = sorted(path.name for path in (tmp_path / "segs").rglob("c*.*"))
    assert names == ["c.dcm", "c.nii.gz"]
    (tmp_path / "b.nii").write_bytes(image.to_bytes())
    done = predict(tmp_path / "b.nii", "--dicom-seg", output="none")
    assert done.exit_code == 1 and "Expected DICOM for --dicom-seg" in done.stderr
    done = predict(study, "-r")
    assert done.exit_code == 1
    assert "1 scan(s) could not be used" in done.stderr and "b/ct" in done.stderr
    assert "│ a_ct.nii.gz " in done.stdout and "│ c.nii.gz " in done.stdout
    damaged = tmp_path / "damaged.nii.gz"
    damaged.write_bytes((tmp_path / "masks_nifti/c.nii.gz").read_bytes()[:-50])
    done = predict(study, damaged, "-r", output="both")
    assert done.exit_code == 1 and "2 new mask(s)" in done.stdout
    assert "1 scan(s) could not" in done.stderr and "1 of 3 volumes" in done.stderr
    assert (tmp_path / "masks/a_ct.nii.gz").exists()
    assert (tmp_path / "masks/c.nii.gz").exists()
    done = predict(study, "-r", "--shard", "1/2", output="part")
    assert "2 new mask(s)" in done.output
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    done = predict(study / "a/ct", output=here)
    assert done.exit_code == 0, done.output
    command = ["predict", "../study/c.zip", "--model", "../model.keras", "-o", "."]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert (here / "c.nii.gz").exists() and (tmp_path / "here_nifti/c.nii.gz").exists()
    done = predict(tmp_path / "masks_nifti", "--series", 1)
    assert done.exit_code == 1 and "DICOM files for --series" in done.output
