"""`data check`: every fault is found, named and told apart from what is merely worth knowing."""

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile

from matlab_files import write_folds, write_set, write_slice
from tumorseg.cli.app import run
from tumorseg.datasets.check import CheckReport, check_lgg
from tumorseg.datasets.check_set import check_data
from tumorseg.datasets.known import published_lgg
from tumorseg.datasets.lgg import read_lgg
from tumorseg.datasets.phantom import write_phantom
from tumorseg.datasets.store import digest_of_pixels
from tumorseg.errors import DataError, TumorsegError


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four small patients without a fault."""
    return write_phantom(tmp_path_factory.mktemp("sound"), patients=4, slices=4, seed=3)


@pytest.fixture
def data(sound: Path, tmp_path: Path) -> Path:
    """A copy to do harm to; the folder above kaggle_3m."""
    shutil.copytree(sound, tmp_path / "set" / "kaggle_3m")
    return tmp_path / "set"


def home(data: Path, index: int = 0) -> Path:
    """The folder of one patient."""
    return sorted(path for path in (data / "kaggle_3m").iterdir() if path.is_dir())[index]


def image(data: Path, number: int = 2, index: int = 0) -> Path:
    """One image of one patient."""
    folder = home(data, index)
    return folder / f"{folder.name}_{number}.tif"


def mask(data: Path, number: int = 2, index: int = 0) -> Path:
    """The mask of `image`."""
    path = image(data, number, index)
    return path.with_name(f"{path.stem}_mask.tif")


def kinds(report: CheckReport) -> tuple[set[str], set[str]]:
    """Kinds of its errors and of its notes."""
    return {finding.kind for finding in report.errors}, {finding.kind for finding in report.notes}


def rewrite(path: Path, change: Callable[[Any], Any]) -> None:
    """Put other pixels into a TIFF."""
    tifffile.imwrite(path, change(tifffile.imread(path)))


def truncate(path: Path) -> None:
    """Cut a file in half."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def grey(pixels: Any) -> Any:
    """A mask with a value between its two."""
    pixels[:40, :40] = 255
    pixels[:20, :20] = 90
    return pixels


FAULTS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "a missing mask": ("mask-missing", lambda data: mask(data).unlink()),
    "a missing image": ("image-missing", lambda data: image(data).unlink()),
    "a truncated image": ("unreadable", lambda data: truncate(image(data))),
    "a truncated mask": ("unreadable", lambda data: truncate(mask(data))),
    "an image of zero bytes": ("unreadable", lambda data: image(data).write_bytes(b"")),
    "a mask of zero bytes": ("unreadable", lambda data: mask(data).write_bytes(b"")),
    "text that calls itself an image": ("unreadable", lambda data: image(data).write_text("not a picture at all")),
    "a 16-bit image": ("image-type", lambda data: rewrite(image(data), lambda pixels: pixels.astype(np.uint16))),
    "four channels": ("image-channels", lambda data: rewrite(image(data), lambda p: np.dstack([p, p[..., :1]]))),
    "one channel": ("image-channels", lambda data: rewrite(image(data), lambda pixels: pixels[..., 1].copy())),
    "a mask of another size": ("size-mismatch", lambda data: rewrite(mask(data), lambda p: p[:128, :128].copy())),
    "images of two sizes": ("size-varies", lambda data: rewrite(image(data), lambda p: p[:128, :128].copy())),
    "a grey mask": ("mask-values", lambda data: rewrite(mask(data), grey)),
    "a mask of soft values": ("mask-values", lambda data: rewrite(mask(data), lambda p: p * np.float32(0.5) + 0.1)),
    "a number twice": (
        "number-twice",
        lambda data: shutil.copy(image(data, 2), home(data) / f"{home(data).name}_02.tif"),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_spoils_training_is_an_error_and_the_reader_refuses_it(fault: str, data: Path) -> None:
    kind, harm = FAULTS[fault]
    harm(data)
    report = check_lgg(data)
    errors, _ = kinds(report)
    assert kind in errors
    named = [finding for finding in report.errors if finding.kind == kind]
    assert all(finding.patient == home(data).name and finding.files for finding in named)
    with pytest.raises(TumorsegError):
        for scan in read_lgg(data):
            assert scan.pixels is not None and scan.reference is not None


def test_a_sound_set_has_no_errors_and_is_readable(sound: Path) -> None:
    report = check_lgg(sound.parent)
    assert kinds(report) == (set(), set())
    facts = report.as_json()
    assert facts["ok"] and facts["patients"] == 4
    assert facts["slices"] == facts["pairs"] == 16
    assert facts["images"] == {"256 x 256 x 3 uint8": 16}
    assert sum(facts["mask_values"].values()) == 16 and "0 and 255" in facts["mask_values"]
    assert facts["published"] == {"known": 88, "identical": 0}
    scans = {scan.id: scan for scan in read_lgg(sound)}
    for row in facts["per_patient"]:
        scan = scans[row["patient"]]
        assert scan.reference is not None
        assert row["digest"] == digest_of_pixels(scan.pixels, scan.reference)
        assert row["tumour_voxels"] == int(scan.reference.sum())


def test_masks_of_zero_and_one_are_fine(data: Path) -> None:
    for path in data.rglob("*_mask.tif"):
        rewrite(path, lambda pixels: (pixels > 0).astype(np.uint8))
    report = check_lgg(data)
    assert kinds(report) == (set(), set())
    assert "0 and 1" in report.mask_values


def test_identical_copies_are_a_note_and_counted_once(data: Path) -> None:
    shutil.copytree(data / "kaggle_3m", data / "lgg-mri-segmentation" / "kaggle_3m")
    report = check_lgg(data)
    assert kinds(report) == (set(), {"copies"})
    assert report.copies == 4 and report.as_json()["slices"] == 16


def test_copies_that_differ_are_an_error(data: Path) -> None:
    shutil.copytree(data / "kaggle_3m", data / "kaggle_3m" / "kaggle_3m")
    rewrite(image(data), lambda pixels: 255 - pixels)
    errors = check_lgg(data).errors
    assert [finding.kind for finding in errors] == ["copies-differ"]
    assert errors[0].patient == home(data).name


def test_one_person_under_two_names_is_an_error(data: Path) -> None:
    twin = data / "kaggle_3m" / "TCGA_HT_9999_20000101"
    twin.mkdir()
    for path in home(data).iterdir():
        shutil.copy(path, twin / path.name.replace(home(data).name, twin.name))
    assert "same-pixels" in kinds(check_lgg(data))[0]


def test_a_slice_of_another_patient_is_an_error(data: Path) -> None:
    for path in (image(data, 4, index=1), mask(data, 4, index=1)):
        shutil.move(path, home(data) / path.name.replace("_4", "_9"))
    assert "misplaced" in kinds(check_lgg(data))[0]


def test_gaps_are_a_note(data: Path) -> None:
    image(data, 2).unlink()
    mask(data, 2).unlink()
    errors, notes = kinds(check_lgg(data))
    assert (errors, notes) == (set(), {"gap"})
    message = check_lgg(data).notes[0].message
    assert message == "slice number 2 missing"


def test_missing_and_blank_sequences_are_measured_from_pixels(data: Path) -> None:
    for number in range(1, 5):
        rewrite(image(data, number), lambda pixels: pixels[..., [1, 1, 1]])
        rewrite(image(data, number, index=1), lambda pixels: pixels * np.array([1, 1, 0], np.uint8))
    report = check_lgg(data)
    assert kinds(report) == (set(), {"pre-missing", "post-missing", "blank", "blank-slices"})
    assert report.missing("pre") == report.missing("post") == (home(data).name,)
    assert report.patients[1].blank == {"post": 4}


def test_a_patient_without_flair_is_an_error(data: Path) -> None:
    for number in range(1, 5):
        rewrite(image(data, number), lambda pixels: pixels * np.array([1, 0, 1], np.uint8))
    report = check_lgg(data)
    assert [finding.message for finding in report.errors] == ["FLAIR is blank in every slice"]
    assert report.missing("pre") == ()


def test_patients_without_tumour_are_a_note_and_a_set_without_any_is_an_error(data: Path) -> None:
    for number in range(1, 5):
        rewrite(mask(data, number), np.zeros_like)
    assert kinds(check_lgg(data)) == (set(), {"no-tumour"})
    for path in data.rglob("*_mask.tif"):
        rewrite(path, np.zeros_like)
    assert kinds(check_lgg(data))[0] == {"no-tumour-at-all"}


def test_the_clinical_table_is_joined_by_patient(data: Path) -> None:
    table = data / "kaggle_3m" / "data.csv"
    rows = table.read_text().splitlines()
    table.write_text("\n".join([*rows[:-1], rows[-1].replace(rows[-1].split(",")[0], "TCGA_ZZ_0000")]) + "\n")
    assert kinds(check_lgg(data)) == (set(), {"row-missing", "row-without-patient"})
    table.write_bytes(b"\xff\xfe\x00")
    assert kinds(check_lgg(data)) == (set(), {"table-unreadable"})
    table.unlink()
    assert kinds(check_lgg(data)) == (set(), {"table-missing"})


def test_known_digests_are_of_88_different_patients() -> None:
    known = published_lgg()
    assert len(known) == len(set(known.values())) == 88
    assert all(len(digest) == 64 for digest in known.values())


def test_the_published_patients_are_recognised(lgg_real: Path, tmp_path: Path) -> None:
    report = check_lgg(lgg_real)
    assert report.errors == () and report.altered == ()
    facts = report.as_json()
    assert (facts["patients"], facts["slices"], facts["published"]["identical"]) == (88, 3051, 88)
    assert len(report.missing("pre")) == 4 and len(report.missing("post")) == 7
    name = report.patients[0].id
    shutil.copytree(lgg_real / name, tmp_path / "kaggle_3m" / name)
    rewrite(tmp_path / "kaggle_3m" / name / f"{name}_7.tif", lambda pixels: pixels ^ 1)
    assert check_lgg(tmp_path).altered == (name,)


def test_the_exit_code_tells_errors_from_notes(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "check", str(data)]) == 0
    assert "0 errors, 0 notes: fit to train on" in capsys.readouterr().out
    mask(data).unlink()
    assert run(["data", "check", str(data)]) == 1
    out = capsys.readouterr().out
    assert f"{image(data).name} has no mask beside it" in out and "1 error, 0 notes: not fit to train on" in out


def test_json_is_for_programs(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truncate(image(data))
    assert run(["data", "check", str(data), "--json"]) == 1
    facts = json.loads(capsys.readouterr().out)
    assert not facts["ok"]
    assert facts["errors"][0]["kind"] == "unreadable" and facts["errors"][0]["files"] == [str(image(data))]


def test_a_folder_without_such_data_is_the_users_to_mend(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DataError):
        check_lgg(tmp_path)
    assert run(["data", "check", str(tmp_path)]) == 2
    assert run(["data", "check", str(tmp_path / "nowhere")]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("tumorseg: error:") == 2


def test_phantom_and_check_through_the_command(tmp_path: Path) -> None:
    def command(*words: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        return subprocess.run(
            [sys.executable, "-m", "tumorseg", "data", *words], capture_output=True, text=True, env=environment
        )

    folder = tmp_path / "synthetic"
    made = command("phantom", str(folder), "--patients", "3", "--slices", "4", "--seed", "1")
    assert (made.returncode, made.stdout) == (0, f"{folder / 'kaggle_3m'}\n")
    assert command("check", str(folder)).returncode == 0
    again = command("phantom", str(folder), "--patients", "3", "--slices", "4", "--seed", "1")
    assert again.returncode == 2 and again.stderr.startswith("tumorseg: error:") and again.stderr.count("\n") == 1
    assert [path.name for path in folder.iterdir()] == ["kaggle_3m"]


def test_the_figshare_set_is_checked_as_it_lies_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_set(tmp_path)
    write_folds(tmp_path / "cvind.mat", [1, 1, *[2] * 6, *[3] * 4, *[4] * 4, *[5] * 4])
    assert run(["data", "check", str(tmp_path), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["kind"], facts["patients"], facts["slices"], facts["empty_masks"]) == ("figshare", 8, 20, 0)
    assert facts["images"] == {"32 x 32 x 1 int16": 19, "16 x 16 x 1 int16": 1}
    assert {name: counts["slices"] for name, counts in facts["classes"].items()} == {
        "meningioma": 8,
        "glioma": 6,
        "pituitary": 6,
    }
    assert facts["merged_patients"] == ["MR040240"] and facts["folds"] == {"1": 1, "2": 1, "3": 2, "4": 2, "5": 2}
    assert {note["kind"] for note in facts["notes"]} == {"merged", "no-empty-mask", "sizes-vary"}


SPOILT: dict[str, tuple[str, Callable[[Path], object]]] = {
    "a truncated file": ("unreadable", lambda data: truncate(data / "4.mat")),
    "a file without its image": ("unreadable", lambda data: write_slice(data / "4.mat", "113", 1, image=None)),
    "one slice under two patients": ("same-pixels", lambda data: write_slice(data / "4.mat", "113", 1, seed=1)),
    "a number twice": ("number-twice", lambda data: write_slice(data / "again" / "4.mat", "113", 1)),
    "folds that share a patient": ("folds", lambda data: write_folds(data / "cvind.mat", [1, 2] * 3)),
}


@pytest.mark.parametrize("fault", SPOILT)
def test_what_spoils_the_figshare_set_is_an_error(fault: str, tmp_path: Path) -> None:
    kind, harm = SPOILT[fault]
    write_set(tmp_path, 6)
    harm(tmp_path)
    report = check_data(tmp_path)
    assert [finding.kind for finding in report.errors] == [kind]


def own_set(folder: Path) -> Path:
    """Pairs in a folder of one's own: two patients of two slices, the second slice without tumour."""
    for patient in ("p", "q"):
        for number in (1, 2):
            pixels = np.random.default_rng([number, ord(patient)]).integers(0, 255, (24, 24), dtype=np.uint8)
            stem = folder / f"{patient}_{number}"
            cv2.imwrite(f"{stem}.png", pixels)
            cv2.imwrite(f"{stem}_mask.png", np.eye(24, dtype=np.uint8) * (255 if number == 1 else 0))
    return folder


def test_a_folder_of_ones_own_is_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = check_data(own_set(tmp_path))
    facts = report.as_json()
    assert (facts["kind"], facts["patients"], facts["scans"], facts["slices"]) == ("folder", 2, 2, 4)
    assert facts["classes"] == {"tumour": {"slices": 2, "patients": 2}} and facts["empty_masks"] == 2
    assert report.errors == () and {finding.kind for finding in report.notes} == {"assumed", "few-patients"}
    assert run(["data", "check", str(tmp_path)]) == 0
    assert "pairs of images and masks" in capsys.readouterr().out


OWN_FAULTS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "a missing mask": ("mask-missing", lambda data: (data / "p_1_mask.png").unlink()),
    "a missing image": ("image-missing", lambda data: (data / "p_1.png").unlink()),
    "a truncated mask": ("unreadable", lambda data: truncate(data / "p_1_mask.png")),
    "a truncated image": ("unreadable", lambda data: truncate(data / "p_1.png")),
    "a mask of another size": (
        "size-mismatch",
        lambda data: cv2.imwrite(str(data / "p_1_mask.png"), np.eye(12, dtype=np.uint8)),
    ),
    "a grey mask": (
        "unfit",
        lambda data: cv2.imwrite(str(data / "p_1_mask.png"), np.arange(576, dtype=np.uint8).reshape(24, 24)),
    ),
    "one picture under two patients": ("same-pixels", lambda data: shutil.copy(data / "p_1.png", data / "q_1.png")),
    "no tumour": (
        "no-tumour-at-all",
        lambda data: [shutil.copy(data / "p_2_mask.png", data / f"{name}_1_mask.png") for name in "pq"],
    ),
}


@pytest.mark.parametrize("fault", OWN_FAULTS)
def test_what_spoils_a_folder_of_ones_own_is_an_error(fault: str, tmp_path: Path) -> None:
    kind, harm = OWN_FAULTS[fault]
    harm(own_set(tmp_path))
    assert [finding.kind for finding in check_data(tmp_path).errors] == [kind]


def test_patients_whom_nobody_named_are_a_note(tmp_path: Path) -> None:
    own_set(tmp_path)
    for path in sorted(tmp_path.iterdir()):
        path.rename(tmp_path / path.name.replace("_1", "a").replace("_2", "b"))
    assert "patients-unknown" in {finding.kind for finding in check_data(tmp_path).notes}


def test_the_published_figshare_slices_are_counted(figshare_real: Path) -> None:
    with open(Path(os.environ["TUMORSEG_TEST_DATA"]) / "figshare" / "slices.csv", newline="") as file:
        rows = list(csv.DictReader(file))[:400]
    report = check_data(figshare_real)
    facts = report.as_json()
    assert report.errors == () and facts["slices"] == 400
    assert facts["patients"] == len({row["patient_group"] for row in rows})
    counts = [sum(row["label"] == label for row in rows) for label in "123"]
    assert [entry["slices"] for entry in facts["classes"].values()] == counts
