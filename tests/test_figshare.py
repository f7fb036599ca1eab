"""The figshare set, unpacked or in its archives: every slice with its patient, and no patient in two parts."""

import csv
import os
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from matlab_files import PATIENTS, picture, write_folds, write_set, write_slice
from tumorseg.datasets.dealing import make_split
from tumorseg.datasets.figshare import CLASSES, merged, read_figshare
from tumorseg.datasets.open_data import open_data
from tumorseg.datasets.split import PARTS
from tumorseg.datasets.store import prepare
from tumorseg.errors import DataError, FormatError
from tumorseg.preprocess import percentile_statistics, statistics
from tumorseg.recipe import SplitShares


@pytest.fixture(scope="module")
def loose(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty slices of eight people; read only."""
    return write_set(tmp_path_factory.mktemp("figshare"))


def packed(path: Path, *files: Path) -> Path:
    """A ZIP of files, as the set is published."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            archive.write(file, file.name)
    return path


def test_every_slice_is_a_scan_with_its_type_as_mask_value(loose: Path) -> None:
    data = open_data(loose)
    assert (data.name, data.kind, data.channels, data.classes) == ("figshare", "figshare", ("post",), CLASSES)
    assert [scan.id for scan in data.scans] == sorted(str(number) for number in range(1, 21))
    scan = next(scan for scan in data.scans if scan.id == "4")
    image, mask = picture(4)
    np.testing.assert_array_equal(scan.pixels[0, ..., 0], image)
    assert scan.reference is not None
    np.testing.assert_array_equal(scan.reference[0], mask * 2)
    assert next(scan for scan in data.scans if scan.id == "3").pixels.shape == (1, 16, 16, 1)


def test_ids_that_differ_in_a_letter_suffix_are_one_patient(loose: Path) -> None:
    assert merged("MR040240") == merged("MR040240B") == merged("MR040240C") == "MR040240"
    assert merged("100360") == "100360"
    counts = Counter(scan.patient for scan in open_data(loose).scans)
    assert len(counts) == 8 and counts["MR040240"] == 6


def test_archives_are_read_like_the_files_in_them(loose: Path, tmp_path: Path) -> None:
    files = sorted(loose.glob("*.mat"))
    one = packed(tmp_path / "brainTumorDataPublic_1-10.zip", *files[:10])
    packed(tmp_path / "brainTumorDataPublic_11-20.zip", *files[10:])
    assert len(open_data(one).scans) == 10
    expected = open_data(loose).scans
    (tmp_path / "outer").mkdir()
    whole = packed(tmp_path / "outer" / "1512427.zip", *tmp_path.glob("*.zip"))
    for place in (tmp_path, whole, whole.parent):
        found = open_data(place).scans
        assert [(scan.id, scan.patient) for scan in found] == [(scan.id, scan.patient) for scan in expected]
        for scan, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(scan.read_pixels(), other.pixels)
            assert scan.read_reference is not None and other.reference is not None
            np.testing.assert_array_equal(scan.read_reference(), other.reference)


def test_unpacked_files_go_before_their_archive(loose: Path, tmp_path: Path) -> None:
    packed(tmp_path / "brainTumorDataPublic_1-2.zip", loose / "1.mat", loose / "2.mat")
    write_slice(tmp_path / "1.mat", "999", 1)
    patients = {scan.id: scan.patient for scan in open_data(tmp_path).scans}
    assert patients == {"1": "999", "2": PATIENTS[0]}


def test_a_number_in_two_places_is_an_error(loose: Path, tmp_path: Path) -> None:
    for place in ("a", "b"):
        write_slice(tmp_path / place / "1.mat", "999", 1)
    with pytest.raises(DataError, match="slice 1 lies there twice"):
        open_data(tmp_path)


@pytest.mark.parametrize("name", ["../1.mat", "/1.mat", "a/../../1.mat", "..\\1.mat", "C:\\1.mat"])
def test_an_archive_whose_names_point_out_of_it_is_refused(name: str, loose: Path, tmp_path: Path) -> None:
    path = tmp_path / "brainTumorDataPublic_1.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(zipfile.ZipInfo(name), (loose / "1.mat").read_bytes())
    with pytest.raises(FormatError, match="points out of it"):
        open_data(path)


def test_a_bomb_in_an_archive_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "brainTumorDataPublic_1.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("1.mat", "w") as member:
        for _ in range(300):
            member.write(bytes(2**20))
    with pytest.raises(FormatError, match="would unpack to 300 MiB"):
        open_data(path)


def test_a_damaged_archive_is_an_error_that_names_it(loose: Path, tmp_path: Path) -> None:
    path = packed(tmp_path / "brainTumorDataPublic_1.zip", loose / "1.mat")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(FormatError, match="brainTumorDataPublic_1"):
        open_data(path)
    path.write_bytes(content[:300] + bytes(200) + content[500:])
    with pytest.raises(FormatError, match=r"1\.mat is damaged"):
        open_data(path)


def test_a_damaged_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    write_set(tmp_path, 4)
    (tmp_path / "3.mat").write_bytes((tmp_path / "3.mat").read_bytes()[:700])
    with pytest.raises(FormatError, match=r"3\.mat"):
        open_data(tmp_path)


def test_published_folds_are_the_folds(tmp_path: Path) -> None:
    write_set(tmp_path)
    by_id = [1, 2, 2, 2, 3, 4, 5, 1, 2, 3]
    write_folds(tmp_path / "cvind.mat", [fold for fold in by_id for _ in range(2)])
    store = prepare(tmp_path)
    assert store.folds is not None and store.folds["MR040240"] == 2 and not store.warnings
    for fold in range(5):
        split = make_split(store, SplitShares(), fold=fold, folds=5)
        assert set(split.patients("test")) == {patient for patient, number in store.folds.items() if number == fold + 1}
        assert all(split.patients(part) for part in PARTS)
    with pytest.raises(DataError, match="no fold 5"):
        make_split(store, SplitShares(), fold=5, folds=5)


def test_a_published_fold_never_cuts_a_person_apart(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_set(tmp_path)
    by_id = [1, 1, 2, 2, 3, 4, 5, 1, 2, 3]
    write_folds(tmp_path / "cvind.mat", [fold for fold in by_id for _ in range(2)])
    store = prepare(tmp_path)
    assert store.folds is not None and store.folds["MR040240"] == 2
    assert "MR040240" in caplog.text and "whole into the fold" in caplog.text


def test_folds_that_share_a_patient_or_belong_elsewhere_are_an_error(tmp_path: Path) -> None:
    write_set(tmp_path)
    write_folds(tmp_path / "cvind.mat", [1, 2] * 10)
    with pytest.raises(DataError, match="puts patient 100360 into folds 1 and 2"):
        open_data(tmp_path)
    write_folds(tmp_path / "cvind.mat", [1] * 10)
    with pytest.raises(DataError, match=r"20\.mat"):
        open_data(tmp_path)


def test_the_store_keeps_values_beyond_eight_bits(loose: Path) -> None:
    store = prepare(loose)
    assert store.classes == CLASSES and {entry.dtype for entry in store.stored} == {"int16"}
    for index, (stored, scan) in enumerate(zip(store.scans, open_data(loose).scans, strict=True)):
        assert stored.pixels.dtype == np.int16
        np.testing.assert_array_equal(stored.pixels, scan.pixels)
        assert scan.reference is not None
        counts = [np.count_nonzero(scan.reference == value) for value in (1, 2, 3)]
        assert store.class_pixels[index].tolist() == counts
        levels = store.levels(store.stored[index])
        got = percentile_statistics(store.histograms[index : index + 1], levels)
        expected = statistics(scan.pixels, "volume-percentile")
        np.testing.assert_array_equal(got.low, expected.low)
        np.testing.assert_array_equal(got.span, expected.span)


def test_a_patients_main_type_is_known_to_the_split(tmp_path: Path) -> None:
    for number in range(1, 46):
        write_slice(tmp_path / f"{number}.mat", str(1000 + number), number % 3 + 1, seed=number, size=16)
    candidates = prepare(tmp_path).candidates
    assert Counter(candidate.main_class for candidate in candidates) == {1: 15, 2: 15, 3: 15}


def test_the_published_slices_are_read_with_their_patients(figshare_real: Path) -> None:
    packed_folder = Path(os.environ["TUMORSEG_TEST_DATA"]) / "figshare"
    with open(packed_folder / "slices.csv", newline="") as file:
        rows = {row["mat_index"]: row for row in csv.DictReader(file)}
    data = read_figshare(figshare_real)
    assert len(data.scans) == 400
    for scan in data.scans:
        assert scan.patient == rows[scan.id]["patient_group"]
    for scan in data.scans[::40]:
        assert scan.reference is not None and scan.pixels.dtype == np.int16
        assert set(np.unique(scan.reference)) == {0, int(rows[scan.id]["label"])}
    assert all(merged(row["pid"]) == row["patient_group"] for row in rows.values())
