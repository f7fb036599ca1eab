"""`tumorseg segment` on every format: each mask in its format, at its place, on its voxels; and on what is broken."""

import json
import os
import stat
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tifffile

from segmenting import (
    COLUMNS,
    ROWS,
    SIZE,
    Answer,
    expected,
    marked,
    read_nifti,
    segment,
    tree,
    write_dicom,
    write_nifti,
    write_pictures,
)
from tiny_model import write_model
from tumorseg.formats.dicom_seg import read_segmentation
from tumorseg.formats.matlab_mask import read_mask_matlab
from tumorseg.formats.nifti import read_labels_nifti
from tumorseg.formats.png import read_mask_png
from tumorseg.formats.tiff import read_mask_tiff
from tumorseg.inference.measure import largest_diameter, measure
from tumorseg.inference.model import read_model
from tumorseg.inference.position import side
from tumorseg.inference.predictor import Predictor
from tumorseg.inference.segment_file import save_segmentation, segment_path
from tumorseg.scan import Geometry

SUMMARY = ["summary.csv", "summary.json"]
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("run") / "model")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def entries(out: Path) -> dict[str, dict]:
    return {entry["id"]: entry for entry in json.loads((out / "summary.json").read_text())["scans"]}


# --- every format, in and out ---


def test_every_picture_format_gets_its_mask_in_that_format(
    tmp_path: Path, out: Path, model: Path, capsys: Capture
) -> None:
    write_pictures(tmp_path / "in")
    done = segment(capsys, tmp_path / "in", "--output", out, "--model", model)
    assert done.code == 0, done.err
    names = ["deep_mask.tif", "m_mask.mat", "n_mask.npy", "p_mask.png", "pages_mask.tif", "photo_mask.png"]
    assert tree(out) == [*names, *SUMMARY]
    assert np.array_equal(read_mask_tiff(out / "deep_mask.tif") != 0, expected(1))
    assert np.array_equal(read_mask_tiff(out / "pages_mask.tif") != 0, expected(4))
    assert np.array_equal(read_mask_png(out / "p_mask.png") != 0, expected(1))
    assert np.array_equal(read_mask_matlab(out / "m_mask.mat") != 0, expected(1))
    assert np.array_equal(np.load(out / "n_mask.npy") != 0, expected(4))
    again = segment(capsys, tmp_path / "in", "--output", out, "--model", model, "--resume")
    assert again.code == 0
    assert {entry["status"] for entry in entries(out).values()} == {"kept"}


def test_nifti_keeps_its_grid_and_gets_millilitres(tmp_path: Path, out: Path, model: Path, capsys: Capture) -> None:
    path = write_nifti(tmp_path / "head.nii.gz", marked())
    done = segment(capsys, path, "--output", out, "--model", model)
    assert done.code == 0, done.err
    assert tree(out) == ["head_mask.nii.gz", *SUMMARY]
    assert np.array_equal(read_nifti(out / "head_mask.nii.gz") != 0, expected())
    numbers = entries(out)["head"]["measurements"]
    assert numbers["tumour_voxels"] == expected().sum()
    assert numbers["tumour_ml"] == pytest.approx(expected().sum() * 4 / 1000)
    assert entries(out)["head"]["slice_mm2"][1] == 240
    assert numbers["centroid_slice"] == 1.5
    assert "only channel" in done.err


def test_a_dicom_series_is_one_scan_sorted_by_place_and_gives_a_dicom_seg(
    tmp_path: Path, out: Path, model: Path, capsys: Capture
) -> None:
    files = write_dicom(tmp_path / "in" / "series", marked())
    done = segment(capsys, tmp_path / "in", "--output", out, "--model", model)
    assert done.code == 0, done.err
    assert tree(out) == ["series_mask.dcm", *SUMMARY]
    assert np.array_equal(read_segmentation(out / "series_mask.dcm", files) != 0, expected())
    again = segment(capsys, tmp_path / "in", "--output", out, "--model", model, "--resume")
    assert again.code == 0
    assert entries(out)["series"]["status"] == "kept"


def test_a_series_named_by_its_folder_or_its_files_is_called_by_the_folder(
    tmp_path: Path, out: Path, model: Path, capsys: Capture
) -> None:
    files = write_dicom(tmp_path / "T1", marked(), names=["d", "c", "b", "a"])
    assert segment(capsys, tmp_path / "T1", "--output", out, "--model", model).code == 0
    assert segment(capsys, *files, "--output", tmp_path / "other", "--model", model).code == 0
    assert segment(capsys, files[1], "--output", tmp_path / "lone", "--model", model).code == 0
    assert tree(out) == tree(tmp_path / "other") == ["T1_mask.dcm", *SUMMARY]
    assert tree(tmp_path / "lone") == ["c_mask.dcm", *SUMMARY]


def test_two_series_in_one_folder_are_two_scans(tmp_path: Path, out: Path, model: Path, capsys: Capture) -> None:
    write_dicom(tmp_path / "in", marked(), names=list("abcd"), description="FLAIR 3D")
    write_dicom(tmp_path / "in", marked(2), names=list("ef"), description="T1")
    (tmp_path / "in" / "notes").write_text("no DICOM")
    done = segment(capsys, tmp_path / "in", "--output", out, "--model", model)
    assert done.code == 0, done.err
    assert tree(out) == ["in_FLAIR-3D_mask.dcm", "in_T1_mask.dcm", *SUMMARY]


def test_a_zip_is_a_folder_of_its_name(tmp_path: Path, out: Path, model: Path, capsys: Capture) -> None:
    write_dicom(tmp_path / "made" / "series", marked())
    write_nifti(tmp_path / "made" / "x.nii", marked())
    with zipfile.ZipFile(tmp_path / "case.zip", "w") as archive:
        for path in sorted((tmp_path / "made").rglob("*.*")):
            archive.write(path, path.relative_to(tmp_path / "made"))
    done = segment(capsys, tmp_path / "case.zip", "--output", out, "--model", model)
    assert done.code == 0, done.err
    assert tree(out) == ["case/series_mask.dcm", "case/x_mask.nii", *SUMMARY]
    sources = entries(out)["case/x"]["sources"]
    assert sources == [str(tmp_path / "case.zip" / "x.nii")]


def test_masks_come_in_the_format_that_is_asked_for(tmp_path: Path, out: Path, model: Path, capsys: Capture) -> None:
    write_dicom(tmp_path / "in" / "series", marked())
    for index, frame in enumerate(marked(4, bright=200, dtype=np.uint8), start=1):
        tifffile.imwrite(tmp_path / "in" / f"x_{index}.tif", frame)
    done = segment(capsys, tmp_path / "in", "--output", out, "--model", model, "--format", "nifti")
    assert done.code == 0, done.err
    assert tree(out) == ["series_mask.nii.gz", *SUMMARY, "x_mask.nii.gz"]
    assert np.array_equal(read_labels_nifti(out / "x_mask.nii.gz") != 0, expected())
    assert np.array_equal(read_nifti(out / "series_mask.nii.gz") != 0, expected())
    options = ("--format", "png", "--overlay", "--contours")
    pictures = tmp_path / "pictures"
    assert segment(capsys, tmp_path / "in", "--output", pictures, "--model", model, *options).code == 0
    numbers = range(1, 5)
    assert tree(pictures) == sorted(
        [f"series_mask/{number}.png" for number in numbers]
        + [f"series_overlay/{number}.png" for number in numbers]
        + [f"x_{number}_{kind}.png" for number in numbers for kind in ("mask", "overlay")]
        + ["series_contours.json", "x_contours.json", *SUMMARY]
    )
    assert np.array_equal(read_mask_png(pictures / "series_mask" / "2.png")[0] != 0, expected()[1])
    refused = segment(capsys, tmp_path / "in", "--output", pictures, "--model", model, *options)
    assert refused.code == 2
    assert "exist already" in refused.err
    assert segment(capsys, tmp_path / "in", "--output", pictures, "--model", model, *options, "--resume").code == 0
    assert {entry["status"] for entry in entries(pictures).values()} == {"kept"}
    assert segment(capsys, tmp_path / "in", "--output", pictures, "--model", model, *options, "--overwrite").code == 0


def test_dicom_seg_of_what_is_no_dicom_is_refused_at_once(
    tmp_path: Path, out: Path, model: Path, capsys: Capture
) -> None:
    path = write_nifti(tmp_path / "x.nii", marked())
    done = segment(capsys, path, "--output", out, "--model", model, "--format", "dicom-seg")
    assert done.code == 2
    assert "DICOM" in done.err
    assert not out.exists()


def test_outlines_are_where_the_marker_is_in_pixels_and_in_the_world(
    tmp_path: Path, out: Path, model: Path, capsys: Capture
) -> None:
    path = write_nifti(tmp_path / "x.nii.gz", marked())
    assert segment(capsys, path, "--output", out, "--model", model, "--contours").code == 0
    told = json.loads((out / "x_contours.json").read_text())
    assert [entry["slice"] for entry in told["slices"]] == [1, 2]
    (contour,) = told["slices"][0]["contours"]
    corners = {tuple(point) for point in contour["pixels"]}
    left, right, top, bottom = COLUMNS.start - 0.5, COLUMNS.stop - 0.5, ROWS.start - 0.5, ROWS.stop - 0.5
    assert corners == {(left, top), (right, top), (right, bottom), (left, bottom)}
    assert {tuple(point) for point in contour["world"]} == {(-x, -y, 4.0) for x, y in corners}


# --- sequences ---


def test_files_of_one_scan_are_joined_by_what_their_names_look_like(
    tmp_path: Path, out: Path, model: Path, capsys: Capture
) -> None:
    for case in ("a", "b"):
        write_nifti(tmp_path / "in" / f"{case}_flair.nii.gz", marked())
        write_nifti(tmp_path / "in" / f"{case}_t1ce.nii.gz", marked(bright=20))
        write_nifti(tmp_path / "in" / f"{case}_t2.nii.gz", marked())
    words = ("--channels", "flair=*_flair.nii.gz", "post=*_t1ce.nii.gz")
    done = segment(capsys, tmp_path / "in", *words, "--output", out, "--model", model)
    assert done.code == 0, done.err
    assert tree(out) == ["a_flair_mask.nii.gz", "b_flair_mask.nii.gz", *SUMMARY]
    assert np.array_equal(read_nifti(out / "a_flair_mask.nii.gz") != 0, expected())
    assert "2 files" in done.err
    assert "pre-contrast missing, replaced by FLAIR" in done.err


def test_files_of_one_scan_may_be_named(tmp_path: Path, out: Path, model: Path, capsys: Capture) -> None:
    flair = write_nifti(tmp_path / "f.nii.gz", marked())
    post = write_nifti(tmp_path / "t1c.nii.gz", marked(bright=20))
    words = ("--channels", f"post={post}", f"flair={flair}")
    done = segment(capsys, *words, "--output", out, "--model", model)
    assert done.code == 0, done.err
    assert tree(out) == ["f_mask.nii.gz", *SUMMARY]
    assert np.array_equal(read_nifti(out / "f_mask.nii.gz") != 0, expected())
    other = write_nifti(tmp_path / "small.nii.gz", marked(3))
    bad = segment(capsys, "--channels", f"flair={flair}", f"post={other}", "--output", out / "2", "--model", model)
    assert bad.code == 2
    assert "small.nii.gz" in bad.err
    assert not (out / "2").exists()


def test_channels_of_one_file_may_be_named_by_their_index(
    tmp_path: Path, out: Path, model: Path, capsys: Capture
) -> None:
    other = marked(bright=11)
    path = write_nifti(tmp_path / "x.nii.gz", np.stack([other, other, other, marked()], axis=-1))
    unnamed = segment(capsys, path, "--output", out, "--model", model)
    assert unnamed.code == 2
    assert "4 unnamed channels" in unnamed.err
    assert "--channels" in unnamed.err
    assert not out.exists()
    done = segment(capsys, path, "--channels", "flair=3", "pre=0", "--output", out, "--model", model)
    assert done.code == 0, done.err
    assert np.array_equal(read_labels_nifti(out / "x_mask.nii.gz") != 0, expected())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["flair"], "NAME=VALUE"),
        (["flair=9"], "no flair=9"),
        (["flair=0", "flair=1"], "twice"),
        (["flair=1", "post=1"], "and to another"),
        (["t9=0"], "does not use"),
        (["post=0"], "name FLAIR as well"),
        (["flair=0", "post=x.nii"], "mixes"),
        (["flair=*_nothing.nii"], "no file in"),
        (["flair=a*b*c.nii"], "one * at most"),
    ],
)
def test_a_wrong_choice_of_channels_is_refused(
    tmp_path: Path, out: Path, model: Path, capsys: Capture, words: list[str], message: str
) -> None:
    path = write_nifti(tmp_path / "x.nii", marked())
    given = [word for pair in words for word in ("--channels", pair)]
    done = segment(capsys, path, *given, "--output", out, "--model", model)
    assert done.code == 2
    assert message in done.err
    assert done.err.count("\n") == 1
    assert not out.exists()


# --- numbers ---


def test_the_diameter_is_the_greatest_width_of_one_area_from_edge_to_edge() -> None:
    frame = np.zeros((20, 30), np.uint8)
    assert largest_diameter(frame) == 0
    frame[3, 4] = 1
    assert largest_diameter(frame) == pytest.approx(1)
    frame[10, 5:15] = 1
    assert largest_diameter(frame) == pytest.approx(10)
    assert largest_diameter(frame, (1.0, 0.5)) == pytest.approx(5)


def test_the_side_is_told_where_a_whole_head_shows() -> None:
    pixels = np.zeros((3, 180, 160, 1), np.uint8)
    pixels[:, 10:170, 5:155] = 100
    mask = np.zeros(pixels.shape[:3], np.uint8)
    mask[1, 60:80, 110:130] = 1
    affine = np.array([[0, 0, -1.0, 90], [0, -1, 0, 80], [5, 0, 0, 0], [0, 0, 0, 1]])
    numbers = measure(mask, geometry=Geometry(affine), pixels=pixels)
    assert side(numbers) == "left"
    assert numbers["left_of_middle_mm"] == pytest.approx(40, abs=1.5)
    assert side(measure(mask[..., ::-1], geometry=Geometry(affine), pixels=pixels)) == "right"
    assert side(measure(mask[:, :, :90], geometry=Geometry(affine), pixels=pixels[:, :, :60])) == ""
    assert side(measure(mask)) == ""


def test_certainty_is_none_at_one_half_and_whole_at_the_ends() -> None:
    mask = np.zeros((1, 30, 30), np.uint8)
    mask[0, 10:20, 10:20] = 1
    undecided = measure(mask, probability=np.full(mask.shape, 0.5, np.float16))
    assert undecided["mean_entropy"] == pytest.approx(1)
    sure = measure(mask, probability=mask.astype(np.float16))
    assert sure["mean_entropy"] == pytest.approx(0, abs=1e-6)
    assert sure["max_probability"] == 1


# --- what is broken ---


def broken(folder: Path) -> dict[str, Path]:
    """Inputs that cannot be segmented, by what is wrong with them."""
    folder.mkdir()
    found: dict[str, Path] = {}

    def add(name: str, content: bytes) -> Path:
        path = folder / name
        path.write_bytes(content)
        found[name] = path
        return path

    whole = write_nifti(folder / "whole.nii.gz", marked()).read_bytes()
    add("truncated.nii.gz", whole[: len(whole) // 2])
    plain = write_nifti(folder / "whole.nii", marked()).read_bytes()
    add("truncated.nii", plain[:-100])
    for suffix in ("tif", "png", "jpg", "mat", "nii", "nii.gz", "dcm", "npy", "npz", "zip"):
        add(f"empty.{suffix}", b"")
        add(f"text.{suffix}", b"This is text, whatever its name says. " * 20)
        add(f"zeros.{suffix}", bytes(3000))
    five = np.zeros((4, 4, 4, 2, 3), np.float32)
    import nibabel as nib

    nib.save(nib.Nifti1Image(five, np.eye(4)), folder / "five.nii")
    found["five.nii"] = folder / "five.nii"
    singular = bytearray(plain)
    singular[252:254] = bytes(2)  # no qform
    singular[312:328] = bytes(16)  # the third row of the sform
    (folder / "singular.nii").write_bytes(singular)
    found["singular.nii"] = folder / "singular.nii"
    unset = marked().astype(np.float32)
    unset[2, 20, 20] = np.nan
    found["nan.nii"] = write_nifti(folder / "nan.nii", unset)
    unset[2, 20, 20] = np.inf
    found["inf.nii"] = write_nifti(folder / "inf.nii", unset)
    tifffile.imwrite(folder / "nan.tif", unset[2])
    found["nan.tif"] = folder / "nan.tif"
    np.save(folder / "objects.npy", np.array([{"a": 1}], object), allow_pickle=True)
    found["objects.npy"] = folder / "objects.npy"
    np.save(folder / "words.npy", np.array([["a", "b"]]))
    found["words.npy"] = folder / "words.npy"
    large = b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little")
    add(
        "huge.npy",
        large + b"{'descr': '|u1', 'fortran_order': False, 'shape': (30000, 30000), }".ljust(117) + b"\n",
    )
    (folder / "series").mkdir()
    write_dicom(folder / "series", marked())
    (lone,) = write_dicom(folder, marked(1), names=["truncated.dcm"])
    add("truncated.dcm", lone.read_bytes()[: lone.stat().st_size // 2])
    found["mixed sizes"] = folder / "sizes"
    write_dicom(folder / "sizes", marked(3), names=list("abc"), series="1.2.3")
    write_dicom(folder / "sizes", marked(1)[:, :20], names=["d"], series="1.2.3")
    found["doubled slice"] = folder / "doubled"
    write_dicom(folder / "doubled", marked(3), names=list("abc"), series="1.2.4")
    write_dicom(folder / "doubled", marked(1), names=["d"], series="1.2.4")
    for name, member in (("dots.zip", "../evil.nii"), ("absolute.zip", "/evil.nii")):
        with zipfile.ZipFile(folder / name, "w") as archive:
            archive.writestr(member, plain)
        found[name] = folder / name
    with zipfile.ZipFile(folder / "link.zip", "w") as archive:
        link = zipfile.ZipInfo("x.nii")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    found["link.zip"] = folder / "link.zip"
    with zipfile.ZipFile(folder / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive, archive.open("x.nii", "w") as file:
        for _ in range(300):
            file.write(bytes(2**20))
    found["bomb.zip"] = folder / "bomb.zip"
    with zipfile.ZipFile(folder / "inner.zip", "w") as archive:
        archive.writestr("again.zip", (folder / "dots.zip").read_bytes())
    found["inner.zip"] = folder / "inner.zip"
    if hasattr(os, "mkfifo"):
        for name in ("pipe.tif", "pipe.nii.gz", "pipe.dcm", "pipe.zip", "pipe"):
            os.mkfifo(folder / name)
            found[name] = folder / name
    if Path("/dev/zero").exists():
        found["/dev/zero"] = Path("/dev/zero")
        (folder / "device.nii").symlink_to("/dev/zero")
        found["device.nii"] = folder / "device.nii"
    return found


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return broken(tmp_path_factory.mktemp("spoilt") / "in")


def test_what_is_broken_ends_in_one_line_and_leaves_nothing(
    tmp_path: Path, spoilt: dict[str, Path], model: Path, capsys: Capture
) -> None:
    wrong: dict[str, Answer] = {}
    assert len(spoilt) > 50
    for name, path in spoilt.items():
        out = tmp_path / f"out{len(wrong)}"
        done = segment(capsys, path, "--output", out, "--model", model)
        one_line = done.err.startswith("tumorseg: error: ") and done.err.count("\n") == 1
        if done.code != 2 or not one_line or str(path) not in done.err or out.exists() or done.out:
            wrong[name] = done
    assert not wrong


def test_what_is_broken_does_not_stop_the_rest(
    out: Path, spoilt: dict[str, Path], model: Path, capsys: Capture
) -> None:
    folder = spoilt["empty.tif"].parent
    done = segment(capsys, folder, "--output", out, "--model", model, "--workers", "3")
    assert done.code == 3
    masks = ["series_mask.dcm", "whole_mask.nii", "whole_mask.nii.gz"]
    assert [name for name in tree(out) if name not in SUMMARY] == masks
    assert not list(folder.parent.rglob("evil.nii"))
    reasons = [failure["reason"] for failure in json.loads((out / "summary.json").read_text())["failures"]]
    assert len(reasons) > 40
    assert not [reason for reason in reasons if "/tumorseg-" in reason]


def test_one_pixel_is_a_scan(tmp_path: Path, out: Path, model: Path, capsys: Capture) -> None:
    tifffile.imwrite(tmp_path / "x.tif", np.full((1, 1), 7, np.uint8))
    assert segment(capsys, tmp_path / "x.tif", "--output", out, "--model", model).code == 0
    assert read_mask_tiff(out / "x_mask.tif").shape == (1, 1, 1)


def test_a_missing_slice_is_said_and_the_series_is_segmented(
    tmp_path: Path, out: Path, model: Path, capsys: Capture
) -> None:
    files = write_dicom(tmp_path / "series", marked(6))
    files[4].unlink()
    done = segment(capsys, tmp_path / "series", "--output", out, "--model", model)
    assert done.code == 0, done.err
    assert "1 slice missing between" in done.err


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may mount a small disk")
def test_a_full_disk_is_said_and_leaves_whole_files_only(tmp_path: Path, model: Path, capsys: Capture) -> None:
    import subprocess

    small = tmp_path / "small"
    small.mkdir()
    options = ["-t", "tmpfs", "-o", "size=16k", "tmpfs", str(small)]
    if subprocess.run(["mount", *options], capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        rng = np.random.default_rng(0)
        for index in range(12):
            noise = rng.integers(0, 255, (150, 150), dtype=np.uint8)
            tifffile.imwrite(tmp_path / f"x{index}n.tif", noise)
        scans = sorted(tmp_path.glob("*.tif"))
        done = segment(capsys, *scans, "--output", small / "out", "--model", model)
        assert done.code == 2
        assert "space" in done.err
        assert done.err.count("\n") == 1
        assert not [name for name in tree(small) if "partial" in name or name.endswith(("csv", "json"))]
        for mask in (small / "out").glob("*_mask.tif"):
            assert read_mask_tiff(mask).shape == (1, 150, 150)
    finally:
        subprocess.run(["umount", str(small)], check=True, capture_output=True)


# --- many at once, and from Python ---


def test_the_answers_do_not_depend_on_the_workers(tmp_path: Path, model: Path, capsys: Capture) -> None:
    for index in range(30):
        frame = marked(1, bright=100 + index, dtype=np.uint8)[0]
        tifffile.imwrite(tmp_path / f"x{index:02d}y.tif", np.roll(frame, index, axis=0))
    scans = sorted(tmp_path.glob("*.tif"))
    for count in ("1", "5"):
        done = segment(capsys, *scans, "--output", tmp_path / count, "--model", model, "--workers", count)
        assert done.code == 0
    for name in tree(tmp_path / "1"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "5" / name).read_bytes()
    assert list(entries(tmp_path / "1")) == sorted(entries(tmp_path / "1"))


def test_a_path_becomes_a_segmentation_that_saves_itself(tmp_path: Path, model: Path) -> None:
    predictor = Predictor(read_model(model))
    with zipfile.ZipFile(tmp_path / "case.zip", "w") as archive:
        for path in write_dicom(tmp_path / "series", marked()):
            archive.write(path, path.name)
    answer = segment_path(tmp_path / "case.zip", predictor)
    assert np.array_equal(answer.mask != 0, expected())
    assert any("FLAIR" in warning for warning in answer.warnings)
    save_segmentation(answer, tmp_path / "a.dcm")
    assert read_segmentation(tmp_path / "a.dcm").shape[1:] == (SIZE, SIZE)
    for name in ("a.nii.gz", "a.tif", "a.npy", "a.json"):
        assert save_segmentation(answer, tmp_path / name).is_file()
    assert np.array_equal(read_nifti(tmp_path / "a.nii.gz") != 0, expected())
    assert np.array_equal(np.load(tmp_path / "a.npy") != 0, expected())
    assert len(tree(save_segmentation(answer, tmp_path / "a.png"))) == 4
    three = np.stack([marked(bright=11), marked(), marked(bright=12)], axis=-1)
    path = write_nifti(tmp_path / "x.nii.gz", three)
    assert np.array_equal(segment_path(path, predictor, {"flair": 1}).mask != 0, expected())
