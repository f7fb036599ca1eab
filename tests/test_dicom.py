"""DICOM: files become a volume by where they lie, never by name; what is no such volume is refused."""

import os
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, RLELossless

from dicom_files import AXIAL, mr_dataset, place, save, write_enhanced, write_series
from tumorseg.errors import FormatError, ShapeMismatch, UnsafeArchive
from tumorseg.formats.dicom import find_series, is_dicom, read_header, read_volume, unpack_series
from tumorseg.formats.dicom_pixels import coded_size

VOLUME = np.arange(5 * 6 * 7, dtype=np.int16).reshape(5, 6, 7)


def test_slices_are_sorted_by_where_they_lie_not_by_name(tmp_path: Path) -> None:
    paths = write_series(tmp_path, VOLUME, spacing=(0.5, 0.75))
    volume = read_volume(sorted(paths))
    assert np.array_equal(volume.pixels[..., 0], VOLUME)
    assert volume.sources == tuple(paths)
    assert volume.geometry is not None and volume.geometry.spacing == (3, 0.5, 0.75)
    assert volume.description == "FLAIR" and volume.warnings == () and volume.channel_names is None
    assert volume.geometry.frame_of_reference == str(pydicom.dcmread(paths[0]).FrameOfReferenceUID)


@settings(max_examples=10)
@given(
    st.sampled_from([(a, b, s, t) for a in range(3) for b in range(3) if a != b for s in (1, -1) for t in (1, -1)]),
    st.floats(0.3, 3),
    st.floats(0.3, 6),
    st.tuples(st.integers(0, 4), st.integers(0, 5), st.integers(0, 6)),
)
def test_a_marker_lies_where_the_attributes_of_its_slice_say(
    tmp_path_factory: pytest.TempPathFactory,
    plane: tuple[int, int, int, int],
    spacing: float,
    gap: float,
    voxel: tuple[int, int, int],
) -> None:
    orientation = np.zeros(6)
    orientation[plane[0]], orientation[3 + plane[1]] = plane[2:]
    stored = np.zeros((5, 6, 7), np.uint16)
    stored[voxel] = 1
    paths = write_series(
        tmp_path_factory.mktemp("series"), stored, orientation=orientation, spacing=(spacing, 2 * spacing), gap=gap
    )
    one = pydicom.dcmread(paths[voxel[0]])
    expected = (
        np.array(one.ImagePositionPatient)
        + voxel[2] * 2 * spacing * orientation[:3]
        + voxel[1] * spacing * orientation[3:]
    ) * [-1, -1, 1]
    volume = read_volume(paths)
    assert volume.geometry is not None
    found = volume.geometry.affine @ [*np.argwhere(volume.pixels[..., 0])[0], 1]
    assert np.allclose(found[:3], expected, atol=1e-3)


def test_a_missing_slice_is_said_with_its_place(tmp_path: Path) -> None:
    paths = write_series(tmp_path, VOLUME)
    volume = read_volume([path for path in paths if path != paths[2]])
    assert any(
        "1 slice missing" in warning and paths[1].name in warning and paths[3].name in warning
        for warning in volume.warnings
    )
    assert volume.geometry is not None and volume.geometry.spacing[0] == 3


def test_uneven_slices_are_said(tmp_path: Path) -> None:
    paths = write_series(tmp_path, VOLUME)
    moved = pydicom.dcmread(paths[4])
    moved.ImagePositionPatient[2] += 1
    save(moved, paths[4])
    assert any("unevenly spaced" in warning for warning in read_volume(paths).warnings)


def test_a_copy_of_a_slice_is_left_out_and_another_in_its_place_is_an_error(tmp_path: Path) -> None:
    paths = write_series(tmp_path, VOLUME)
    copy = tmp_path / "copy.dcm"
    copy.write_bytes(paths[1].read_bytes())
    volume = read_volume([*paths, copy])
    assert len(volume.pixels) == 5 and any("twice" in warning for warning in volume.warnings)
    other = place(mr_dataset(VOLUME[0]), pydicom.dcmread(paths[1]).ImagePositionPatient)
    with pytest.raises(FormatError, match="same place"):
        read_volume([*paths, save(other, tmp_path / "echo.dcm")])


def test_a_foreign_slice_is_an_error_that_names_it(tmp_path: Path) -> None:
    paths = write_series(tmp_path, VOLUME)
    localiser = save(place(mr_dataset(VOLUME[0]), (0, 0, 0), (0, 1, 0, 0, 0, -1)), tmp_path / "localiser.dcm")
    with pytest.raises(FormatError, match=r"localiser\.dcm"):
        read_volume([*paths, localiser])
    beside = save(place(mr_dataset(VOLUME[0]), (90, -20, 20)), tmp_path / "beside.dcm")
    with pytest.raises(FormatError, match=r"beside\.dcm lies beside"):
        read_volume([*paths, beside])
    large = save(place(mr_dataset(np.zeros((9, 9), np.int16)), (0, 0, 99)), tmp_path / "large.dcm")
    with pytest.raises(ShapeMismatch, match="9 x 9"):
        read_volume([*paths, large])
    other = write_series(tmp_path / "other", VOLUME, seed="b")
    with pytest.raises(FormatError, match="another series"):
        read_volume([*paths, other[0]])


def test_white_and_black_are_turned_round_where_the_lowest_number_is_white(tmp_path: Path) -> None:
    frame = VOLUME[0].astype(np.uint16)
    path = save(
        mr_dataset(frame, PhotometricInterpretation="MONOCHROME1", BitsStored=12, HighBit=11), tmp_path / "x.dcm"
    )
    assert np.array_equal(read_volume([path]).pixels[0, ..., 0], 4095 - frame)
    signed = save(mr_dataset(VOLUME[0], PhotometricInterpretation="MONOCHROME1"), tmp_path / "y.dcm")
    assert np.array_equal(read_volume([signed]).pixels[0, ..., 0], -1 - VOLUME[0])


def test_each_slice_is_rescaled_by_its_own_slope(tmp_path: Path) -> None:
    paths = write_series(tmp_path, VOLUME)
    one = pydicom.dcmread(paths[3])
    one.RescaleSlope, one.RescaleIntercept = 2, -5
    save(one, paths[3])
    volume = read_volume(paths)
    assert volume.pixels.dtype == np.float32
    assert np.array_equal(volume.pixels[3, ..., 0], VOLUME[3] * 2.0 - 5)
    assert np.array_equal(volume.pixels[2, ..., 0], VOLUME[2])


def test_frames_of_one_file_are_sorted_and_scaled_by_their_own_groups(tmp_path: Path) -> None:
    path = write_enhanced(tmp_path / "x.dcm", VOLUME, [3, 0, 4, 1, 2])
    volume = read_volume([path])
    heights = np.arange(5).reshape(5, 1, 1)
    assert np.array_equal(volume.pixels[..., 0], VOLUME * 2.0 + heights)
    assert volume.geometry is not None and volume.geometry.spacing == (2, 0.5, 0.75)
    assert read_header(path).shape == (5, 6, 7, 1)


def test_a_picture_that_says_nothing_of_its_place_is_read_with_a_warning(tmp_path: Path) -> None:
    path = save(mr_dataset(VOLUME[0]), tmp_path / "x.dcm")
    volume = read_volume([path])
    assert volume.geometry is None and any("does not say where" in warning for warning in volume.warnings)


def test_other_modalities_are_said(tmp_path: Path) -> None:
    path = save(place(mr_dataset(VOLUME[0], Modality="CT"), (0, 0, 0)), tmp_path / "x.dcm")
    assert any("is CT, not MR" in warning for warning in read_volume([path]).warnings)


@pytest.mark.parametrize(
    "name",
    ["MR_small_RLE.dcm", "MR_small_bigendian.dcm", "MR_small_expb.dcm", "MR_small_implicit.dcm",
     "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm", "MR_small_padded.dcm"],
)  # fmt: skip
def test_every_encoding_gives_the_same_pixels(name: str) -> None:
    plain = read_volume([Path(str(get_testdata_file("MR_small.dcm")))])
    coded = read_volume([Path(str(get_testdata_file(name)))])
    assert np.array_equal(plain.pixels, coded.pixels)
    assert np.ptp(plain.pixels) > 1000


def test_lossy_pictures_of_twelve_bits_are_read() -> None:
    volume = read_volume([Path(str(get_testdata_file("JPGExtended.dcm", download=False)))])
    assert volume.pixels.shape == (1, 1024, 256, 1) and volume.pixels.max() > 255


@pytest.mark.parametrize(
    ("name", "message"),
    [("examples_rgb_color.dcm", "in colour"), ("examples_palette.dcm", "PALETTE"), ("reportsi.dcm", "no pixels"),
     ("MR_truncated.dcm", "truncated"), ("liver_1frame.dcm", "is a segmentation"), ("no_meta.dcm", "not DICOM"),
     ("JPEG2000-embedded-sequence-delimiter.dcm", "a picture in it")],
)  # fmt: skip
def test_what_is_no_grey_image_is_refused_by_name(name: str, message: str) -> None:
    with pytest.raises(FormatError, match=message) as caught:
        read_volume([Path(str(get_testdata_file(name)))])
    assert name in str(caught.value) and "\n" not in str(caught.value)


def test_bad_files_are_refused_in_one_line(tmp_path: Path) -> None:
    whole = save(mr_dataset(VOLUME[0]), tmp_path / "x.dcm").read_bytes()
    cases = {
        "text.dcm": (b"hello" * 100, "not DICOM"),
        "empty.dcm": (b"", "0 bytes"),
        "cut.dcm": (whole[:-20], "truncated"),
        "half.dcm": (whole[:400], "no pixels|damaged"),
        "mark.dcm": (whole[:132], "damaged|no pixels"),
    }
    for name, (content, message) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(FormatError, match=message) as caught:
            read_volume([tmp_path / name])
        assert name in str(caught.value) and "\n" not in str(caught.value)
    os.mkfifo(tmp_path / "pipe.dcm")
    assert not is_dicom(tmp_path / "pipe.dcm")
    with pytest.raises(FormatError, match="not a regular file"):
        read_volume([tmp_path / "pipe.dcm"])


@pytest.mark.parametrize("attributes", [{"Rows": 30_000, "Columns": 30_000}, {"NumberOfFrames": 2_000_000_000}])
def test_a_bomb_is_refused_by_its_attributes(tmp_path: Path, attributes: dict[str, int]) -> None:
    path = save(mr_dataset(VOLUME[0], **attributes), tmp_path / "bomb.dcm")
    with pytest.raises(FormatError, match=r"bomb\.dcm .*(pixels|GiB)"):
        read_volume([path])


def test_a_compressed_picture_larger_than_its_attributes_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    dataset = mr_dataset(np.zeros((64, 64), np.uint16))
    dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
    content = bytearray(cv2.imencode(".jp2", np.zeros((64, 64), np.uint16))[1].tobytes())
    size = content.index(b"\xff\x4f\xff\x51") + 8
    content[size : size + 8] = (30_000).to_bytes(4, "big") * 2
    dataset.PixelData = encapsulate([bytes(content)])
    dataset["PixelData"].VR = "OB"
    with pytest.raises(FormatError, match="30000 x 30000"):
        read_volume([save(dataset, tmp_path / "bomb.dcm")])
    assert coded_size(b"\xff\xd8\xff\xc0\x00\x0b\x08\x00\x10\x00\x20\x01") == (16, 32)
    dataset = mr_dataset(VOLUME[0])
    dataset.compress(RLELossless)
    assert np.array_equal(read_volume([save(dataset, tmp_path / "rle.dcm")]).pixels[0, ..., 0], VOLUME[0])


def test_files_are_grouped_by_series_whatever_they_are_called(tmp_path: Path) -> None:
    first = write_series(tmp_path / "a", VOLUME, seed="a")
    second = write_series(tmp_path / "b", VOLUME, seed="b", SeriesDescription="T1")
    bare = tmp_path / "bare"
    first[0].rename(bare)
    (tmp_path / "text.dcm").write_text("hello")
    assert is_dicom(bare)
    found = find_series([bare, *first[1:], *second, tmp_path / "text.dcm"])
    assert [(len(series.paths), series.description) for series in found.series] == [(5, "FLAIR"), (5, "T1")]
    assert [path.name for path, _ in found.failures] == ["text.dcm"]


def test_a_series_in_a_zip_is_read_and_dangerous_ones_are_refused(tmp_path: Path) -> None:
    paths = write_series(tmp_path / "a", VOLUME)
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for path in paths:
            archive.write(path, f"deep/{path.name}")
        archive.writestr("readme.txt", "hello")
    (tmp_path / "out").mkdir()
    (series,) = unpack_series(tmp_path / "x.zip", tmp_path / "out").series
    assert np.array_equal(read_volume(series.paths).pixels[..., 0], VOLUME)
    assert len(list((tmp_path / "out").iterdir())) == 5
    with zipfile.ZipFile(tmp_path / "up.zip", "w") as archive:
        archive.writestr("../x.dcm", "x")
    with pytest.raises(UnsafeArchive, match="points out"):
        unpack_series(tmp_path / "up.zip", tmp_path / "out")
    with zipfile.ZipFile(tmp_path / "none.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(FormatError, match="no DICOM"):
        unpack_series(tmp_path / "none.zip", tmp_path / "out")


@settings(max_examples=100)
@given(st.lists(st.tuples(st.integers(132, 1200), st.integers(0, 255)), min_size=1, max_size=6))
def test_damaged_bytes_give_pixels_or_a_format_error_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.dcm"
    save(place(mr_dataset(VOLUME[0]), (0, 0, 0), AXIAL), path)
    content = bytearray(path.read_bytes())
    for offset, value in changes:
        content[offset % len(content)] = value
    path.write_bytes(content)
    try:
        assert read_volume([path]).pixels.ndim == 4
    except FormatError as error:
        assert "damaged.dcm" in str(error)


def test_a_real_series_is_read_in_order(scans_real: Path) -> None:
    paths = sorted((scans_real / "dicom" / "T1w").iterdir(), reverse=True)
    volume = read_volume(paths)
    assert volume.pixels.shape == (20, 384, 274, 1) and volume.warnings == ()
    assert volume.sources == tuple(reversed(paths))
    assert volume.geometry is not None and np.allclose(volume.geometry.spacing, (0.66667, 0.66667, 0.69999), atol=1e-4)
