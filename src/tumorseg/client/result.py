"""What a server has found: numbers, warnings and files of each scan."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tumorseg.client.answers import columns, mapping, mappings, numbers, whole, words
from tumorseg.errors import DataError, ServerError
from tumorseg.files import atomic_write
from tumorseg.remote import Remote, readable

Kind = Literal["mask", "nifti", "dicom-seg", "overlay", "contours", "report", "training"]

BY_SUFFIX: dict[str, Kind] = {".nii.gz": "nifti", ".dcm": "dicom-seg", ".pdf": "report", ".json": "contours"}
"""What a file's name asks for where `what` does not say; all others ask for the mask in the scan's own format."""

MOST_FILE_BYTES = 16 * 2**30
_NAME = re.compile(r'filename="([^"]+)"')


@dataclass(frozen=True, eq=False)
class ScanResult:
    """One segmented scan; it can be asked for as long as its session lives.

    Attributes:
        index: from 1, in the order of the answer.
        name: of the scan, from its files.
        shape: (slices, height, width).
        spacing: millimetres between slices, rows and columns; None where unknown.
        channels: what its channels were taken for.
        classes: names of the mask's values 1…K.
        threshold: above which probability a voxel is tumour.
        largest_slice: with the largest section of tumour, from 0.
        warnings: one line each, for the person who reads the mask.
        downloads: the kinds of files that there are.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    spacing: tuple[float, ...] | None
    channels: tuple[str, ...]
    classes: tuple[str, ...]
    threshold: float
    largest_slice: int
    warnings: tuple[str, ...]
    downloads: tuple[str, ...]
    _remote: Remote = field(repr=False)
    _place: str = field(repr=False)

    @cached_property
    def measurements(self) -> dict[str, float]:
        """Named numbers about the mask, such as tumour_ml; NaN where one is undefined. See docs/segment.md."""
        return numbers(self._said.get("measurements"))

    @cached_property
    def scores(self) -> dict[str, float]:
        """Agreement with the reference that was sent, such as dice; empty without one.

        hd95 and nsd are in millimetres where the spacing is known, else in pixels.
        """
        return numbers(self._said.get("scores"))

    @cached_property
    def slices(self) -> dict[str, tuple[float, ...]]:
        """Columns such as tumour_pixels, as long as the scan has slices."""
        return columns(self._said.get("slices"))

    def mask(self) -> NDArray[np.uint8]:
        """(slices, height, width), 0 background and 1…K the classes."""
        return self._volume("mask")

    def probability(self) -> NDArray[np.float32]:
        """Of tumour, 0 to 1 in 255 steps; (slices, height, width), of several classes (K, slices, height, width)."""
        return self._volume("probability").astype(np.float32) / np.float32(255)

    def save(self, path: str | Path, what: Kind | None = None, *, threshold: float | None = None) -> Path:
        """Write a file of this scan, whole or not at all; what is there is replaced.

        Args:
            path: of the file; .nii.gz, .dcm (DICOM-SEG), .pdf (report) and .json (outlines) say what is asked for.
            what: else, of `downloads`; without it, the mask in the scan's own format.
            threshold: another one than the model's.

        Raises:
            DataError: there is no such file of this scan, or it is of another format than the name says.
            OutputError: it cannot be written.
            ServerError: it does not come.
        """
        path = Path(path)
        kind = what or next((kind for suffix, kind in BY_SUFFIX.items() if path.name.lower().endswith(suffix)), "mask")
        if kind not in self.downloads:
            raise DataError(
                f"there is no {kind} of {self.name}", next_step=f"choose of {', '.join(self.downloads) or 'nothing'}"
            )
        params = {} if threshold is None else {"threshold": str(threshold)}
        return download(self._remote, f"{self._place}/files/{kind}", path, params)

    @cached_property
    def _said(self) -> Mapping[str, Any]:
        return mapping(self._remote.json("GET", self._place))

    def _volume(self, kind: str) -> NDArray[np.uint8]:
        """A volume as it is sent, uint8."""
        return self._remote.patiently(lambda: self._received(kind))

    def _received(self, kind: str) -> NDArray[np.uint8]:
        with self._remote.asking("GET", f"{self._place}/volume/{kind}") as answer:
            said = answer.headers.get("X-Shape", "")
            shape = tuple(int(size) for size in said.split(",") if size.strip().isdigit())
            content = b"".join(self._remote.parts(answer, most=MOST_FILE_BYTES))
        if not shape or len(content) != int(np.prod(shape, dtype=np.int64)):
            raise ServerError(f"{self._remote.origin} sends a volume of another size than it says")
        return np.frombuffer(content, np.uint8).reshape(shape)


@dataclass(frozen=True, eq=False)
class Result:
    """What became of an upload.

    Attributes:
        scans: that were segmented.
        failures: (file, reason) of files that could not be read.
        model: the name of what segmented.
    """

    scans: tuple[ScanResult, ...]
    failures: tuple[tuple[str, str], ...]
    model: str
    _remote: Remote = field(repr=False)
    _place: str = field(repr=False)

    def save(self, path: str | Path, what: Kind | None = None, *, threshold: float | None = None) -> Path:
        """Write a file of the only scan (see `ScanResult.save`); or, as .zip, the masks of all and their summary.

        Raises:
            DataError: there are several scans and the file is no .zip.
            OutputError: it cannot be written.
            ServerError: it does not come.
        """
        path = Path(path)
        if what is None and path.suffix.lower() == ".zip":
            return download(self._remote, f"{self._place}/results", path, {})
        if len(self.scans) != 1:
            raise DataError(
                f"there are {len(self.scans)} scans, for one file", next_step="save each of scans, or all as .zip"
            )
        return self.scans[0].save(path, what, threshold=threshold)


def scan_result(said: Mapping[str, Any], remote: Remote, place: str) -> ScanResult:
    """A scan from its summary; `place` is that of its job."""
    index, spacing, shape = whole(said.get("index")), said.get("spacing"), said.get("shape")
    threshold = said.get("threshold")
    return ScanResult(
        index,
        readable(said.get("name") or ""),
        tuple(map(whole, shape)) if isinstance(shape, list) else (),
        tuple(map(float, spacing)) if isinstance(spacing, list) and spacing else None,
        words(said.get("channels")),
        words(said.get("classes")),
        float(threshold) if isinstance(threshold, int | float) else 0.5,
        whole(said.get("largest_slice")),
        tuple(readable(each.get("text") or "") for each in mappings(said.get("warnings"))),
        words(said.get("downloads")),
        remote,
        f"{place}/scans/{index}",
    )


def download(remote: Remote, place: str, path: Path, params: Mapping[str, str]) -> Path:
    """Bring a file to `path`.

    Raises:
        DataError: it is of another format than the path's name says.
        OutputError: it cannot be written.
        ServerError: it does not come.
    """

    def attempt() -> Path:
        with remote.asking("GET", place, params=params) as answer:
            found = _NAME.search(answer.headers.get("Content-Disposition", ""))
            _refuse_other_format(found[1] if found else "", path)
            with atomic_write(path) as temporary, open(temporary, "wb") as file:
                for part in remote.parts(answer, most=MOST_FILE_BYTES):
                    file.write(part)
        return path

    return remote.patiently(attempt)


def _refuse_other_format(offered: str, path: Path) -> None:
    suffix = ".nii.gz" if offered.lower().endswith(".nii.gz") else Path(offered).suffix.lower()
    if suffix and not path.name.lower().endswith(suffix):
        raise DataError(f"{path} would hold what is a {suffix} file", next_step=f"give a name that ends in {suffix}")
