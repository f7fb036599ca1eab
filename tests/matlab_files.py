"""Tiny files of the figshare set, as MATLAB v7.3 writes them: 512 bytes of its own, then HDF5, arrays transposed."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np

OPENING = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: Thu Jan 01 00:00:00 2015 HDF5 schema 1.00 ."


def picture(seed: int, size: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """An image of int16 beyond 8 bits that no turn or mirror leaves as it is, and a mask in its upper right."""
    image = np.random.default_rng(seed).integers(0, 3000, (size, size), dtype=np.int16)
    mask = np.zeros((size, size), np.uint8)
    mask[2:10, size - 12 : size - 4] = 1
    return image, mask


def write_slice(path: Path, patient: str, kind: int, /, seed: int = 0, size: int = 32, **instead: Any) -> Path:
    """One slice; `instead` replaces fields, or leaves those out that are None."""
    image, mask = picture(seed, size)
    fields: dict[str, Any] = {
        "PID": np.array([[ord(letter)] for letter in patient], np.uint16),
        "label": np.array([[kind]], np.float64),
        "image": image.T,
        "tumorBorder": np.zeros((8, 1)),
        "tumorMask": mask.T,
    } | instead
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w", userblock_size=512) as file:
        group = file.create_group("cjdata")
        for name, value in fields.items():
            if value is not None:
                group[name] = value
    sign(path)
    return path


def write_folds(path: Path, folds: list[int]) -> Path:
    """`cvind.mat` in v7.3."""
    with h5py.File(path, "w", userblock_size=512) as file:
        file["cvind"] = np.array([folds], np.float64)
    sign(path)
    return path


def sign(path: Path) -> None:
    """MATLAB's own first bytes."""
    with open(path, "r+b") as file:
        file.write(OPENING.ljust(124) + b"\x00\x02IM")


PATIENTS = ("100360", "MR040240", "MR040240B", "MR040240C", "113", "114", "115", "116", "117", "118")
"""Whose the slices of `write_set` are: eight people under ten ids."""


def write_set(folder: Path, slices: int = 20) -> Path:
    """`1.mat`, `2.mat`, …: two slices for each id, the three labels in turn; the third slice is of half the size."""
    for number in range(1, slices + 1):
        patient = (number - 1) // 2 % len(PATIENTS)
        size = 16 if number == 3 else 32
        write_slice(folder / f"{number}.mat", PATIENTS[patient], patient % 3 + 1, seed=number, size=size)
    return folder
