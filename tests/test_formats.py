"""TIFF files: what is read, what is refused and how, and that masks come back as they were written."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from tumorseg.errors import FormatError, OutputError, ShapeMismatch
from tumorseg.formats import find_format, split_name
from tumorseg.formats.tiff import read_header, read_mask_tiff, read_pages, read_tiff, write_mask_tiff

RGB = np.random.default_rng(0).integers(0, 255, (40, 48, 3), dtype=np.uint8)


def written(path: Path, pixels: np.ndarray, **options: object) -> Path:
    tifffile.imwrite(path, pixels, **options)
    return path


@pytest.mark.parametrize("compression", [1, 5, 8, 32_773], ids=["none", "LZW", "deflate", "PackBits"])
def test_a_slice_is_read_as_it_was_stored(tmp_path: Path, compression: int) -> None:
    path = tmp_path / "x.tif"
    assert cv2.imwrite(str(path), RGB[..., ::-1], [cv2.IMWRITE_TIFF_COMPRESSION, compression])
    assert np.array_equal(read_tiff(path), RGB)
    assert read_header(path).shape == (1, 40, 48, 3)


def test_planes_stored_one_after_the_other_come_out_with_channels_last(tmp_path: Path) -> None:
    path = written(tmp_path / "x.tif", np.moveaxis(RGB, -1, 0), photometric="rgb", planarconfig="separate")
    assert np.array_equal(read_tiff(path), RGB)
    assert np.array_equal(read_pages(path)[0], RGB)


def test_white_is_zero_is_turned_round(tmp_path: Path) -> None:
    path = written(tmp_path / "x.tif", RGB[..., 0], photometric="miniswhite")
    assert np.array_equal(read_tiff(path), 255 - RGB[..., 0])


def test_pages_are_slices(tmp_path: Path) -> None:
    stack = np.stack([RGB, RGB[::-1], RGB // 2])
    path = written(tmp_path / "x.tif", stack, photometric="rgb")
    assert np.array_equal(read_pages(path), stack)
    with pytest.raises(FormatError, match="3 pages"):
        read_tiff(path)


def test_deep_values_keep_their_type(tmp_path: Path) -> None:
    deep = np.arange(64, dtype=np.uint16).reshape(8, 8) * 900
    path = written(tmp_path / "x.tif", deep)
    assert read_header(path).dtype == np.uint16
    assert np.array_equal(read_tiff(path), deep)


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.99])
def test_a_truncated_file_is_an_error_that_names_it(tmp_path: Path, share: float, compression: str | None) -> None:
    path = written(tmp_path / "cut.tif", RGB, photometric="rgb", compression=compression)
    whole = path.read_bytes()
    path.write_bytes(whole[: max(1, int(len(whole) * share))])
    with pytest.raises(FormatError, match=r"cut\.tif"):
        read_tiff(path)
    with pytest.raises(FormatError, match=r"cut\.tif"):
        read_pages(path)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=8))
def test_damaged_bytes_give_pixels_or_a_format_error_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]]
) -> None:
    path = written(tmp_path_factory.getbasetemp() / "damaged.tif", RGB[:8, :8], photometric="rgb", compression="zlib")
    content = bytearray(path.read_bytes())
    for place, value in changes:
        content[place % len(content)] = value
    path.write_bytes(content)
    try:
        assert read_pages(path).ndim == 4
    except FormatError as error:
        assert "damaged.tif" in str(error)


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "0 bytes"), (b"not a picture", "not a TIFF"), (b"II*\0\0\0\0\0", "x.tif")]
)
def test_what_is_no_tiff_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.tif"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=message):
        read_tiff(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="does not exist"):
        read_tiff(tmp_path / "none.tif")
    with pytest.raises(FormatError, match="not a regular file"):
        read_tiff(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.tif")
    with pytest.raises(FormatError, match="not a regular file"):
        read_tiff(tmp_path / "x.tif")


def test_a_picture_that_calls_itself_huge_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.tif"
    with tifffile.TiffWriter(path) as writer:
        row = np.zeros((1, 64), np.uint8)
        writer.write(row, photometric="minisblack", compression="zlib")
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[0].tags["ImageWidth"].overwrite(30_000)
        file.pages[0].tags["ImageLength"].overwrite(30_000)
    with pytest.raises(FormatError, match="30000 x 30000"):
        read_tiff(path)


def test_a_colour_table_is_refused(tmp_path: Path) -> None:
    table = np.zeros((3, 256), np.uint16)
    path = written(tmp_path / "x.tif", RGB[..., 0], photometric="palette", colormap=table)
    with pytest.raises(FormatError, match="colour table"):
        read_tiff(path)


@settings(deadline=None)
@given(st.integers(1, 3), st.integers(1, 20), st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_a_mask_comes_back_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, slices: int, height: int, width: int, seed: int
) -> None:
    mask = np.random.default_rng(seed).integers(0, 2, (slices, height, width), dtype=np.uint8)
    path = tmp_path_factory.getbasetemp() / "round" / "x_mask.tif"
    write_mask_tiff(path, mask)
    assert np.array_equal(read_mask_tiff(path), mask)
    assert set(np.unique(read_pages(path))) <= {0, 255}


def test_a_mask_of_one_slice_is_a_plain_picture(tmp_path: Path) -> None:
    mask = np.zeros((30, 20), np.uint8)
    mask[3, 4] = 1
    write_mask_tiff(tmp_path / "x_mask.tif", mask)
    stored = read_tiff(tmp_path / "x_mask.tif")
    assert stored.dtype == np.uint8
    assert np.array_equal(stored, mask * 255)


def test_several_classes_keep_their_index(tmp_path: Path) -> None:
    mask = np.array([[0, 1], [2, 3]], np.uint8)
    write_mask_tiff(tmp_path / "x_mask.tif", mask, classes=3)
    assert np.array_equal(read_tiff(tmp_path / "x_mask.tif"), mask)


def test_a_mask_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot write"):
        write_mask_tiff(tmp_path / "file" / "x_mask.tif", np.zeros((4, 4), np.uint8))
    with pytest.raises(ShapeMismatch):
        write_mask_tiff(tmp_path / "x_mask.tif", np.zeros(4, np.uint8))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_grey_masks_and_masks_of_several_channels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="grey values"):
        read_mask_tiff(written(tmp_path / "grey.tif", RGB[..., 0]))
    with pytest.raises(FormatError, match="3 channels"):
        read_mask_tiff(written(tmp_path / "rgb.tif", RGB, photometric="rgb"))


def test_formats_are_found_by_suffix_in_any_case() -> None:
    assert find_format(Path("a/X.TIF")) is find_format(Path("x.tiff"))
    assert find_format(Path("x.txt")) is None
    assert split_name(Path("a/x_3.TIFF")) == ("x_3", ".TIFF")
    with pytest.raises(FormatError, match="no format that is read"):
        split_name(Path("x.txt"))
