"""PNG and JPEG: what is read, what is refused and how, and that masks come back as they were written."""

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tumorseg.errors import FormatError, ShapeMismatch
from tumorseg.formats import find_format
from tumorseg.formats.jpeg import read_jpeg, read_labels_jpeg
from tumorseg.formats.png import read_header, read_labels_png, read_mask_png, read_png, write_mask_png
from tumorseg.inference.inputs import find_inputs

RGB = np.random.default_rng(0).integers(0, 255, (40, 48, 3), dtype=np.uint8)


def written(path: Path, pixels: np.ndarray) -> Path:
    """Channels are given as RGB."""
    assert cv2.imwrite(str(path), pixels[..., ::-1] if pixels.ndim == 3 and pixels.shape[-1] == 3 else pixels)
    return path


def chunk(name: bytes, content: bytes) -> bytes:
    """One piece of a PNG."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def plain_png(path: Path, rows: list[bytes], width: int, depth: int, kind: int, table: bytes = b"") -> Path:
    """A PNG of a kind that OpenCV does not write; `rows` are packed as its depth asks."""
    header = struct.pack(">IIBBBBB", width, len(rows), depth, kind, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    pieces = [chunk(b"IHDR", header), chunk(b"PLTE", table) if table else b"", chunk(b"IDAT", pixels)]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(pieces) + chunk(b"IEND", b""))
    return path


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("grey", [True, False])
def test_a_png_is_read_as_it_was_stored(tmp_path: Path, dtype: type, grey: bool) -> None:
    pixels = RGB.astype(dtype) * (1 if dtype == np.uint8 else 200)
    pixels = pixels[..., :1] if grey else pixels
    path = written(tmp_path / "x.png", pixels)
    np.testing.assert_array_equal(read_png(path)[0], pixels)
    assert read_png(path).dtype == dtype
    assert read_header(path).shape == (1, *pixels.shape) and read_header(path).dtype == dtype


def test_an_opaque_alpha_channel_is_dropped_and_a_transparent_one_refused(tmp_path: Path) -> None:
    alpha = np.full(RGB.shape[:2], 255, np.uint8)
    path = written(tmp_path / "x.png", np.dstack([RGB[..., ::-1], alpha]))
    np.testing.assert_array_equal(read_png(path)[0], RGB)
    assert read_header(path).channels == 3
    alpha[0, 0] = 3
    written(path, np.dstack([RGB, alpha]))
    with pytest.raises(FormatError, match="transparent"):
        read_png(path)


def test_a_colour_table_is_expanded(tmp_path: Path) -> None:
    path = plain_png(tmp_path / "x.png", [bytes([0, 1]), bytes([1, 0])], 2, 8, 3, bytes([9, 8, 7, 1, 2, 3]))
    np.testing.assert_array_equal(read_png(path)[0], [[[9, 8, 7], [1, 2, 3]], [[1, 2, 3], [9, 8, 7]]])
    with pytest.raises(FormatError, match="3 channels"):
        read_labels_png(path)


def test_masks_of_few_bits_keep_their_class_numbers(tmp_path: Path) -> None:
    assert read_labels_png(plain_png(tmp_path / "two.png", [bytes([0b00011011])], 4, 2, 0)).tolist() == [[[0, 1, 2, 3]]]
    assert read_mask_png(plain_png(tmp_path / "one.png", [bytes([0b01100000])], 4, 1, 0)).tolist() == [[[0, 1, 1, 0]]]


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.99])
def test_a_truncated_picture_is_an_error_that_names_it(tmp_path: Path, suffix: str, share: float) -> None:
    path = written(tmp_path / f"cut{suffix}", RGB)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    kind = find_format(path)
    assert kind is not None
    with pytest.raises(FormatError, match="cut"):
        kind.read(path)


def test_a_flipped_bit_in_a_png_is_noticed(tmp_path: Path) -> None:
    path = written(tmp_path / "x.png", RGB)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(FormatError, match="damaged"):
        read_png(path)


def test_a_png_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = written(tmp_path / "bomb.png", RGB)
    content = bytearray(path.read_bytes())
    content[16:24] = struct.pack(">II", 60_000, 60_000)
    path.write_bytes(content)
    for read in (read_header, read_png):
        with pytest.raises(FormatError, match="60000 x 60000"):
            read(path)


def test_a_jpeg_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = written(tmp_path / "bomb.jpg", RGB)
    content = bytearray(path.read_bytes())
    place = content.index(b"\xff\xc0") + 5
    content[place : place + 4] = struct.pack(">HH", 60_000, 60_000)
    path.write_bytes(content)
    with pytest.raises(FormatError, match="60000 x 60000"):
        read_jpeg(path)


@pytest.mark.parametrize("suffix", [".png", ".jpeg"])
def test_what_only_calls_itself_a_picture_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_text("not a picture at all")
    kind = find_format(path)
    assert kind is not None
    for read in (kind.header, kind.read, kind.read_labels):
        with pytest.raises(FormatError, match="is not a"):
            read(path)


def test_a_jpeg_is_read_in_its_colours(tmp_path: Path) -> None:
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 200
    pixels = read_jpeg(written(tmp_path / "x.jpg", red))
    assert pixels.shape == (1, 16, 16, 3) and pixels.dtype == np.uint8
    assert pixels[..., 0].min() > 180 and pixels[..., 1:].max() < 30
    grey = read_jpeg(written(tmp_path / "grey.jpg", RGB[..., 0]))
    assert grey.shape == (1, 40, 48, 1)


def test_the_blurred_edge_of_a_jpeg_mask_is_grey(tmp_path: Path) -> None:
    disc = cv2.circle(np.zeros((64, 64), np.uint8), (30, 30), 13, 255, -1)
    path = written(tmp_path / "x_mask.jpg", disc)
    assert len(np.unique(read_labels_jpeg(path))) > 2
    kind = find_format(path)
    assert kind is not None and kind.write_mask is None
    with pytest.raises(FormatError, match="grey values"):
        kind.read_mask(path)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_a_png_mask_comes_back_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, height: int, width: int, classes: int, seed: int
) -> None:
    mask = np.random.default_rng(seed).integers(0, classes + 1, (1, height, width), dtype=np.uint8)
    path = tmp_path_factory.getbasetemp() / "round" / "x_mask.png"
    write_mask_png(path, mask, classes=classes)
    read = read_mask_png if classes == 1 else read_labels_png
    np.testing.assert_array_equal(read(path), mask)


def test_a_png_holds_one_slice(tmp_path: Path) -> None:
    with pytest.raises(ShapeMismatch, match="one slice"):
        write_mask_png(tmp_path / "x_mask.png", np.zeros((2, 4, 4), np.uint8))
    assert not list(tmp_path.iterdir())


def test_a_jpeg_is_an_input_whose_mask_is_a_png(tmp_path: Path) -> None:
    (scan,) = find_inputs([written(tmp_path / "x.jpg", RGB)]).scans
    assert [target.name for target in scan.targets] == ["x_mask.png"]
    written(tmp_path / "x.png", RGB)
    targets = {target.name for scan in find_inputs([tmp_path]).scans for target in scan.targets}
    assert targets == {"x_jpg_mask.png", "x_png_mask.png"}
