"""Prepared data: a data set read once into one memory-mapped array and one table.

A store is a folder named after the digest of the data set's files:

    pixels.bin   the scans' pixels one after the other, each (slices, height, width, channels) uint8
    masks.bin    their reference masks, each (slices, height, width) uint8
    slices.npz   the table: one row a slice
    store.json   what the scans are; it is written last, and a folder without it is not a store
"""

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from tumorseg.datasets.lgg import LggListing, list_lgg, scans_of
from tumorseg.datasets.split import Candidate
from tumorseg.errors import DataError, TumorsegError
from tumorseg.files import atomic_folder, cache_folder
from tumorseg.preprocess import Box, head_box, slice_histograms
from tumorseg.progress import Progress, silent
from tumorseg.scan import Scan

LAYOUT = 1
"""Part of every digest: raise it when the files of a store change their meaning."""


@dataclass(frozen=True)
class StoredScan:
    """Where one scan lies in the store; see `Scan` for the fields of the same name.

    Attributes:
        shape: (slices, height, width, channels).
        first: its first slice's row in the table.
        pixels_offset, masks_offset: in bytes.
        digest: SHA-256 of its pixels and masks with their shape; the same wherever the files lie.
        box: of the head, as (top, bottom, left, right).
    """

    id: str
    patient: str
    institution: str
    channels: tuple[str, ...]
    slice_numbers: tuple[int, ...]
    sources: tuple[str, ...]
    shape: tuple[int, int, int, int]
    first: int
    pixels_offset: int
    masks_offset: int
    digest: str
    box: tuple[int, int, int, int]


_STORED = TypeAdapter(StoredScan)


class Store:
    """A prepared data set; nothing of it is in memory until it is touched.

    Args:
        folder: what `prepare` returned the store of.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        described = json.loads((self.folder / "store.json").read_text(encoding="utf-8"))
        self.digest: str = described["digest"]
        self.stored = tuple(_STORED.validate_python(entry) for entry in described["scans"])
        with np.load(self.folder / "slices.npz", allow_pickle=False) as table:
            self.scan_index: NDArray[np.int64] = table["scan_index"]
            self.tumour_pixels: NDArray[np.int64] = table["tumour_pixels"]
            self.histograms: NDArray[np.int64] = table["histograms"]

    @cached_property
    def _pixels(self) -> NDArray[np.uint8]:
        return np.memmap(self.folder / "pixels.bin", np.uint8, "r")

    @cached_property
    def _masks(self) -> NDArray[np.uint8]:
        return np.memmap(self.folder / "masks.bin", np.uint8, "r")

    def pixels(self, entry: StoredScan) -> NDArray[np.uint8]:
        """(slices, height, width, channels), memory-mapped."""
        size = int(np.prod(entry.shape))
        return self._pixels[entry.pixels_offset : entry.pixels_offset + size].reshape(entry.shape)

    def masks(self, entry: StoredScan) -> NDArray[np.uint8]:
        """(slices, height, width), memory-mapped."""
        shape = entry.shape[:3]
        return self._masks[entry.masks_offset : entry.masks_offset + int(np.prod(shape))].reshape(shape)

    def box(self, entry: StoredScan) -> Box:
        """The box of the head."""
        return Box(*entry.box)

    @property
    def scans(self) -> list[Scan]:
        """The scans, sorted by id, reading from the store."""
        return [
            Scan(
                id=entry.id,
                patient=entry.patient,
                channels=entry.channels,
                read_pixels=partial(self.pixels, entry),
                read_reference=partial(self.masks, entry),
                slice_numbers=entry.slice_numbers,
                sources=tuple(Path(source) for source in entry.sources),
                institution=entry.institution,
            )
            for entry in self.stored
        ]

    @property
    def candidates(self) -> list[Candidate]:
        """One for each patient, with the tumour of all the patient's scans."""
        voxels: dict[tuple[str, str], int] = {}
        for entry in self.stored:
            key = (entry.patient, entry.institution)
            rows = slice(entry.first, entry.first + entry.shape[0])
            voxels[key] = voxels.get(key, 0) + int(self.tumour_pixels[rows].sum())
        return [Candidate(patient, institution, count) for (patient, institution), count in voxels.items()]


def prepare(folder: Path, *, progress: Progress = silent) -> Store:
    """Read a data set once; a second call with unchanged files finds what the first one wrote.

    Raises:
        DataError: the data set is not whole, or not of the LGG layout.
        OutputError: the cache cannot be written; $TUMORSEG_CACHE names another place.
    """
    listing = list_lgg(Path(folder))
    scans = scans_of(listing)
    digest = digest_of_files(listing)
    home = cache_folder() / "prepared" / digest[:32]
    if not (home / "store.json").is_file():
        try:
            _write(home, digest, scans, progress)
        except TumorsegError:
            if not (home / "store.json").is_file():
                raise
            # Another process prepared the same data meanwhile; what it wrote is whole.
    return Store(home)


def digest_of_files(listing: LggListing) -> str:
    """SHA-256 over place, size and time of every listed file."""
    seen = hashlib.sha256(f"layout {LAYOUT} {listing.folder.resolve()}\n".encode())
    for entry in (entry for slices in listing.patients.values() for entry in slices):
        for path in (entry.image, entry.mask):
            if path is not None:
                state = path.stat()
                seen.update(f"{path.relative_to(listing.folder)} {state.st_size} {state.st_mtime_ns}\n".encode())
    return seen.hexdigest()


def digest_of_pixels(pixels: NDArray[np.uint8], masks: NDArray[np.uint8]) -> str:
    """SHA-256 of a scan's shape, pixels and masks."""
    seen = hashlib.sha256(repr(pixels.shape).encode())
    seen.update(np.ascontiguousarray(pixels).data)
    seen.update(np.ascontiguousarray(masks).data)
    return seen.hexdigest()


def _write(home: Path, digest: str, scans: Sequence[Scan], progress: Progress) -> None:
    if home.exists():
        raise DataError(f"{home} is not a whole store", next_step="delete that folder")
    entries: list[StoredScan] = []
    owners, tumour, histograms = [], [], []
    pixels_offset = masks_offset = first = 0
    workers = min(8, os.cpu_count() or 1)
    with (
        atomic_folder(home) as partial_home,
        open(partial_home / "pixels.bin", "wb") as pixels_file,
        open(partial_home / "masks.bin", "wb") as masks_file,
        ThreadPoolExecutor(workers) as pool,
    ):
        # A few scans at a time: a data set larger than memory is read like a small one.
        group = 2 * workers
        read = (
            result for start in range(0, len(scans), group) for result in pool.map(_read, scans[start : start + group])
        )
        for scan, (pixels, masks, counts, checksum, box) in zip(
            scans, progress.track(read, what="Preparing scans", total=len(scans)), strict=True
        ):
            pixels_file.write(np.ascontiguousarray(pixels).data)
            masks_file.write(np.ascontiguousarray(masks).data)
            entries.append(
                StoredScan(
                    id=scan.id,
                    patient=scan.patient,
                    institution=scan.institution,
                    channels=scan.channels,
                    slice_numbers=scan.slice_numbers,
                    sources=tuple(str(source) for source in scan.sources),
                    shape=pixels.shape,
                    first=first,
                    pixels_offset=pixels_offset,
                    masks_offset=masks_offset,
                    digest=checksum,
                    box=(box.top, box.bottom, box.left, box.right),
                )
            )
            owners.append(np.full(len(pixels), len(entries) - 1))
            tumour.append(np.count_nonzero(masks, axis=(1, 2)))
            histograms.append(counts)
            first += len(pixels)
            pixels_offset += pixels.size
            masks_offset += masks.size
        np.savez(
            partial_home / "slices.npz",
            scan_index=np.concatenate(owners),
            tumour_pixels=np.concatenate(tumour),
            histograms=np.concatenate(histograms),
        )
        described = {"layout": LAYOUT, "digest": digest, "scans": [asdict(entry) for entry in entries]}
        (partial_home / "store.json").write_text(json.dumps(described), encoding="utf-8")


def _read(
    scan: Scan,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.int64], str, Box]:
    # Not scan.pixels, which would keep the whole data set in memory.
    assert scan.read_reference is not None
    pixels, masks = scan.read_pixels(), scan.read_reference()
    return pixels, masks, slice_histograms(pixels), digest_of_pixels(pixels, masks), head_box(pixels)
