"""Slices worth a picture: of patients from small tumours to large, the slice where each is largest."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from tumorseg.datasets.prepared import Store
from tumorseg.evaluation.facts import sequence_name
from tumorseg.evaluation.overlay import flair, outline, panel
from tumorseg.scan import Pixels
from tumorseg.studies.exploration.rows import PatientRow

MOST = 12
_LONGEST = 320
"""Longest side of an embedded picture; the outline keeps the scan's own pixels."""


@dataclass(frozen=True, eq=False)
class Sample:
    """One slice of one patient.

    Attributes:
        patient, institution, scan, slice_number, class_name: which slice it is, and what it shows most of.
        image: (height, width) uint8, the sequence that pictures show.
        mask: (height, width) bool: any class.
        sequence: name of that sequence, for people.
        lone: whether the scan is of one slice, so that its number says nothing.
    """

    patient: str
    institution: str
    scan: str
    slice_number: int
    class_name: str
    image: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    sequence: str
    lone: bool

    @property
    def place(self) -> str:
        """Which slice it is, in words."""
        return f"scan {self.scan}" if self.lone else f"slice {self.slice_number}"


def choose_samples(store: Store, patients: Sequence[PatientRow], *, most: int = MOST) -> tuple[Sample, ...]:
    """Patients evenly spaced by the size of their tumour, the same number of each class, sorted by size.

    Args:
        store: the prepared data.
        patients: all rows; those without tumour are not shown.
        most: how many samples at most, but one of each class at least.
    """
    classes = sorted({row.main_class for row in patients if row.main_class})
    chosen: list[PatientRow] = []
    for of_class in classes:
        rows = sorted(
            (row for row in patients if row.main_class == of_class), key=lambda row: (row.tumour_voxels, row.patient)
        )
        count = min(len(rows), max(1, most // len(classes)))
        chosen += [rows[round(place)] for place in np.linspace(0, len(rows) - 1, count)]
    return tuple(_sample(store, row.patient) for row in chosen)


def drawn(sample: Sample) -> Markup:
    """The slice with the reference outlined on it."""
    height, width = sample.mask.shape
    picture = (
        f'<image width="{width}" height="{height}" preserveAspectRatio="none" href="{_data_uri(sample.image)}"/>'
        f'<g class="outlines">{outline(sample.mask, "reference")}</g>'
    )
    said = f"{sample.sequence}, {sample.place} of {sample.patient}: {int(sample.mask.sum()):,} pixels of tumour."
    return panel((0, 0, width, height), picture, said)


def _sample(store: Store, patient: str) -> Sample:
    entries = [entry for entry in store.stored if entry.patient == patient]
    entry = max(entries, key=lambda one: int(store.tumour_pixels[one.first : one.first + one.shape[0]].max()))
    index = int(store.tumour_pixels[entry.first : entry.first + entry.shape[0]].argmax())
    channels = entry.channels or store.channels
    shown = channels.index("flair") if "flair" in channels else 0
    largest = int(store.class_pixels[entry.first + index].argmax())
    return Sample(
        patient=patient,
        institution=entry.institution,
        scan=entry.id,
        slice_number=entry.slice_numbers[index],
        class_name=store.classes[largest] if len(store.classes) > 1 else "",
        image=flair(eight_bit(store.pixels(entry)[index, ..., shown])),
        mask=np.array(store.masks(entry)[index] != 0),
        sequence=sequence_name(channels),
        lone=entry.shape[0] == 1,
    )


def eight_bit(frame: Pixels) -> NDArray[np.uint8]:
    """A frame for the eye, (height, width) of any real dtype, between its own extremes."""
    if frame.dtype == np.uint8:
        return np.array(frame)
    values = frame.astype(np.float64)
    low, high = float(values.min()), float(values.max())
    return np.asarray(((values - low) * (255 / ((high - low) or 1.0))).round().astype(np.uint8))


def _data_uri(grey: NDArray[np.uint8]) -> str:
    scale = _LONGEST / max(grey.shape)
    if scale < 1:
        size = (max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale)))
        grey = np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    _, encoded = cv2.imencode(".png", grey, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    return "data:image/png;base64," + base64.b64encode(encoded.tobytes()).decode("ascii")
