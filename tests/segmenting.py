"""The command `segment` within the test's own process, and small scans of every format with a bright square."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import h5py
import nibabel as nib
import numpy as np
import pydicom
import pytest
import tifffile
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from matlab_files import sign
from tumorseg.cli.app import run
from tumorseg.cli.arguments import expand

SIZE = 48
ROWS, COLUMNS, SLICES = slice(6, 18), slice(8, 28), slice(1, 3)
"""Where the marker is, in the canonical orientation."""


@dataclass(frozen=True)
class Answer:
    """What a run of the command left behind."""

    code: int
    out: str
    err: str


def segment(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> Answer:
    """Run the verb as the command line would."""
    capsys.readouterr()
    code = run(expand(["segment", *map(str, arguments)]))
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    assert "bug" not in said.err
    return Answer(code, said.out, said.err)


def tree(folder: Path) -> list[str]:
    """All files below a folder, hidden ones too."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


def marked(slices: int = 4, *, bright: int = 1000, dtype: type = np.int16) -> np.ndarray:
    """(slices, 48, 48) with the marker; of one slice it is in that."""
    volume = np.full((slices, SIZE, SIZE), 10, dtype)
    volume[SLICES if slices > 1 else slice(None), ROWS, COLUMNS] = bright
    return volume


def expected(slices: int = 4) -> np.ndarray:
    """The mask of `marked`, bool."""
    return marked(slices) > 500


def write_nifti(path: Path, volume: np.ndarray, affine: np.ndarray | None = None) -> Path:
    """(slices, height, width[, channels]) as NIfTI whose axes run as the canonical ones: columns, rows, slices."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = np.moveaxis(volume, (0, 1, 2), (2, 1, 0))
    nib.save(nib.Nifti1Image(stored, np.diag([-1.0, -1.0, 4.0, 1.0]) if affine is None else affine), path)
    return path


def read_nifti(path: Path) -> np.ndarray:
    """What `write_nifti` wrote, (slices, height, width)."""
    return np.asarray(nib.load(path).dataobj).T


def write_dicom(
    folder: Path, volume: np.ndarray, *, names: Sequence[str] = (), series: str = "", description: str = "FLAIR"
) -> list[Path]:
    """An axial series, the first slice nearest to the feet; `names` are the files'."""
    folder.mkdir(parents=True, exist_ok=True)
    study, uid, frame = generate_uid(), series or generate_uid(), generate_uid()
    paths = []
    for index, pixels in enumerate(volume.astype(np.uint16)):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = MRImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset = Dataset()
        dataset.file_meta = meta
        dataset.SOPClassUID, dataset.SOPInstanceUID = MRImageStorage, meta.MediaStorageSOPInstanceUID
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = study, uid, frame
        dataset.PatientID, dataset.PatientName, dataset.Modality = "1", "Test^Patient", "MR"
        dataset.PatientBirthDate = dataset.PatientSex = dataset.StudyDate = dataset.StudyTime = ""
        dataset.AccessionNumber = dataset.StudyID = dataset.ReferringPhysicianName = ""
        dataset.SeriesNumber, dataset.InstanceNumber, dataset.SeriesDescription = 3, index + 1, description
        dataset.Rows, dataset.Columns = pixels.shape
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated = dataset.BitsStored = 16
        dataset.HighBit, dataset.PixelRepresentation = 15, 0
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        dataset.ImagePositionPatient = [0, 0, 4.0 * index]
        dataset.PixelSpacing, dataset.SliceThickness = [1.0, 1.0], 4.0
        dataset.PixelData = pixels.tobytes()
        path = folder / (names[index] if names else f"IM{len(volume) - index:03d}.dcm")
        pydicom.dcmwrite(path, dataset, enforce_file_format=True)
        paths.append(path)
    return paths


def write_matlab(path: Path, pixels: np.ndarray) -> Path:
    """(height, width) int16 as the figshare set holds it."""
    with h5py.File(path, "w", userblock_size=512) as file:
        file.create_group("cjdata")["image"] = pixels.T
    sign(path)
    return path


def write_pictures(folder: Path) -> None:
    """One slice in each of the picture formats."""
    folder.mkdir(parents=True, exist_ok=True)
    slice8 = marked(1, bright=200, dtype=np.uint8)[0]
    tifffile.imwrite(folder / "deep.tif", marked(1, bright=60_000, dtype=np.uint16)[0])
    tifffile.imwrite(folder / "pages.tif", marked(4, bright=200, dtype=np.uint8), photometric="minisblack")
    assert cv2.imwrite(str(folder / "p.png"), slice8)
    assert cv2.imwrite(str(folder / "photo.jpg"), slice8, [cv2.IMWRITE_JPEG_QUALITY, 100])
    write_matlab(folder / "m.mat", marked(1)[0])
    np.save(folder / "n.npy", marked(4))


def mount_possible() -> bool:
    """Whether this process may mount a file system of its own."""
    return hasattr(os, "geteuid") and os.geteuid() == 0
