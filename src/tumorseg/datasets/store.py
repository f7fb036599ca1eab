"""Preparing a data set: it is read once, and what `Store` describes is written, keyed by a digest of the files."""

import hashlib
import json
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorseg.datasets.data_set import DataSet, Source
from tumorseg.datasets.leftovers import claim, sweep
from tumorseg.datasets.open_data import find_data
from tumorseg.datasets.prepared import Store, StoredScan
from tumorseg.errors import DataError, ShapeMismatch, TumorsegError
from tumorseg.files import atomic_folder, cache_folder
from tumorseg.grid import Box, head_box
from tumorseg.preprocess import Float32, slice_histograms, value_levels
from tumorseg.progress import Progress, silent
from tumorseg.scan import Mask, Pixels, Scan

__all__ = ["LAYOUT", "Store", "StoredScan", "digest_of_files", "digest_of_pixels", "prepare"]

LAYOUT = 2
"""Part of every digest: raise it when the files of a store change their meaning."""

DTYPES = ("uint8", "int16", "uint16", "float32")
_ALIGNMENT = 16
"""Bytes at whose multiples scans begin, so that every dtype can be mapped where it lies."""

_log = logging.getLogger(__name__)


def prepare(folder: Path, *, progress: Progress = silent) -> Store:
    """Read a data set once; a second call with unchanged files finds what the first one wrote.

    Args:
        folder: what `open_data` takes.

    Raises:
        DataError: the data set is not whole, or of no layout that is known.
        OutputError: the cache cannot be written; $TUMORSEG_CACHE names another place.
    """
    source = find_data(Path(folder))
    digest = digest_of_files(source)
    home = cache_folder() / "prepared" / digest[:32]
    if not (home / "store.json").is_file():
        sweep(home.parent)
        data = source.read(progress)
        try:
            _write(home, digest, data, progress)
        except TumorsegError:
            if not (home / "store.json").is_file():
                raise
            # Another process prepared the same data meanwhile; what it wrote is whole.
    store = Store(home)
    for warning in store.warnings:
        _warn_once(digest, warning)
    return store


@cache
def _warn_once(digest: str, warning: str) -> None:
    """One command may prepare the same data several times."""
    _log.warning("%s", warning)


def digest_of_files(source: Source) -> str:
    """SHA-256 over place, size and time of every file, and over the content of those that describe the others."""
    home = source.folder.resolve()
    seen = hashlib.sha256(f"layout {LAYOUT} {source.kind} {home}\n".encode())
    for path in source.files:
        state = path.stat()
        seen.update(f"{_place(path, source.folder)} {state.st_size} {state.st_mtime_ns}\n".encode())
    for path in source.described_by:
        seen.update(hashlib.sha256(path.read_bytes()).digest())
    return seen.hexdigest()


def _place(path: Path, folder: Path) -> Path:
    return path.relative_to(folder) if path.is_relative_to(folder) else path.resolve()


def digest_of_pixels(pixels: Pixels, masks: Mask) -> str:
    """SHA-256 of a scan's shape, pixels and masks; of the dtype too where it is not uint8."""
    kind = "" if pixels.dtype == np.uint8 else f" {pixels.dtype}"
    seen = hashlib.sha256(f"{pixels.shape!r}{kind}".encode())
    seen.update(np.ascontiguousarray(pixels).data)
    seen.update(np.ascontiguousarray(masks).data)
    return seen.hexdigest()


@dataclass(frozen=True, eq=False)
class _Read:
    """What one scan holds, and what the table says of it."""

    pixels: Pixels
    masks: Mask
    class_pixels: NDArray[np.int64]
    levels: Float32
    histograms: NDArray[np.int64]
    digest: str
    box: Box


def _write(home: Path, digest: str, data: DataSet, progress: Progress) -> None:
    if home.exists():
        raise DataError(f"{home} is not a whole store", next_step="delete that folder")
    entries: list[StoredScan] = []
    owners, tumour, of_class, histograms, levels = [], [], [], [], []
    pixels_offset = masks_offset = first = 0
    workers = min(8, os.cpu_count() or 1)
    with (
        atomic_folder(home) as partial_home,
        open(partial_home / "pixels.bin", "wb") as pixels_file,
        open(partial_home / "masks.bin", "wb") as masks_file,
        ThreadPoolExecutor(workers) as pool,
    ):
        mark = claim(partial_home)
        # A few scans at a time: a data set larger than memory is read like a small one.
        group = 2 * workers
        read = (
            result
            for start in range(0, len(data.scans), group)
            for result in pool.map(lambda scan: _read(scan, data), data.scans[start : start + group])
        )
        for scan, found in zip(
            data.scans, progress.track(read, what="Preparing scans", total=len(data.scans)), strict=True
        ):
            slices = len(found.pixels)
            entries.append(
                StoredScan(
                    id=scan.id,
                    patient=scan.patient,
                    institution=scan.institution,
                    channels=scan.channels,
                    slice_numbers=scan.slice_numbers or tuple(range(1, slices + 1)),
                    sources=tuple(str(source) for source in scan.sources),
                    shape=found.pixels.shape,
                    dtype=str(found.pixels.dtype),
                    first=first,
                    pixels_offset=pixels_offset,
                    masks_offset=masks_offset,
                    digest=found.digest,
                    box=(found.box.top, found.box.bottom, found.box.left, found.box.right),
                    spacing=scan.spacing,
                    affine=tuple(map(tuple, scan.geometry.affine.tolist())) if scan.geometry else None,
                    frame_of_reference=scan.geometry.frame_of_reference if scan.geometry else "",
                )
            )
            pixels_file.write(np.ascontiguousarray(found.pixels).data)
            padding = -found.pixels.nbytes % _ALIGNMENT
            pixels_file.write(bytes(padding))
            masks_file.write(np.ascontiguousarray(found.masks).data)
            owners.append(np.full(slices, len(entries) - 1))
            tumour.append(found.class_pixels.sum(axis=1))
            of_class.append(found.class_pixels)
            histograms.append(found.histograms)
            levels.append(found.levels)
            first += slices
            pixels_offset += found.pixels.nbytes + padding
            masks_offset += found.masks.size
        np.savez(
            partial_home / "slices.npz",
            scan_index=np.concatenate(owners),
            tumour_pixels=np.concatenate(tumour),
            class_pixels=np.concatenate(of_class),
            histograms=np.concatenate(histograms),
            levels=np.stack(levels),
        )
        described = _described(digest, data) | {"scans": [asdict(entry) for entry in entries]}
        (partial_home / "store.json").write_text(json.dumps(described), encoding="utf-8")
        mark.unlink()


def _described(digest: str, data: DataSet) -> dict[str, Any]:
    """The data set itself, as `Store` reads it."""
    return {
        "layout": LAYOUT,
        "digest": digest,
        "name": data.name,
        "kind": data.kind,
        "channels": data.channels,
        "classes": data.classes,
        "folds": None if data.folds is None else dict(data.folds),
        "warnings": data.warnings,
    }


def _read(scan: Scan, data: DataSet) -> _Read:
    # Not scan.pixels, which would keep the whole data set in memory.
    assert scan.read_reference is not None
    pixels, masks = scan.read_pixels(), scan.read_reference()
    where = scan.sources[0] if scan.sources else scan.id
    if str(pixels.dtype) not in DTYPES:
        raise DataError(f"{where} holds {pixels.dtype}", next_step=f"store it as one of {', '.join(DTYPES)}")
    if masks.shape != pixels.shape[:3]:
        raise ShapeMismatch(
            f"{where} is of shape {pixels.shape[:3]} but its mask of {masks.shape}",
            next_step="draw the mask on the image's own grid",
        )
    if masks.max(initial=0) > len(data.classes):
        raise DataError(
            f"the mask of {where} holds {masks.max()}, but there are {len(data.classes)} classes",
            next_step="name every class of the data set",
        )
    class_pixels = np.stack([np.bincount(mask.ravel(), minlength=len(data.classes) + 1)[1:] for mask in masks]).astype(
        np.int64
    )
    if pixels.dtype == np.uint8:
        levels = np.broadcast_to(np.arange(256, dtype=np.float32), (pixels.shape[-1], 256))
        counts = slice_histograms(pixels)
    else:
        levels = value_levels(pixels)
        counts = slice_histograms(pixels, levels)
    return _Read(pixels, masks, class_pixels, levels, counts, digest_of_pixels(pixels, masks), head_box(pixels))
