"""NumPy files: what the axes mean, and that nothing is unpickled or allocated on a header's word."""

import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tumorseg.errors import FormatError, ShapeMismatch
from tumorseg.formats.numpy_file import (
    read_array,
    read_header,
    read_labels_array,
    read_mask_array,
    read_volume,
    write_mask,
)

VOLUME = np.arange(4 * 6 * 8, dtype=np.uint16).reshape(4, 6, 8)


def saved(path: Path, array: np.ndarray) -> Path:
    np.save(path, array)
    return path


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize(
    ("array", "shape"),
    [(VOLUME[0], (1, 6, 8, 1)), (VOLUME, (4, 6, 8, 1)), (VOLUME.reshape(2, 4, 6, 4), (2, 4, 6, 4))],
)
def test_axes_are_slices_height_width_channels(
    tmp_path: Path, array: np.ndarray, shape: tuple[int, ...], order: str
) -> None:
    path = saved(tmp_path / "x.npy", np.array(array, dtype=">u2", order=order))
    assert read_header(path).shape == shape
    assert np.array_equal(read_array(path), array.reshape(shape)) and read_array(path).dtype == np.uint16


def test_three_axes_that_could_be_channels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="columns or channels"):
        read_array(saved(tmp_path / "x.npy", np.zeros((64, 64, 3), np.uint8)))
    for shape in ((5,), (2, 2, 2, 2, 2), (0, 6, 8)):
        with pytest.raises(FormatError, match=r"no scan|empty"):
            read_array(saved(tmp_path / "x.npy", np.zeros(shape, np.uint8)))


class _Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("unpickled"),)  # type: ignore[return-value]


def test_no_object_is_ever_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.array([[_Bomb()]], dtype=object), allow_pickle=True)
    Path("raw.npy").write_bytes(pickle.dumps(_Bomb()))
    np.savez("x.npz", image=np.array([[_Bomb()]], dtype=object))
    for name, message in (("x.npy", "Python objects"), ("raw.npy", "not NumPy"), ("x.npz", "Python objects")):
        with pytest.raises(FormatError, match=message):
            read_array(Path(name))
    assert not Path("unpickled").exists()


def test_a_header_that_promises_too_much_is_refused(tmp_path: Path) -> None:
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        content, {"descr": "<f8", "fortran_order": False, "shape": (100_000, 5_000, 5_000)}
    )
    (tmp_path / "bomb.npy").write_bytes(content.getvalue())
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w") as archive:
        archive.writestr("image.npy", content.getvalue())
    for name in ("bomb.npy", "bomb.npz"):
        with pytest.raises(FormatError, match=r"bomb\.np.*GiB"):
            read_array(tmp_path / name)


def test_damaged_files_are_refused_in_one_line(tmp_path: Path) -> None:
    whole = saved(tmp_path / "x.npy", VOLUME).read_bytes()
    for name, content, message in (
        ("cut.npy", whole[:-1], "truncated"), ("head.npy", whole[:20], "not NumPy"), ("empty.npy", b"", "0 bytes"),
        ("text.npy", b"hello", "not NumPy"), ("text.npz", b"hello", "not a ZIP"),
    ):  # fmt: skip
        (tmp_path / name).write_bytes(content)
        with pytest.raises(FormatError, match=message) as caught:
            read_array(tmp_path / name)
        assert name in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(FormatError, match="NaN"):
        read_array(saved(tmp_path / "nan.npy", np.full((4, 8), np.nan)))
    with pytest.raises(FormatError, match="not numbers"):
        read_array(saved(tmp_path / "text.npy", np.array([["a", "b"]])))
    np.savez(tmp_path / "other.npz", pixels=VOLUME)
    with pytest.raises(FormatError, match="no array image, but pixels"):
        read_array(tmp_path / "other.npz")


def test_an_npz_keeps_names_and_place(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "x.npz", image=VOLUME[..., None], mask=VOLUME > 9, channels=["flair"], affine=np.diag([5, 1, 1, 1])
    )
    volume = read_volume([tmp_path / "x.npz"])
    assert volume.channel_names == ("flair",)
    assert volume.geometry is not None and volume.geometry.spacing == (5, 1, 1)
    assert np.array_equal(read_labels_array(tmp_path / "x.npz"), VOLUME > 9)
    np.savez(tmp_path / "y.npz", image=VOLUME, channels=["a", "b"])
    with pytest.raises(FormatError, match="does not name its 1 channels"):
        read_volume([tmp_path / "y.npz"])
    np.savez(tmp_path / "z.npz", image=VOLUME, affine=np.zeros((4, 4)))
    with pytest.raises(FormatError, match="singular"):
        read_volume([tmp_path / "z.npz"])


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_a_mask_has_the_axes_of_its_image(tmp_path: Path, suffix: str) -> None:
    for name, array in (("two", VOLUME[0]), ("three", VOLUME), ("four", VOLUME[..., None])):
        source = saved(tmp_path / f"{name}.npy", array)
        mask = (array.reshape(-1, 6, 8) % 2).astype(np.uint8)
        write_mask(tmp_path / f"m{suffix}", mask, [source])
        assert np.array_equal(read_mask_array(tmp_path / f"m{suffix}"), mask)
        loaded = np.load(tmp_path / f"m{suffix}")
        assert (loaded if suffix == ".npy" else loaded["mask"]).ndim == (2 if name == "two" else 3)
    with pytest.raises(ShapeMismatch):
        write_mask(tmp_path / "m.npy", np.zeros((1, 1, 1), np.uint8), [source])
