"""Prepared data is what the files hold, is made once, and is never half."""

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from tumorseg.datasets import store as room
from tumorseg.datasets.leftovers import claim
from tumorseg.datasets.lgg import identify, list_lgg, read_clinical, read_lgg
from tumorseg.datasets.open_data import open_data
from tumorseg.datasets.store import prepare
from tumorseg.errors import DataError
from tumorseg.preprocess import percentile_statistics, slice_histograms, statistics, value_levels


@pytest.fixture
def own(phantom: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(phantom, tmp_path / "kaggle_3m"))


def test_a_store_holds_what_the_files_hold(phantom: Path) -> None:
    store = prepare(phantom)
    for stored, scan in zip(store.scans, read_lgg(phantom), strict=True):
        assert (stored.id, stored.patient, stored.slice_numbers) == (scan.id, scan.patient, scan.slice_numbers)
        np.testing.assert_array_equal(stored.pixels, scan.pixels)
        assert stored.reference is not None and scan.reference is not None
        np.testing.assert_array_equal(stored.reference, scan.reference)


def test_the_table_counts_what_the_masks_hold(phantom: Path) -> None:
    store = prepare(phantom)
    for index, scan in enumerate(store.scans):
        assert scan.reference is not None
        rows = store.scan_index == index
        np.testing.assert_array_equal(store.tumour_pixels[rows], np.count_nonzero(scan.reference, axis=(1, 2)))


def test_statistics_from_the_table_are_those_of_the_pixels(phantom: Path) -> None:
    store = prepare(phantom)
    scan = store.scans[0]
    counts = store.histograms[store.scan_index == 0].sum(axis=0, keepdims=True)
    expected, got = statistics(scan.pixels, "volume-percentile"), percentile_statistics(counts)
    np.testing.assert_array_equal(expected.low, got.low)
    np.testing.assert_array_equal(expected.span, got.span)
    plain = np.percentile(scan.pixels, 99.5, axis=(0, 1, 2), method="inverted_cdf")
    np.testing.assert_array_equal(got.low[0] + got.span[0], plain)


def test_a_second_call_reads_no_image(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = prepare(own)

    def fail(*_: object) -> None:
        raise AssertionError("an image was read again")

    monkeypatch.setattr(room, "_read", fail)
    assert prepare(own).digest == first.digest


def test_a_changed_file_makes_a_new_store(own: Path) -> None:
    before = prepare(own)
    first, second = sorted(sorted(own.glob("TCGA*"))[0].glob("*_mask.tif"))[:2]
    shutil.copyfile(second, first)
    assert prepare(own).digest != before.digest


def test_preparing_that_breaks_leaves_no_store(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUMORSEG_CACHE", str(tmp_path / "cache"))
    victim = sorted(own.glob("*/*_mask.tif"))[-1]
    victim.write_bytes(victim.read_bytes()[:100])
    with pytest.raises(DataError, match=victim.name):
        prepare(own)
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_the_doubled_archive_is_read_once(own: Path) -> None:
    patients = [folder.name for folder in own.iterdir() if folder.is_dir()]
    shutil.copytree(own, own / "lgg-mri-segmentation" / "kaggle_3m", ignore=shutil.ignore_patterns("lgg-*"))
    assert [scan.id for scan in read_lgg(own)] == sorted(patients)
    listing = list_lgg(own)
    assert set(listing.copies) == set(patients)
    assert all(home.parent == own for home in listing.homes.values())


def test_slices_are_in_the_order_of_their_numbers(own: Path) -> None:
    for scan in read_lgg(own):
        assert list(scan.slice_numbers) == sorted(scan.slice_numbers)
        assert [int(path.stem.rpartition("_")[2]) for path in scan.sources] == list(scan.slice_numbers)


def test_any_subset_of_patients_is_a_data_set(own: Path) -> None:
    folders = sorted(folder for folder in own.iterdir() if folder.is_dir())
    for folder in folders[1:]:
        shutil.rmtree(folder)
    assert [scan.id for scan in read_lgg(own)] == [folders[0].name]
    assert [scan.id for scan in read_lgg(folders[0])] == [folders[0].name]


def test_patients_and_institutions_are_in_the_names() -> None:
    assert identify("TCGA_CS_4941_19960909") == ("TCGA_CS_4941", "CS")
    assert identify("patient 7") == ("patient 7", "")


def test_the_clinical_table_is_joined_by_patient(phantom: Path) -> None:
    table = read_clinical(phantom)
    assert {scan.patient for scan in read_lgg(phantom)} <= set(table)


def test_every_real_patient_is_prepared(lgg_real: Path) -> None:
    store = prepare(lgg_real)
    assert len(store.stored) == 88 and len(store.scan_index) == 3051
    assert {entry.patient for entry in store.stored} <= set(read_clinical(lgg_real))


def test_what_an_interrupted_writer_left_is_no_patient(own: Path) -> None:
    patient = next(folder for folder in sorted(own.iterdir()) if folder.is_dir())
    before = [scan.id for scan in read_lgg(own)]
    shutil.copytree(patient, own / ".kaggle_3m.x.partial" / "TCGA_CS_9999_20000101")
    assert [scan.id for scan in read_lgg(own)] == before


def test_slices_of_two_patients_in_one_folder_are_an_error(own: Path) -> None:
    first, second = sorted(folder for folder in own.iterdir() if folder.is_dir())[:2]
    for name in (f"{second.name}_1.tif", f"{second.name}_1_mask.tif"):
        shutil.copyfile(second / name, first / name.replace("_1.", "_999.").replace("_1_m", "_999_m"))
    with pytest.raises(DataError, match="2 scans"):
        read_lgg(own)


def test_a_mask_is_found_by_its_number_however_it_is_written(own: Path) -> None:
    before = prepare(own).scans[0].reference
    mask = sorted(own.glob("*/*_1_mask.tif"))[0]
    mask.rename(mask.with_name(mask.name.replace("_1_mask.tif", "_01_mask.TIF")))
    after = prepare(own).scans[0].reference
    assert before is not None and after is not None
    np.testing.assert_array_equal(before, after)


def test_two_processes_that_prepare_the_same_data_agree(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = room._write

    def beaten(*arguments: object) -> None:
        write(*arguments)  # type: ignore[arg-type]  # the other one is faster
        write(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(room, "_write", beaten)
    assert prepare(own).scans


def deep(seed: int = 0, dtype: type = np.int16) -> np.ndarray:
    """A volume of three slices and two channels with a dark background and a few very bright voxels."""
    rng = np.random.default_rng(seed)
    values = rng.gamma(2, 300, (3, 64, 64, 2)) * np.array([0.5, 1, 2])[:, None, None, None]
    values[:, :20] = 0
    values[0, 30, :4] = 30_000
    return values.astype(dtype)


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.float32])
def test_deep_values_have_the_statistics_of_their_pixels(dtype: type) -> None:
    pixels = deep(dtype=dtype)
    levels = value_levels(pixels)
    counts = slice_histograms(pixels, levels)
    assert (np.diff(levels, axis=1) >= 0).all()
    assert (counts.sum(axis=-1) == 64 * 64).all()
    whole = percentile_statistics(counts.sum(axis=0, keepdims=True), levels)
    expected = statistics(pixels, "volume-percentile")
    np.testing.assert_array_equal(whole.low, expected.low)
    np.testing.assert_array_equal(whole.span, expected.span)
    for index in range(3):
        got = percentile_statistics(counts[index : index + 1], levels)
        of_slice = statistics(pixels[index : index + 1], "slice-percentile")
        np.testing.assert_allclose(got.low, of_slice.low, atol=0.02 * of_slice.span.max())
        np.testing.assert_allclose(got.span, of_slice.span, rtol=0.03)


def test_bins_count_what_lies_at_or_below_their_level() -> None:
    pixels = deep()
    levels = value_levels(pixels)
    counts = slice_histograms(pixels, levels)
    for slice_, channel, level in ((0, 0, 40), (2, 1, 200), (1, 0, 255)):
        below = int((pixels[slice_, ..., channel] <= levels[channel, level]).sum())
        assert counts[slice_, channel, : level + 1].sum() == below


def test_eight_bits_have_no_levels_and_the_set_is_described(phantom: Path) -> None:
    store = prepare(phantom)
    assert (store.name, store.kind, store.channels, store.classes) == (
        "kaggle_3m",
        "lgg",
        ("pre", "flair", "post"),
        ("tumour",),
    )
    assert store.levels(store.stored[0]) is None and store.stored[0].dtype == "uint8" and store.folds is None
    np.testing.assert_array_equal(store.class_pixels[:, 0], store.tumour_pixels)


def test_scans_of_several_types_lie_in_one_store(tmp_path: Path) -> None:
    pictures = {"a": deep()[0, :51, :47, 0].astype(np.uint8), "b": deep()[0, ..., 0].astype(np.uint16)}
    for name, pixels in pictures.items():
        cv2.imwrite(str(tmp_path / f"{name}.png"), pixels)
        cv2.imwrite(str(tmp_path / f"{name}_mask.png"), (pixels > 99).astype(np.uint8))
    for scan, pixels in zip(prepare(tmp_path).scans, pictures.values(), strict=True):
        assert scan.pixels.dtype == pixels.dtype
        np.testing.assert_array_equal(scan.pixels[0, ..., 0], pixels)


def test_what_a_killed_preparation_left_is_removed(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUMORSEG_CACHE", str(tmp_path / "cache"))
    prepared = tmp_path / "cache" / "prepared"
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    for name, process in (("orphan", gone.pid), ("alive", os.getpid())):
        (prepared / f".{name}.x.partial").mkdir(parents=True)
        claim(prepared / f".{name}.x.partial").write_text(f"{socket.gethostname()} {process}\n")
    for name, age in (("old", 25 * 3600), ("young", 3600)):
        folder = prepared / f".{name}.x.partial"
        folder.mkdir()
        (folder / "pixels.bin").write_bytes(b"")
        for path in (folder / "pixels.bin", folder):
            os.utime(path, (time.time() - age,) * 2)
    prepare(own)
    assert {path.name for path in prepared.glob(".*")} == {".alive.x.partial", ".young.x.partial"}
    assert not list(prepared.rglob("owner.txt"))[1:]


def test_a_store_keeps_where_voxels_lie(tmp_path: Path) -> None:
    import nibabel

    affine = np.array([[-0.9, 0.1, 0, 7], [0, -0.9, 0, 80], [0, 0.2, 5, -30], [0, 0, 0, 1]])
    mask = np.zeros((40, 44, 6), np.uint8)
    mask[10:20, 12:24, 2:4] = 1
    for kind, values in (("images", np.arange(mask.size).reshape(mask.shape).astype(np.int16)), ("masks", mask)):
        (tmp_path / kind).mkdir()
        nibabel.save(nibabel.Nifti1Image(values, affine), tmp_path / kind / "p1.nii.gz")
    (prepared,) = prepare(tmp_path).scans
    (read,) = open_data(tmp_path).scans
    assert prepared.geometry is not None and read.geometry is not None
    assert np.array_equal(prepared.geometry.affine, read.geometry.affine)
    assert prepared.spacing == read.spacing and prepared.spacing is not None
    assert np.isclose(prepared.geometry.voxel_volume, abs(np.linalg.det(affine[:3, :3])))
