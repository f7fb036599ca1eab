"""The synthetic data set: the published layout, the same pixels for the same seed, and hard enough to need learning."""

import csv
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from tumorseg.datasets.lgg import read_clinical, read_lgg
from tumorseg.datasets.phantom import PhantomPatient, phantom_patient, write_phantom
from tumorseg.errors import DataError, OutputError


@pytest.fixture(scope="module")
def patients() -> list[PhantomPatient]:
    """A dozen patients, among them two who lack a sequence."""
    return [phantom_patient(0, index, slices=12) for index in range(12)]


def best_threshold_dice(brightness: NDArray[np.float32], reference: NDArray[np.bool_]) -> float:
    """dice_pooled of the best of 500 thresholds, chosen on the reference itself."""
    edges = np.linspace(brightness.min(), brightness.max() + 1e-3, 501)
    hits = np.histogram(brightness[reference], edges)[0][::-1].cumsum()
    alarms = np.histogram(brightness[~reference], edges)[0][::-1].cumsum()
    return float(np.max(2 * hits / (hits + alarms + reference.sum())))


def test_the_layout_is_the_published_one(phantom: Path) -> None:
    folders = sorted(path for path in phantom.iterdir() if path.is_dir())
    assert len(folders) == 8
    assert len({folder.name.split("_")[1] for folder in folders}) == 4, "several institutions"
    for folder in folders:
        assert {path.name for path in folder.iterdir()} == {
            f"{folder.name}_{number}{kind}.tif" for number in range(1, 9) for kind in ("", "_mask")
        }
    image = tifffile.imread(folders[0] / f"{folders[0].name}_1.tif")
    assert (image.shape, image.dtype) == ((256, 256, 3), np.uint8)
    values: set[int] = set()
    for path in phantom.rglob("*_mask.tif"):
        mask = tifffile.imread(path)
        assert (mask.shape, mask.dtype) == ((256, 256), np.uint8)
        values |= set(np.unique(mask).tolist())
    assert values == {0, 255}


def test_the_reader_reads_it(phantom: Path) -> None:
    scans = read_lgg(phantom.parent)
    assert len(scans) == 8
    rows = read_clinical(phantom.parent)
    for scan in scans:
        assert scan.pixels.shape == (8, 256, 256, 3)
        assert scan.reference is not None and scan.reference.max() == 1, f"{scan.id} has no lesion"
        assert scan.patient in rows


def test_the_table_has_the_published_columns(phantom: Path) -> None:
    with open(phantom / "data.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows[0][0] == "Patient" and rows[0][-1] == "death01" and len(rows[0]) == 18
    assert all(len(row) == 18 for row in rows)


def test_the_same_seed_gives_the_same_pixels(patients: list[PhantomPatient]) -> None:
    again = phantom_patient(0, 3, slices=12)
    assert np.array_equal(again.pixels, patients[3].pixels)
    assert np.array_equal(again.reference, patients[3].reference)
    assert not np.array_equal(phantom_patient(1, 3, slices=12).pixels, again.pixels)


def test_the_same_seed_gives_the_same_files(tmp_path: Path) -> None:
    one, other = (write_phantom(tmp_path / name, patients=3, slices=3, seed=5) for name in ("one", "other"))
    files = sorted(path.relative_to(one) for path in one.rglob("*") if path.is_file())
    assert len(files) == 3 * 3 * 2 + 1
    assert all((one / path).read_bytes() == (other / path).read_bytes() for path in files)


@pytest.mark.parametrize("slices", [1, 2, 5, 30])
def test_every_patient_has_a_lesion_and_an_empty_slice_where_there_are_many(slices: int) -> None:
    for index in range(3 if slices < 10 else 1):
        tumour = phantom_patient(9, index, slices=slices).reference.any(axis=(1, 2))
        assert tumour.any()
        assert slices < 5 or not tumour.all()


def test_missing_sequences_are_replaced_by_flair(patients: list[PhantomPatient]) -> None:
    assert {patient.missing for patient in patients} == {(), ("post",), ("pre", "post")}
    for patient in patients:
        flair = patient.pixels[..., 1]
        assert np.array_equal(patient.pixels[..., 0], flair) == ("pre" in patient.missing)
        assert np.array_equal(patient.pixels[..., 2], flair) == ("post" in patient.missing)


def test_lesions_are_brighter_than_their_surroundings_and_darker_before_contrast(
    patients: list[PhantomPatient],
) -> None:
    """What there is to learn: a lesion differs from the tissue around it in opposite ways in the two sequences."""
    from scipy import ndimage

    for patient in patients:
        inside = patient.reference > 0
        around = ndimage.binary_dilation(inside, np.ones((1, 15, 15))) & ~inside
        flair, pre = patient.pixels[..., 1].astype(float), patient.pixels[..., 0].astype(float)
        assert np.median(flair[inside]) > 1.1 * np.median(flair[around]), patient.id
        if "pre" not in patient.missing:
            assert np.median(pre[inside]) < np.percentile(pre[around], 75), patient.id


def test_no_flair_threshold_finds_the_lesions(patients: list[PhantomPatient]) -> None:
    """Not even the best one, chosen on the reference, of brightness as stored or brought to one scale."""
    reference = np.concatenate([patient.reference.ravel() > 0 for patient in patients])
    flairs = [patient.pixels[..., 1].astype(np.float32) for patient in patients]
    scales = {
        "as stored": [np.float32(1) for _ in flairs],
        "99.5th percentile": [np.percentile(flair, 99.5) for flair in flairs],
        "median of the head": [np.median(flair[flair > flair.mean()]) for flair in flairs],
    }
    for name, scale in scales.items():
        brightness = np.concatenate([(flair / by).ravel() for flair, by in zip(flairs, scale, strict=True)])
        assert best_threshold_dice(brightness, reference) < 0.6, name
    tops = [float(np.percentile(flair, 99)) for flair in flairs]
    assert max(tops) > 1.5 * min(tops), "volumes differ in exposure"


def test_an_existing_output_is_refused(tmp_path: Path) -> None:
    kept = tmp_path / "kaggle_3m" / "precious.txt"
    kept.parent.mkdir()
    kept.write_text("mine")
    with pytest.raises(OutputError, match="exists and is not empty"):
        write_phantom(tmp_path, patients=1, slices=1)
    assert [path.name for path in tmp_path.rglob("*")] == ["kaggle_3m", "precious.txt"]


def test_an_interrupted_run_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tumorseg.datasets.phantom.csv.writer", fail)
    with pytest.raises(KeyboardInterrupt):
        write_phantom(tmp_path, patients=2, slices=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "value"), [("patients", 0), ("slices", 0), ("slices", 10_000), ("seed", -1)])
def test_numbers_out_of_range_are_refused(tmp_path: Path, name: str, value: int) -> None:
    with pytest.raises(DataError, match=f"--{name} {value} is out of range"):
        write_phantom(tmp_path, **{name: value})
