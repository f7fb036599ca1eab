"""Prepared data: a data set as one memory-mapped array and one table; `tumorseg.datasets.store` makes it."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from tumorseg.datasets.data_set import Kind
from tumorseg.datasets.split import Candidate, Part, Split, slice_key
from tumorseg.grid import Box
from tumorseg.preprocess import Float32
from tumorseg.scan import Geometry, Mask, Pixels, Scan


@dataclass(frozen=True)
class StoredScan:
    """Where one scan lies in the store; see `Scan` for the fields of the same name.

    Attributes:
        slice_numbers: as the files name them; 1, 2, … where they do not.
        shape: (slices, height, width, channels).
        dtype: of its pixels: uint8, int16, uint16 or float32.
        first: its first slice's row in the table.
        pixels_offset, masks_offset: in bytes.
        digest: SHA-256 of its pixels and masks with their shape; the same wherever the files lie.
        box: of the head, as (top, bottom, left, right).
        spacing: millimetres between slices, rows and columns; None where unknown.
        affine: of its geometry, by rows; None where unknown.
        frame_of_reference: of its geometry.
    """

    id: str
    patient: str
    institution: str
    channels: tuple[str, ...]
    slice_numbers: tuple[int, ...]
    sources: tuple[str, ...]
    shape: tuple[int, int, int, int]
    dtype: str
    first: int
    pixels_offset: int
    masks_offset: int
    digest: str
    box: tuple[int, int, int, int]
    spacing: tuple[float, float, float] | None = None
    affine: tuple[tuple[float, ...], ...] | None = None
    frame_of_reference: str = ""

    @property
    def geometry(self) -> Geometry | None:
        """Where its voxels lie; see `Scan.geometry`."""
        if self.affine is None:
            return None
        return Geometry(np.array(self.affine, np.float64), self.frame_of_reference)


_STORED = TypeAdapter(StoredScan)


class Store:
    """A prepared data set; nothing of it is in memory until it is touched.

    A store is a folder named after the digest of the data set's files:

        pixels.bin   the scans' pixels one after the other, each (slices, height, width, channels) of its own dtype
        masks.bin    their reference masks, each (slices, height, width) uint8
        slices.npz   the table: one row a slice
        store.json   what the scans are; it is written last, and a folder without it is not a store

    Args:
        folder: what `prepare` returned the store of.

    Attributes:
        digest: of the files.
        name, kind, channels, classes, folds, warnings: see `DataSet`.
        stored: the scans, sorted by id.
        scan_index: (rows,) int64: the scan of each slice, as index into `stored`.
        tumour_pixels: (rows,) int64: pixels of any class.
        class_pixels: (rows, K) int64: pixels of each class.
        histograms: (rows, channels, 256) int64: see `slice_histograms`, and `levels` for what is not uint8.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        described = json.loads((self.folder / "store.json").read_text(encoding="utf-8"))
        self.digest: str = described["digest"]
        self.name: str = described["name"]
        self.kind: Kind = next(kind for kind in get_args(Kind) if kind == described["kind"])
        self.channels: tuple[str, ...] = tuple(described["channels"])
        self.classes: tuple[str, ...] = tuple(described["classes"])
        self.folds: Mapping[str, int] | None = described["folds"]
        self.warnings: tuple[str, ...] = tuple(described["warnings"])
        self.stored = tuple(_STORED.validate_python(entry) for entry in described["scans"])
        with np.load(self.folder / "slices.npz", allow_pickle=False) as table:
            self.scan_index: NDArray[np.int64] = table["scan_index"]
            self.tumour_pixels: NDArray[np.int64] = table["tumour_pixels"]
            self.class_pixels: NDArray[np.int64] = table["class_pixels"]
            self.histograms: NDArray[np.int64] = table["histograms"]
            self._levels: Float32 = table["levels"]

    @cached_property
    def _pixels(self) -> NDArray[np.uint8]:
        return np.memmap(self.folder / "pixels.bin", np.uint8, "r")

    @cached_property
    def _masks(self) -> NDArray[np.uint8]:
        return np.memmap(self.folder / "masks.bin", np.uint8, "r")

    @cached_property
    def _index(self) -> dict[str, int]:
        return {entry.id: index for index, entry in enumerate(self.stored)}

    def pixels(self, entry: StoredScan) -> NDArray[Any]:
        """(slices, height, width, channels) of the scan's own dtype, memory-mapped."""
        dtype = np.dtype(entry.dtype)
        size = int(np.prod(entry.shape)) * dtype.itemsize
        return self._pixels[entry.pixels_offset : entry.pixels_offset + size].view(dtype).reshape(entry.shape)

    def masks(self, entry: StoredScan) -> NDArray[np.uint8]:
        """(slices, height, width), memory-mapped."""
        shape = entry.shape[:3]
        return self._masks[entry.masks_offset : entry.masks_offset + int(np.prod(shape))].reshape(shape)

    def levels(self, entry: StoredScan) -> Float32 | None:
        """What the scan's histograms were counted with, (channels, 256); None for uint8, whose bins are values."""
        return None if entry.dtype == "uint8" else self._levels[self._index[entry.id]]

    def box(self, entry: StoredScan) -> Box:
        """The box of the head."""
        return Box(*entry.box)

    @property
    def scans(self) -> list[Scan]:
        """The scans, sorted by id, reading from the store."""
        return [self._scan(entry) for entry in self.stored]

    def _scan(self, entry: StoredScan) -> Scan:
        return Scan(
            id=entry.id,
            patient=entry.patient,
            channels=entry.channels,
            read_pixels=partial(self.pixels, entry),
            read_reference=partial(self.masks, entry),
            slice_numbers=entry.slice_numbers,
            sources=tuple(Path(source) for source in entry.sources),
            institution=entry.institution,
            spacing=entry.spacing,
            geometry=entry.geometry,
        )

    @property
    def candidates(self) -> list[Candidate]:
        """One for each patient, with the tumour of all the patient's scans."""
        voxels: Counter[tuple[str, str]] = Counter()
        slices: dict[tuple[str, str], NDArray[np.int64]] = {}
        for entry in self.stored:
            key = (entry.patient, entry.institution)
            rows = slice(entry.first, entry.first + entry.shape[0])
            voxels[key] += int(self.tumour_pixels[rows].sum())
            slices[key] = slices.get(key, 0) + np.count_nonzero(self.class_pixels[rows], axis=0)
        main = {
            key: 1 + int(counts.argmax()) if len(counts) > 1 and counts.any() else 0 for key, counts in slices.items()
        }
        return [
            Candidate(patient, institution, count, main[patient, institution])
            for (patient, institution), count in voxels.items()
        ]

    @cached_property
    def slice_keys(self) -> tuple[str, ...]:
        """What a split of slices calls each row of the table."""
        return tuple(slice_key(entry.id, number) for entry in self.stored for number in entry.slice_numbers)

    def rows(self, split: Split, part: Part) -> NDArray[np.int64]:
        """Rows of the table that are in one part, in their order; what the split does not name is in none."""
        if split.unit == "patient":
            patients = set(split.patients(part))
            inside = np.array([entry.patient in patients for entry in self.stored], bool)
            return np.flatnonzero(inside[self.scan_index])
        keys = set(split.keys(part))
        return np.flatnonzero(np.array([key in keys for key in self.slice_keys], bool))

    def patients_of(self, rows: NDArray[np.int64]) -> tuple[str, ...]:
        """The patients to whom rows of the table belong, sorted, each once."""
        return tuple(sorted({self.stored[int(index)].patient for index in np.unique(self.scan_index[rows])}))

    def scans_of(self, split: Split, part: Part) -> list[Scan]:
        """The scans of one part, sorted by id.

        Of a split by patient they are whole; of a split of slices each holds only that part's slices.
        """
        rows = self.rows(split, part)
        scans = []
        for index in np.unique(self.scan_index[rows]):
            entry = self.stored[int(index)]
            inside = rows[self.scan_index[rows] == index] - entry.first
            scan = self._scan(entry)
            scans.append(scan if len(inside) == entry.shape[0] else self._some_slices(scan, entry, inside))
        return scans

    def _some_slices(self, scan: Scan, entry: StoredScan, inside: NDArray[np.int64]) -> Scan:
        def read_pixels() -> Pixels:
            return self.pixels(entry)[inside]

        def read_reference() -> Mask:
            return self.masks(entry)[inside]

        def chosen(of_each_slice: Sequence[Any]) -> tuple[Any, ...]:
            return tuple(of_each_slice[place] for place in inside)

        return replace(
            scan,
            read_pixels=read_pixels,
            read_reference=read_reference,
            slice_numbers=chosen(scan.slice_numbers),
            sources=chosen(scan.sources) if len(scan.sources) == entry.shape[0] else scan.sources,
        )
