"""MATLAB files: what is read, which way up, and what is refused."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from scipy.io import savemat

from matlab_files import picture, sign, write_folds, write_slice
from tumorseg.errors import FormatError
from tumorseg.formats import find_format
from tumorseg.formats.matlab import Identity, read_class_mask, read_folds, read_header, read_identity, read_image


def test_a_slice_is_upright_as_matlab_shows_it(tmp_path: Path) -> None:
    path = write_slice(tmp_path / "7.mat", "MR040240B", 2, seed=3)
    image, mask = picture(3)
    assert read_identity(path) == Identity("MR040240B", 2)
    assert read_image(path).dtype == np.int16
    np.testing.assert_array_equal(read_image(path)[0, ..., 0], image)
    np.testing.assert_array_equal(read_class_mask(path)[0], mask * 2)
    assert read_header(path).shape == (1, 32, 32, 1)


def test_a_slice_that_is_not_square_keeps_its_sides(tmp_path: Path) -> None:
    image = np.arange(20 * 30, dtype=np.int16).reshape(20, 30)
    path = write_slice(tmp_path / "1.mat", "1", 1, image=image.T, tumorMask=(image > 500).astype(np.uint8).T)
    assert read_header(path).shape == read_image(path).shape == (1, 20, 30, 1)
    np.testing.assert_array_equal(read_image(path)[0, ..., 0], image)


def test_bytes_of_an_archive_are_read_like_a_file(tmp_path: Path) -> None:
    path = write_slice(tmp_path / "7.mat", "113", 3)
    content = path.read_bytes()
    assert read_identity(path, io.BytesIO(content)) == read_identity(path)
    np.testing.assert_array_equal(read_image(path, io.BytesIO(content)), read_image(path))


WRONG: dict[str, dict[str, Any]] = {
    "no patient": {"PID": None},
    "no image": {"image": None},
    "no mask": {"tumorMask": None},
    "a label of no tumour": {"label": np.array([[4.0]])},
    "two labels": {"label": np.array([[1.0], [2.0]])},
    "a label without a value": {"label": np.array([[np.nan]])},
    "a volume": {"image": np.zeros((3, 32, 32), np.int16)},
    "an image of doubles": {"image": np.zeros((32, 32))},
    "a mask of another size": {"tumorMask": np.zeros((16, 16), np.uint8)},
    "a mask of grey values": {"tumorMask": np.full((32, 32), 7, np.uint8)},
    "text where numbers belong": {"image": "an image"},
    "a patient of control characters": {"PID": np.array([[1], [2]], np.uint16)},
    "a patient of nothing": {"PID": np.zeros((0, 1), np.uint16)},
    "an endless patient": {"PID": np.full((100_000, 1), 65, np.uint16)},
}


def read_all(path: Path) -> None:
    """Everything that a data set reads of a file."""
    read_identity(path)
    read_image(path)
    read_class_mask(path)


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_fields_are_an_error_that_names_the_file(wrong: str, tmp_path: Path) -> None:
    path = write_slice(tmp_path / "7.mat", "113", 1, **WRONG[wrong])
    with pytest.raises(FormatError, match=r"7\.mat"):
        read_all(path)


def outside(tmp_path: Path) -> Path:
    """A file whose pixels no other file may borrow."""
    return write_slice(tmp_path / "other" / "8.mat", "114", 1)


def external_link(group: h5py.Group, tmp_path: Path) -> None:
    """The image is a field of another file."""
    group["image"] = h5py.ExternalLink(str(outside(tmp_path)), "/cjdata/image")


def soft_link(group: h5py.Group, tmp_path: Path) -> None:
    """The image is another name of the mask."""
    group["image"] = h5py.SoftLink("/cjdata/tumorMask")


def external_bytes(group: h5py.Group, tmp_path: Path) -> None:
    """The image's bytes lie in another file."""
    group.create_dataset("image", (32, 32), np.int16, external=[(str(outside(tmp_path)), 0, 2048)])


def virtual(group: h5py.Group, tmp_path: Path) -> None:
    """The image is put together from another file."""
    layout = h5py.VirtualLayout((32, 32), np.int16)
    layout[:] = h5py.VirtualSource(str(outside(tmp_path)), "/cjdata/image", (32, 32))
    group.create_virtual_dataset("image", layout)


def references(group: h5py.Group, tmp_path: Path) -> None:
    """The image is an array of objects, as a MATLAB cell is."""
    group.create_dataset("image", (32, 32), h5py.ref_dtype)


def oversized(group: h5py.Group, tmp_path: Path) -> None:
    """The image calls itself far larger than its file."""
    group.create_dataset("image", (60_000, 60_000), np.int16, chunks=(100, 100))


@pytest.mark.parametrize("harm", [external_link, soft_link, external_bytes, virtual, references, oversized])
def test_nothing_outside_the_file_is_read_and_nothing_endless(
    harm: Callable[[h5py.Group, Path], None], tmp_path: Path
) -> None:
    path = write_slice(tmp_path / "7.mat", "113", 1, image=None)
    with h5py.File(path, "r+") as file:
        harm(file["cjdata"], tmp_path)
    with pytest.raises(FormatError, match=r"7\.mat"):
        read_image(path)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.95])
def test_a_truncated_file_is_an_error_that_names_it(share: float, tmp_path: Path) -> None:
    path = write_slice(tmp_path / "7.mat", "113", 1)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(FormatError, match=r"7\.mat"):
        read_all(path)


def test_an_older_matlab_file_is_told_apart_from_a_damaged_one(tmp_path: Path) -> None:
    savemat(tmp_path / "7.mat", {"cjdata": {"label": 1}})
    with pytest.raises(FormatError, match=r"v5, not v7\.3; save it with -v7\.3"):
        read_identity(tmp_path / "7.mat")


def test_folds_are_read_from_old_and_new_files(tmp_path: Path) -> None:
    folds = [1, 5, 2, 2, 3]
    new = write_folds(tmp_path / "new.mat", folds)
    savemat(tmp_path / "old.mat", {"cvind": np.array(folds)[:, None]})
    for path in (new, tmp_path / "old.mat"):
        assert read_folds(path).tolist() == read_folds(path, io.BytesIO(path.read_bytes())).tolist() == folds


def test_folds_that_do_not_count_from_one_are_refused(tmp_path: Path) -> None:
    for wrong in ([0, 1], [1.5, 2.0]):
        savemat(tmp_path / "cvind.mat", {"cvind": np.array(wrong)})
        with pytest.raises(FormatError, match="folds"):
            read_folds(tmp_path / "cvind.mat")
    savemat(tmp_path / "cvind.mat", {"other": np.ones(3)})
    with pytest.raises(FormatError, match="cvind"):
        read_folds(tmp_path / "cvind.mat")
    with h5py.File(tmp_path / "cvind.mat", "w", userblock_size=512) as file:
        file["cvind"] = h5py.SoftLink("/elsewhere")
    sign(tmp_path / "cvind.mat")
    with pytest.raises(FormatError, match="link"):
        read_folds(tmp_path / "cvind.mat")


def test_masks_are_never_written_as_matlab() -> None:
    kind = find_format(Path("1.mat"))
    assert kind is not None and kind.write_mask is None
