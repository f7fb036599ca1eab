"""Small DICOM series for tests, in any plane."""

from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

MR = "1.2.840.10008.5.1.4.1.1.4"
ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4.1"
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
"""Columns are counted to the patient's left, rows to the back."""


def mr_dataset(pixels: np.ndarray, *, seed: str = "a", kind: str = MR, **attributes: Any) -> Dataset:
    """One file's attributes; `pixels` are (rows, columns), or (frames, rows, columns)."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = kind
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid()
    dataset.StudyInstanceUID = generate_uid(entropy_srcs=["study"])
    dataset.SeriesInstanceUID = generate_uid(entropy_srcs=["series", seed])
    dataset.FrameOfReferenceUID = generate_uid(entropy_srcs=["frame"])
    dataset.Modality = "MR"
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate, dataset.PatientSex = "Doe^J", "P1", "", ""
    dataset.StudyID, dataset.StudyDate, dataset.StudyTime, dataset.AccessionNumber = "1", "20200101", "120000", ""
    dataset.SeriesNumber, dataset.InstanceNumber, dataset.Manufacturer = 1, 1, "nobody"
    dataset.ReferringPhysicianName = dataset.PositionReferenceIndicator = ""
    dataset.SeriesDescription = "FLAIR"
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    if pixels.ndim == 3:
        dataset.NumberOfFrames = len(pixels)
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    bits = pixels.dtype.itemsize * 8
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit, dataset.PixelRepresentation = bits - 1, int(pixels.dtype.kind == "i")
    dataset.PixelData = pixels.tobytes()
    for name, value in attributes.items():
        if value is None:
            del dataset[name]
        else:
            setattr(dataset, name, value)
    return dataset


def place(dataset: Dataset, position: Any, orientation: Any = AXIAL, spacing: Any = (1.0, 1.0)) -> Dataset:
    """Say where a slice lies."""
    dataset.ImagePositionPatient = [round(float(value), 6) for value in position]
    dataset.ImageOrientationPatient = [float(value) for value in orientation]
    dataset.PixelSpacing = [float(value) for value in spacing]
    dataset.SliceThickness = 1.0
    return dataset


def save(dataset: Dataset, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def write_series(
    folder: Path,
    volume: np.ndarray,
    *,
    orientation: Any = AXIAL,
    spacing: Any = (1.0, 1.0),
    gap: float = 3.0,
    origin: Any = (-10.0, -20.0, 5.0),
    seed: str = "a",
    **attributes: Any,
) -> list[Path]:
    """A series whose slice k is `volume[k]`, along the normal; the files' names are in no order."""
    normal = np.cross(orientation[:3], orientation[3:])
    names = np.random.default_rng(0).permutation(len(volume))
    return [
        save(
            place(
                mr_dataset(frame, seed=seed, InstanceNumber=index + 1, **attributes),
                np.asarray(origin) + index * gap * normal,
                orientation,
                spacing,
            ),
            folder / f"IM{names[index]:03d}.dcm",
        )
        for index, frame in enumerate(volume)
    ]


def write_enhanced(path: Path, volume: np.ndarray, order: Any, *, gap: float = 2.0) -> Path:
    """One file of many frames; frame i is `volume[order[i]]`, an axial slice at height `order[i] * gap`."""
    dataset = mr_dataset(np.ascontiguousarray(volume[list(order)]), kind=ENHANCED_MR)
    measures, plane = Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness, measures.SpacingBetweenSlices = [0.5, 0.75], gap, gap
    plane.ImageOrientationPatient = list(AXIAL)
    shared = Dataset()
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = Sequence([measures]), Sequence([plane])
    dataset.SharedFunctionalGroupsSequence = Sequence([shared])
    groups = []
    for index, height in enumerate(order):
        position, scaling, content, group = Dataset(), Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = [0.0, 0.0, float(height) * gap]
        scaling.RescaleSlope, scaling.RescaleIntercept, scaling.RescaleType = 2.0, float(height), "US"
        content.InStackPositionNumber, content.StackID = index + 1, "1"
        group.PlanePositionSequence = Sequence([position])
        group.PixelValueTransformationSequence = Sequence([scaling])
        group.FrameContentSequence = Sequence([content])
        groups.append(group)
    dataset.PerFrameFunctionalGroupsSequence = Sequence(groups)
    return save(dataset, path)
