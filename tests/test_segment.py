"""`tumorseg segment`, through the installed command: which mask lies where, and what happens when something fails."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile

from tiny_model import write_model
from tumorseg.errors import DataError
from tumorseg.formats.tiff import read_mask_tiff, read_tiff
from tumorseg.inference.inputs import find_inputs
from tumorseg.inference.loading import load

COMMAND = [sys.executable, "-m", "tumorseg"]


def segment(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    words = [*COMMAND, "segment", *map(str, arguments)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=cwd, timeout=120)
    assert "Traceback" not in done.stderr
    return done


def picture(path: Path, *, bright: int = 200, size: int = 64) -> Path:
    """A slice whose upper left quarter is bright in FLAIR."""
    pixels = np.full((size, size, 3), 10, np.uint8)
    pixels[: size // 2, : size // 2, 1] = bright
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, pixels, photometric="rgb")
    return path


def tree(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("run") / "model").parent


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Two scans of three slices and a lone file."""
    folder = tmp_path / "scans"
    for number in (1, 2, 10):
        picture(folder / "a" / f"a_{number}.tif")
        picture(folder / "b" / "deep" / f"b_{number}.tif", bright=10)
    picture(folder / "lone.tif")
    return folder


# --- what is an input ---


def test_a_folder_is_mirrored_with_one_mask_a_file(scans: Path, tmp_path: Path, model: Path) -> None:
    picture(scans / "a" / "a_1_mask.tif")
    (scans / "notes.txt").write_text("no scan")
    done = segment(scans, "--output", tmp_path / "out", "--model", model)
    assert done.returncode == 0, done.stderr
    masks = [f"a/a_{number}_mask.tif" for number in (10, 1, 2)]
    masks += [f"b/deep/b_{number}_mask.tif" for number in (10, 1, 2)]
    assert tree(tmp_path / "out") == [*masks, "lone_mask.tif", "summary.csv", "summary.json"]
    stored = read_tiff(tmp_path / "out" / "a" / "a_1_mask.tif")
    assert stored.dtype == np.uint8
    assert np.all(stored[:32, :32] == 255)
    assert stored.sum() == 255 * 32 * 32
    assert read_tiff(tmp_path / "out" / "b" / "deep" / "b_2_mask.tif").max() == 0


def test_the_summary_tells_of_every_scan(scans: Path, tmp_path: Path, model: Path) -> None:
    done = segment(scans, "--output", tmp_path / "out", "--model", model)
    assert done.stdout.startswith("3 scans, 2 with tumour: 7 masks in ")
    with open(tmp_path / "out" / "summary.csv", newline="", encoding="utf-8") as file:
        rows = {row["scan"]: row for row in csv.DictReader(file)}
    assert list(rows) == ["a/a", "b/deep/b", "lone"]
    assert rows["a/a"]["slices"] == "3"
    assert rows["a/a"]["tumour_voxels"] == str(3 * 32 * 32)
    assert float(rows["a/a"]["mean_probability"]) > 0.5
    assert rows["b/deep/b"]["tumour_voxels"] == "0"
    assert rows["b/deep/b"]["mean_probability"] == ""
    assert "no tumour" in rows["b/deep/b"]["warnings"]
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["model"]["name"] == "tiny"
    assert summary["scans"][0]["slice_pixels"] == [1024] * 3
    assert summary["scans"][0]["masks"] == ["a/a_1_mask.tif", "a/a_2_mask.tif", "a/a_10_mask.tif"]
    assert summary["failures"] == []


def test_slices_are_one_scan_in_the_order_of_their_numbers(scans: Path) -> None:
    first, second, lone = find_inputs([scans]).scans
    assert first.id == "a/a"
    assert first.slice_numbers == (1, 2, 10)
    assert [path.name for path in first.sources] == ["a_1.tif", "a_2.tif", "a_10.tif"]
    assert second.id == "b/deep/b"
    assert lone.id == "lone"
    assert lone.slice_numbers == ()


def test_a_lone_file_and_several_files_need_no_folder(scans: Path, tmp_path: Path, model: Path) -> None:
    files = [scans / "a" / "a_10.tif", scans / "a" / "a_2.tif", scans / "lone.tif"]
    assert segment(*files, "--output", tmp_path / "out", "--model", model).returncode == 0
    assert tree(tmp_path / "out") == ["a_10_mask.tif", "a_2_mask.tif", "lone_mask.tif", "summary.csv", "summary.json"]


def test_two_inputs_of_one_name_keep_their_parent_folder(tmp_path: Path) -> None:
    one, two = picture(tmp_path / "p" / "one" / "x.tif"), picture(tmp_path / "p" / "two" / "x.tif")
    other = picture(tmp_path / "p" / "three" / "y.tif")
    targets = {str(target) for scan in find_inputs([one, two, other]).scans for target in scan.targets}
    assert targets == {"one/x_mask.tif", "two/x_mask.tif", "y_mask.tif"}
    again = picture(tmp_path / "q" / "one" / "x.tif")
    targets = {str(target) for scan in find_inputs([one, again]).scans for target in scan.targets}
    assert targets == {"p/one/x_mask.tif", "q/one/x_mask.tif"}


def test_what_is_named_twice_is_one_input(scans: Path) -> None:
    listing = find_inputs([scans / "a" / "a_1.tif", scans / "a", scans])
    assert [scan.id for scan in listing.scans] == ["a/a", "b/deep/b", "lone"]


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="no links here")
def test_links_out_of_a_folder_are_not_followed_and_said(
    scans: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    outside = picture(tmp_path / "outside" / "secret_1.tif")
    (scans / "linked").symlink_to(outside.parent)
    (scans / "link_1.tif").symlink_to(outside)
    (scans / "inner.tif").symlink_to(scans / "lone.tif")
    (scans / "loop").symlink_to(scans)
    (scans / "notes").symlink_to(tmp_path / "notes.txt")
    assert [scan.id for scan in find_inputs([scans]).scans] == ["a/a", "b/deep/b", "lone"]
    (said,) = [record.getMessage() for record in caplog.records]
    assert "linked, link_1.tif; give what they lead to" in said


def test_hidden_files_are_no_inputs(scans: Path) -> None:
    picture(scans / "._lone.tif")
    picture(scans / ".cache" / "x.tif")
    assert len(find_inputs([scans]).scans) == 3


def test_pages_are_slices_and_so_is_their_mask(tmp_path: Path, model: Path) -> None:
    pixels = np.full((4, 40, 48, 3), 10, np.uint8)
    pixels[2, 5:20, 5:20, 1] = 200
    tifffile.imwrite(tmp_path / "stack.tif", pixels, photometric="rgb")
    assert segment(tmp_path / "stack.tif", "--output", tmp_path / "out", "--model", model).returncode == 0
    mask = read_mask_tiff(tmp_path / "out" / "stack_mask.tif")
    assert mask.shape == (4, 40, 48)
    assert mask[2, 10, 10] == 1
    assert mask[0].sum() == 0


@pytest.mark.parametrize("channels", [1, 3])
def test_one_channel_or_three_equal_ones_are_flair_with_a_warning(tmp_path: Path, model: Path, channels: int) -> None:
    flair = read_tiff(picture(tmp_path / "rgb.tif"))[..., 1]
    pixels = flair if channels == 1 else np.stack([flair] * 3, axis=-1)
    tifffile.imwrite(tmp_path / "x.tif", pixels, photometric="minisblack" if channels == 1 else "rgb")
    done = segment(tmp_path / "x.tif", "--output", tmp_path / "out", "--model", model)
    assert done.returncode == 0
    assert "FLAIR" in done.stderr
    warnings = json.loads((tmp_path / "out" / "summary.json").read_text())["scans"][0]["warnings"]
    assert "taken for FLAIR" in warnings[0]["text"]
    assert read_tiff(tmp_path / "out" / "x_mask.tif").sum() == 255 * 32 * 32


# --- outputs that exist ---


def test_an_output_that_exists_is_refused_unless_told_otherwise(scans: Path, tmp_path: Path, model: Path) -> None:
    out = tmp_path / "out"
    (out / "a").mkdir(parents=True)
    (out / "a" / "a_2_mask.tif").write_bytes(b"mine")
    done = segment(scans, "--output", out, "--model", model)
    assert done.returncode == 2
    assert "a_2_mask.tif exists already" in done.stderr
    assert "--overwrite" in done.stderr
    assert tree(out) == ["a/a_2_mask.tif"]
    assert segment(scans, "--output", out, "--model", model, "--overwrite").returncode == 0
    assert read_mask_tiff(out / "a" / "a_2_mask.tif").sum() == 1024
    assert segment(scans, "--output", out, "--model", model, "--overwrite", "--resume").returncode == 2


def test_resume_keeps_what_is_whole_and_redoes_what_is_not(scans: Path, tmp_path: Path, model: Path) -> None:
    out = tmp_path / "out"
    assert segment(scans, "--output", out, "--model", model).returncode == 0
    before = (out / "lone_mask.tif").stat().st_mtime_ns
    whole = (out / "a" / "a_2_mask.tif").read_bytes()
    (out / "a" / "a_2_mask.tif").write_bytes(whole[:40])
    (out / "b" / "deep" / "b_1_mask.tif").unlink()
    done = segment(scans, "--output", out, "--model", model, "--resume")
    assert done.returncode == 0, done.stderr
    assert (out / "lone_mask.tif").stat().st_mtime_ns == before
    assert (out / "a" / "a_2_mask.tif").read_bytes() == whole
    assert (out / "b" / "deep" / "b_1_mask.tif").is_file()
    entries = {entry["id"]: entry for entry in json.loads((out / "summary.json").read_text())["scans"]}
    assert [entries[name]["status"] for name in ("a/a", "b/deep/b", "lone")] == ["segmented", "segmented", "kept"]
    assert entries["lone"]["measurements"]["tumour_voxels"] == 1024


# --- what fails ---


def test_a_file_that_fails_is_listed_and_the_rest_is_done(scans: Path, tmp_path: Path, model: Path) -> None:
    whole = (scans / "a" / "a_2.tif").read_bytes()
    (scans / "a" / "a_2.tif").write_bytes(whole[: len(whole) // 2])
    (scans / "lone.tif").write_bytes(b"")
    done = segment(scans, "--output", tmp_path / "out", "--model", model)
    assert done.returncode == 3
    assert "a_2.tif is truncated" in done.stderr
    assert "lone.tif is empty (0 bytes)" in done.stderr
    masks = ["a/a_10_mask.tif", "a/a_1_mask.tif", *(f"b/deep/b_{number}_mask.tif" for number in (10, 1, 2))]
    assert tree(tmp_path / "out") == [*masks, "summary.csv", "summary.json"]
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert [Path(failure["path"]).name for failure in summary["failures"]] == ["a_2.tif", "lone.tif"]
    assert "1 slice could not be read" in summary["scans"][0]["warnings"][0]["text"]


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.zeros((32, 32, 4), np.uint8), "4 unnamed channels"),
        (np.zeros((32, 32, 3), np.complex64), "complex64"),
        (np.full((32, 32, 3), np.nan, np.float32), "NaN"),
    ],
)
def test_pixels_of_another_kind_are_refused_by_name(
    tmp_path: Path, model: Path, pixels: np.ndarray, message: str
) -> None:
    tifffile.imwrite(tmp_path / "odd.tif", pixels, photometric="rgb")
    done = segment(tmp_path / "odd.tif", "--output", tmp_path / "out", "--model", model)
    assert done.returncode == 2
    assert message in done.stderr
    assert "odd.tif" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_slice_of_another_size_is_left_out_and_listed(scans: Path, tmp_path: Path, model: Path) -> None:
    picture(scans / "a" / "a_1.tif", size=32)
    done = segment(scans / "a", "--output", tmp_path / "out", "--model", model)
    assert done.returncode == 3
    assert "a_1.tif is 32 x 32" in done.stderr
    assert tree(tmp_path / "out") == ["a_10_mask.tif", "a_2_mask.tif", "summary.csv", "summary.json"]


def test_a_slice_that_is_there_twice_is_refused(scans: Path) -> None:
    picture(scans / "a" / "a_01.tif")
    loaded = load(find_inputs([scans / "a"]).scans[0])
    assert loaded.scan is None
    assert "slice 1 of a is there 2 times" in loaded.failures[0].reason


@pytest.mark.parametrize("name", ["none.tif", "text.txt"])
def test_a_file_that_is_no_input_is_refused_before_anything_is_done(tmp_path: Path, model: Path, name: str) -> None:
    (tmp_path / "text.txt").write_text("no scan")
    done = segment(picture(tmp_path / "x.tif"), tmp_path / name, "--output", tmp_path / "out", "--model", model)
    assert done.returncode == 2
    assert name in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_folder_with_nothing_to_segment_is_refused(tmp_path: Path, model: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = segment(tmp_path / "empty", "--output", tmp_path / "out", "--model", model)
    assert done.returncode == 2
    assert "no scan in" in done.stderr
    with pytest.raises(DataError, match="never inputs"):
        find_inputs([picture(tmp_path / "x_mask.tif")])


def test_a_folder_that_is_no_model_is_refused(scans: Path, tmp_path: Path) -> None:
    done = segment(scans, "--output", tmp_path / "out", "--model", scans)
    assert done.returncode == 2
    assert "is not a model" in done.stderr
    assert not (tmp_path / "out").exists()


def test_an_output_that_is_a_file_is_refused(scans: Path, tmp_path: Path, model: Path) -> None:
    (tmp_path / "out").write_text("in the way")
    done = segment(scans, "--output", tmp_path / "out", "--model", model)
    assert done.returncode == 2
    assert "not a folder" in done.stderr
    assert (tmp_path / "out").read_text() == "in the way"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root writes everywhere")
def test_an_output_that_cannot_be_written_is_refused(scans: Path, tmp_path: Path, model: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    done = segment(scans, "--output", tmp_path / "locked", "--model", model)
    assert done.returncode == 2
    assert "cannot write" in done.stderr


def test_an_interrupted_run_leaves_whole_files_only(tmp_path: Path, model: Path) -> None:
    pixels = read_tiff(picture(tmp_path / "scans" / "x0.tif"))
    for index in range(1, 200):
        tifffile.imwrite(tmp_path / "scans" / f"x{index}a.tif", pixels, photometric="rgb")
    out = tmp_path / "out"
    words = [*COMMAND, "segment", str(tmp_path / "scans"), "--output", str(out), "--model", str(model)]
    running = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not any(out.glob("*_mask.tif")) and time.monotonic() < deadline:
        time.sleep(0.005)
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 130, errors
    assert "Traceback" not in errors
    assert not [name for name in tree(out) if "partial" in name]
    for path in out.glob("*_mask.tif"):
        assert read_mask_tiff(path).sum() == 1024
    done = segment(tmp_path / "scans", "--output", out, "--model", model, "--resume")
    assert done.returncode == 0
    assert len(tree(out)) == 202


# --- real scans ---


def test_real_patients_get_a_mask_for_every_slice(lgg_real: Path, tmp_path: Path, model: Path) -> None:
    patients = sorted(path for path in lgg_real.iterdir() if path.is_dir())[:2]
    done = segment(*patients, "--output", tmp_path / "out", "--model", model)
    assert done.returncode == 0, done.stderr
    images = [path for patient in patients for path in patient.glob("*.tif") if not path.stem.endswith("_mask")]
    masks = list((tmp_path / "out").rglob("*_mask.tif"))
    assert len(masks) == len(images)
    assert {read_mask_tiff(path).shape for path in masks} == {(1, 256, 256)}
