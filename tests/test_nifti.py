"""NIfTI: read in one orientation, written back on the file's own grid, refused where it cannot be trusted."""

import gzip
import os
import struct
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from test_geometry import SHAPE, TURNS, affine_of, tilted
from tumorseg.errors import FormatError, ShapeMismatch
from tumorseg.formats.nifti import read_header, read_labels_nifti, read_mask_like, read_volume, write_mask

VALUES = np.arange(120, dtype=np.int16).reshape(SHAPE)


def written(path: Path, stored: np.ndarray = VALUES, affine: np.ndarray | None = None, **fields: object) -> Path:
    image = nib.Nifti1Image(stored, np.eye(4) if affine is None else affine)
    for name, value in fields.items():
        image.header[name] = value
    if "scl_slope" in fields:  # nibabel scales what it writes itself; these tests choose the stored numbers
        content = bytes(image.header.binaryblock[:348]) + bytes(4) + stored.tobytes(order="F")
        header = bytearray(content)
        struct.pack_into("<fff", header, 108, 352, fields["scl_slope"], fields["scl_inter"])
        content = bytes(header)
    else:
        content = image.to_bytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def patched(path: Path, offset: int, kind: str, *values: object) -> Path:
    content = bytearray(path.read_bytes())
    struct.pack_into(kind, content, offset, *values)
    path.write_bytes(content)
    return path


@settings(max_examples=60)
@given(
    st.sampled_from(TURNS),
    st.tuples(*[st.floats(0.4, 6)] * 3),
    st.floats(-0.5, 0.5),
    st.tuples(*[st.integers(0, length - 1) for length in SHAPE]),
    st.booleans(),
)
def test_a_mask_lies_on_the_voxels_it_was_drawn_on_in_every_orientation(
    tmp_path_factory: pytest.TempPathFactory,
    turn: tuple[tuple[int, ...], tuple[int, ...]],
    spacing: tuple[float, ...],
    angle: float,
    voxel: tuple[int, int, int],
    packed: bool,
) -> None:
    folder = tmp_path_factory.getbasetemp()
    stored = np.zeros(SHAPE, np.uint8)
    stored[voxel] = 200
    affine = tilted(affine_of(*turn, spacing), angle)
    source = written(folder / ("x.nii.gz" if packed else "x.nii"), stored, affine)
    volume = read_volume([source])
    mask = (volume.pixels[..., 0] == 200).astype(np.uint8)
    assert volume.geometry is not None
    assert np.allclose(volume.geometry.affine @ [*np.argwhere(mask)[0], 1], affine @ [*voxel, 1], atol=1e-3)
    write_mask(folder / "x_mask.nii.gz", mask, [source])
    back, own = nib.load(folder / "x_mask.nii.gz"), nib.load(source)
    assert np.array_equal(np.asarray(back.dataobj), (stored > 0).astype(np.uint8))
    assert np.array_equal(back.affine, own.affine)
    assert back.get_data_dtype() == np.uint8
    for field in ("qform_code", "sform_code", "xyzt_units", "quatern_b", "quatern_c", "quatern_d", "pixdim"):
        assert np.array_equal(back.header[field], own.header[field]), field
    assert np.array_equal(read_mask_like(folder / "x_mask.nii.gz", [source]), mask)


def test_one_mask_gives_the_same_bytes_each_time(tmp_path: Path) -> None:
    source = written(tmp_path / "x.nii.gz")
    mask = (read_volume([source]).pixels[..., 0] > 60).astype(np.uint8)
    write_mask(tmp_path / "a_mask.nii.gz", mask, [source])
    write_mask(tmp_path / "b_mask.nii.gz", mask, [source])
    assert (tmp_path / "a_mask.nii.gz").read_bytes() == (tmp_path / "b_mask.nii.gz").read_bytes()


def test_what_a_header_says_of_the_patient_is_not_in_the_mask(tmp_path: Path) -> None:
    image = nib.Nifti1Image(VALUES, np.eye(4))
    image.header["descrip"] = b"Jane Doe"
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"born 1966"))
    nib.save(image, tmp_path / "x.nii")
    mask = np.zeros(read_header(tmp_path / "x.nii").shape[:3], np.uint8)
    write_mask(tmp_path / "x_mask.nii", mask, [tmp_path / "x.nii"])
    content = (tmp_path / "x_mask.nii").read_bytes()
    assert b"Jane Doe" not in content and b"born 1966" not in content
    assert read_volume([tmp_path / "x.nii"]).pixels.sum() == VALUES.sum()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["u1", "i1", "i2", "u2", "i4", "u4", "f4", "f8", "i8"])
def test_every_kind_of_number_in_either_byte_order_is_read(tmp_path: Path, kind: str, order: str) -> None:
    stored = (VALUES % 100).astype(np.dtype(kind).newbyteorder(order))
    header = nib.Nifti1Header(endianness=order)
    header.set_data_dtype(stored.dtype)
    image = nib.Nifti1Image(stored, np.diag([-1.0, -1, 1, 1]), header)
    nib.save(image, tmp_path / "x.nii")
    volume = read_volume([tmp_path / "x.nii"])
    assert volume.pixels.dtype.isnative
    assert volume.pixels.dtype == (np.float32 if kind in ("f4", "f8", "i8") else np.dtype(kind))
    assert read_header(tmp_path / "x.nii").dtype == volume.pixels.dtype
    assert np.array_equal(volume.pixels[..., 0], stored.transpose(2, 1, 0))


def test_scaling_of_the_header_is_applied(tmp_path: Path) -> None:
    path = written(tmp_path / "x.nii", affine=np.diag([-1.0, -1, 1, 1]), scl_slope=0.5, scl_inter=-3.0)
    volume = read_volume([path])
    assert volume.pixels.dtype == np.float32
    assert np.allclose(volume.pixels[..., 0], VALUES.transpose(2, 1, 0) * 0.5 - 3)


def test_the_fourth_axis_is_channels(tmp_path: Path) -> None:
    stored = np.stack([VALUES, VALUES + 1, VALUES + 2], axis=-1)
    path = written(tmp_path / "x.nii.gz", stored)
    volume = read_volume([path])
    assert volume.pixels.shape == (6, 5, 4, 3)
    assert np.array_equal(volume.pixels[..., 2], volume.pixels[..., 0] + 2)
    write_mask(tmp_path / "m.nii.gz", np.ones((6, 5, 4), np.uint8), [path])
    assert nib.load(tmp_path / "m.nii.gz").shape == SHAPE
    assert read_volume([written(tmp_path / "y.nii", VALUES[..., None])]).pixels.shape == (6, 5, 4, 1)
    assert read_volume([written(tmp_path / "z.nii", VALUES[..., 0])]).pixels.shape == (1, 5, 4, 1)


def test_files_of_one_sequence_each_are_joined_though_their_axes_differ(tmp_path: Path) -> None:
    one = written(tmp_path / "flair.nii", VALUES)
    turned = np.eye(4)
    turned[0] = [-1, 0, 0, SHAPE[0] - 1]
    other = written(tmp_path / "post.nii", VALUES[::-1] + 1000, turned)
    volume = read_volume([one, other])
    assert np.array_equal(volume.pixels[..., 1], volume.pixels[..., 0] + 1000)
    with pytest.raises(ShapeMismatch, match=r"flair\.nii.*away\.nii"):
        read_volume([one, written(tmp_path / "away.nii", VALUES, np.diag([1, 1, 1.5, 1]))])
    with pytest.raises(ShapeMismatch, match=r"flair\.nii.*small\.nii"):
        read_volume([one, written(tmp_path / "small.nii", VALUES[:2])])


def test_the_sform_is_preferred_and_a_different_qform_is_said(tmp_path: Path) -> None:
    image = nib.Nifti1Image(VALUES, np.diag([2.0, 2, 2, 1]))
    image.set_qform(np.diag([1.0, 1, 1, 1]), code=1)
    image.set_sform(np.diag([2.0, 2, 2, 1]), code=1)
    nib.save(image, tmp_path / "x.nii")
    volume = read_volume([tmp_path / "x.nii"])
    assert volume.geometry is not None and volume.geometry.spacing == (2, 2, 2)
    assert any("qform and sform differ" in warning for warning in volume.warnings)


def test_a_header_that_names_neither_place_nor_unit_gives_no_geometry(tmp_path: Path) -> None:
    image = nib.Nifti1Image(VALUES, None)
    nib.save(image, tmp_path / "x.nii")
    volume = read_volume([tmp_path / "x.nii"])
    assert volume.geometry is None
    assert any("orientation" in warning for warning in volume.warnings)


def test_background_without_a_value_becomes_dark_with_a_warning(tmp_path: Path) -> None:
    stored = VALUES.astype(np.float32) - 50
    stored[0] = np.nan
    volume = read_volume([written(tmp_path / "x.nii", stored)])
    assert volume.pixels.min() == np.nanmin(stored) and np.isfinite(volume.pixels).all()
    assert any("30 background voxels" in warning for warning in volume.warnings)


@pytest.mark.parametrize(("voxel", "value"), [((2, 2, 2), np.nan), ((0, 0, 0), np.inf), ((2, 2, 2), -np.inf)])
def test_numbers_without_a_value_in_the_image_are_refused(tmp_path: Path, voxel: tuple[int, ...], value: float) -> None:
    stored = VALUES.astype(np.float32)
    stored[voxel] = value
    with pytest.raises(FormatError, match=r"bad\.nii.*NaN or infinite"):
        read_volume([written(tmp_path / "bad.nii", stored)])


def test_damaged_and_foreign_files_are_refused_in_one_line(tmp_path: Path) -> None:
    whole = written(tmp_path / "x.nii.gz").read_bytes()
    cases = {
        "empty.nii.gz": (b"", "0 bytes"),
        "cut.nii.gz": (whole[: len(whole) // 2], "damaged or truncated"),
        "text.nii": (b"not a scan" * 100, "not NIfTI"),
        "text.nii.gz": (gzip.compress(b"not a scan" * 100), "not NIfTI"),
        "short.nii": (gzip.decompress(whole)[:-1], "truncated"),
    }
    for name, (content, message) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(FormatError, match=message) as caught:
            read_volume([tmp_path / name])
        assert name in str(caught.value) and "\n" not in str(caught.value)
    os.mkfifo(tmp_path / "pipe.nii")
    with pytest.raises(FormatError, match="not a regular file"):
        read_volume([tmp_path / "pipe.nii"])


def test_five_axes_and_colours_and_complex_numbers_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="5 axes"):
        read_volume([written(tmp_path / "five.nii", np.zeros((2, 3, 4, 2, 3), np.int16))])
    rgb = np.zeros((3, 4, 5), np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
    with pytest.raises(FormatError, match="RGB"):
        read_volume([written(tmp_path / "rgb.nii", rgb)])
    with pytest.raises(FormatError, match="complex"):
        read_volume([written(tmp_path / "complex.nii", VALUES.astype(np.complex64))])


@pytest.mark.parametrize("row", [[0, 0, 0, 0], [0, 1, 0, 0], [float("nan"), 0, 0, 0]])
def test_an_affine_that_spans_no_volume_is_refused(tmp_path: Path, row: list[float]) -> None:
    path = patched(written(tmp_path / "x.nii"), 280, "<4f", *row)
    with pytest.raises(FormatError, match="singular affine"):
        read_volume([path])


def test_a_bomb_is_refused_by_its_header_before_it_is_unpacked(tmp_path: Path) -> None:
    path = patched(written(tmp_path / "x.nii"), 42, "<3h", 8000, 8000, 8000)
    with pytest.raises(FormatError, match="GiB"):
        read_volume([path])
    wide = patched(written(tmp_path / "y.nii"), 42, "<3h", 30_000, 30_000, 1)
    with pytest.raises(FormatError, match="30000 x 30000"):
        read_header(wide)
    far = patched(written(tmp_path / "z.nii"), 108, "<f", 3e9)
    with pytest.raises(FormatError, match="begin at byte"):
        read_volume([far])


def test_bytes_behind_the_voxels_are_never_unpacked(tmp_path: Path) -> None:
    whole = gzip.decompress(written(tmp_path / "x.nii.gz").read_bytes())
    with gzip.GzipFile(tmp_path / "bomb.nii.gz", "wb", compresslevel=1) as file:
        file.write(whole)
        for _ in range(64):
            file.write(bytes(2**20))
    assert np.array_equal(read_volume([tmp_path / "bomb.nii.gz"]).pixels, read_volume([tmp_path / "x.nii.gz"]).pixels)


def test_a_mask_of_another_grid_is_refused(tmp_path: Path) -> None:
    source = written(tmp_path / "x.nii")
    with pytest.raises(ShapeMismatch, match=r"\(1, 2, 3\)"):
        write_mask(tmp_path / "m.nii", np.zeros((1, 2, 3), np.uint8), [source])
    moved = written(tmp_path / "moved.nii", (VALUES > 9).astype(np.uint8), np.diag([1, 1, 2.0, 1]))
    with pytest.raises(ShapeMismatch, match="does not lie on the grid"):
        read_mask_like(moved, [source])


@settings(max_examples=100)
@given(st.lists(st.tuples(st.integers(0, 351), st.integers(0, 255)), min_size=1, max_size=6))
def test_damaged_headers_give_voxels_or_a_format_error_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]]
) -> None:
    path = written(tmp_path_factory.getbasetemp() / "damaged.nii")
    content = bytearray(path.read_bytes())
    for place, value in changes:
        content[place] = value
    path.write_bytes(content)
    try:
        assert read_volume([path]).pixels.ndim == 4
    except FormatError as error:
        assert "damaged.nii" in str(error)


def test_real_volumes_and_their_masks_are_read_and_written_voxel_on_voxel(scans_real: Path, tmp_path: Path) -> None:
    for case in sorted((scans_real / "nifti").glob("brats*")):
        flair, post, reference = (case / f"{name}.nii.gz" for name in
                                  ("Flair_subtrMeanDivStd", "T1c_subtrMeanDivStd", "OTMultiClass"))  # fmt: skip
        volume = read_volume([flair, post])
        assert volume.pixels.shape == (155, 240, 240, 2) and volume.geometry is not None
        assert volume.geometry.spacing == (1, 1, 1)
        mask = read_labels_nifti(reference)
        write_mask(tmp_path / "m.nii.gz", mask, [flair])
        assert np.array_equal(
            np.asarray(nib.load(tmp_path / "m.nii.gz").dataobj), np.asarray(nib.load(reference).dataobj)
        )
