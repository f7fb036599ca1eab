"""What is exported is read back with the same pixels, masks and patients; volumes with masks are a data set."""

from pathlib import Path

import numpy as np
import pytest

from matlab_files import write_slice
from tumorseg.cli.app import run
from tumorseg.datasets.check_set import check_data
from tumorseg.datasets.data_set import DataSet
from tumorseg.datasets.export import export_data
from tumorseg.datasets.open_data import open_data
from tumorseg.errors import DataError, OutputError, ShapeMismatch
from tumorseg.formats.nifti import read_volume
from tumorseg.formats.nifti_plain import write_nifti
from tumorseg.scan import Geometry


def assert_same(one: DataSet, other: DataSet) -> None:
    assert (one.channels, one.classes) == (other.channels, other.classes)
    for mine, theirs in zip(one.scans, other.scans, strict=True):
        assert (mine.id, mine.patient, mine.institution) == (theirs.id, theirs.patient, theirs.institution)
        assert np.array_equal(mine.pixels, theirs.pixels)
        assert np.array_equal(mine.reference, theirs.reference)


@pytest.mark.parametrize("to", ["npz", "png", "nifti"])
def test_the_lgg_layout_is_read_back_as_it_was(phantom: Path, tmp_path: Path, to: str) -> None:
    written = export_data(phantom, tmp_path / to, to=to)
    assert_same(open_data(phantom), open_data(written))
    assert sorted(path.name for path in tmp_path.iterdir()) == [to]


@pytest.mark.parametrize("to", ["npz", "png", "nifti"])
def test_the_figshare_layout_is_read_back_with_its_classes(tmp_path: Path, to: str) -> None:
    for number, (patient, kind) in enumerate([("A1", 1), ("A1B", 1), ("B2", 2), ("C3", 3)], start=1):
        write_slice(tmp_path / "figshare" / f"{number}.mat", patient, kind, seed=number, size=24 if kind == 3 else 32)
    source = open_data(tmp_path / "figshare")
    assert_same(source, open_data(export_data(tmp_path / "figshare", tmp_path / to, to=to)))
    assert source.classes == ("meningioma", "glioma", "pituitary")


def test_of_unknown_spacing_the_volumes_claim_none(
    phantom: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    written = export_data(phantom, tmp_path / "out", to="nifti")
    assert "the spacing of 8 scans is unknown" in caplog.text
    assert all(scan.geometry is None and scan.spacing is None for scan in open_data(written).scans)


def test_an_export_is_whole_or_not_there(phantom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="not empty"):
        export_data(phantom, tmp_path / "full", to="npz")
    with pytest.raises(DataError, match="npz, png, nifti"):
        export_data(phantom, tmp_path / "out", to="jpeg")
    with pytest.raises(OutputError, match="in the data set itself"):
        export_data(phantom, phantom / "out", to="npz")
    floats = volumes(tmp_path / "mine")
    with pytest.raises(DataError, match="PNG"):
        export_data(floats, tmp_path / "out", to="png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full", "mine"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["nowhere", "--to", "npz", "--output", "out"], "does not exist"), (["nowhere", "--to", "npz"], "--output"),
     ([".", "--to", "bmp", "--output", "out"], "unknown"), ([".", "--to", "png", "--output", "../out"], "no data set")],
)  # fmt: skip
def test_the_verb_says_in_one_line_what_is_wrong(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["data", "export", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def volumes(folder: Path, *, tilt: float = 0.1) -> Path:
    """Two patients with two sequences each, named as in the BraTS sets, and what they are in dataset.yaml."""
    rng = np.random.default_rng(0)
    turn = np.array([[0, 0, -1, 9], [0, -1, tilt, 8], [5, 0, 0, 7], [0, 0, 0, 1.0]])
    for name in ("case_001", "case_002"):
        for kind in ("flair", "t1ce", "seg"):
            pixels = rng.integers(0, 2, (4, 10, 12)).astype(np.uint8) if kind == "seg" else rng.random((4, 10, 12))
            if kind != "seg":
                pixels = pixels.astype(np.float32)
            (folder / name).mkdir(parents=True, exist_ok=True)
            write_nifti(folder / name / f"{name}_{kind}.nii.gz", pixels, Geometry(turn))
    (folder / "dataset.yaml").write_text(
        "sequences:\n  flair: '*/*_flair.nii.gz'\n  post: '*/*_t1ce.nii.gz'\nmasks: '*/*_seg.nii.gz'\n"
        "patient: '(?P<patient>case_[0-9]+)'\n"
    )
    return folder


def test_volumes_of_one_file_for_each_sequence_are_a_data_set(tmp_path: Path) -> None:
    folder = volumes(tmp_path / "brats")
    data = open_data(folder)
    assert data.channels == ("flair", "post")
    assert [scan.patient for scan in data.scans] == ["case_001", "case_002"]
    one = data.scans[0]
    expected = read_volume([folder / "case_001" / f"case_001_{kind}.nii.gz" for kind in ("flair", "t1ce")])
    assert np.array_equal(one.pixels, expected.pixels) and one.pixels.shape == (4, 10, 12, 2)
    assert one.reference is not None and one.reference.shape == (4, 10, 12)
    assert one.geometry is not None and one.spacing == one.geometry.spacing
    assert check_data(folder).as_json()["scans"] == 2


def test_geometry_survives_the_export(tmp_path: Path) -> None:
    folder = volumes(tmp_path / "brats")
    for to in ("nifti", "npz"):
        written = open_data(export_data(folder, tmp_path / to, to=to))
        assert_same(open_data(folder), written)
        for mine, theirs in zip(open_data(folder).scans, written.scans, strict=True):
            assert mine.geometry is not None and theirs.geometry is not None
            assert np.allclose(mine.geometry.affine, theirs.geometry.affine, atol=1e-4)


def test_volumes_in_images_and_masks_are_one_scan_each_though_their_names_are_numbered(tmp_path: Path) -> None:
    for number in (1, 2):
        for kind in ("images", "masks"):
            pixels, axial = np.full((3, 8, 9), number, np.uint8), np.eye(4)[[2, 1, 0, 3]] * [5, -1, -1, 1]
            (tmp_path / kind).mkdir(exist_ok=True)
            write_nifti(tmp_path / kind / f"case_{number}.nii.gz", pixels, Geometry(axial))
    data = open_data(tmp_path)
    assert [scan.id for scan in data.scans] == ["images/case_1", "images/case_2"]
    assert all(scan.pixels.shape == (3, 8, 9, 1) for scan in data.scans)


def test_a_mask_of_another_place_or_a_missing_sequence_is_an_error(tmp_path: Path) -> None:
    folder = volumes(tmp_path / "brats")
    write_nifti(folder / "case_001" / "case_001_seg.nii.gz", np.ones((4, 10, 12), np.uint8), Geometry(np.eye(4)))
    with pytest.raises(ShapeMismatch, match=r"case_001_seg"):
        _ = open_data(folder).scans[0].reference
    (folder / "case_002" / "case_002_t1ce.nii.gz").unlink()
    with pytest.raises(DataError, match="sequence post"):
        open_data(folder)


def test_sequences_beside_images_are_refused(tmp_path: Path) -> None:
    (tmp_path / "dataset.yaml").write_text("sequences: {flair: '*.nii'}\nimages: '*.png'\nmasks: '*.nii'\n")
    with pytest.raises(DataError, match="sequences beside images"):
        open_data(tmp_path)


def test_exported_npz_names_everything(phantom: Path, tmp_path: Path) -> None:
    written = export_data(phantom, tmp_path / "out", to="npz")
    one = np.load(sorted((written / "scans").iterdir())[0])
    assert set(one.files) == {"image", "mask", "slice_numbers", "channels", "classes"}
    assert one["channels"].tolist() == ["pre", "flair", "post"] and one["slice_numbers"].tolist() == list(range(1, 9))
