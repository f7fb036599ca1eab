"""Reading the scans that were named: what cannot be read is listed, and the rest goes on."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tumorseg.errors import DataError, FormatError, TumorsegError
from tumorseg.formats import Header
from tumorseg.inference.inputs import Failure, InputScan
from tumorseg.inference.scratch import allocate
from tumorseg.inference.sequences import name_channels
from tumorseg.scan import Pixels, Scan


@dataclass(frozen=True)
class Loaded:
    """An input scan with its pixels in hand.

    Attributes:
        scan: without the slices that could not be read; None where none could.
        targets: the mask of each source of `scan`, relative to the output folder.
        warnings: one line each.
        failures: the files that could not be read.
    """

    scan: Scan | None
    targets: tuple[Path, ...] = ()
    warnings: tuple[str, ...] = ()
    failures: tuple[Failure, ...] = ()


def load(entry: InputScan) -> Loaded:
    """Read one input scan; nothing that is wrong with its files raises."""
    failures: dict[Path, str] = {}
    try:
        _refuse_doubled(entry)
        headers = _headers(entry, failures)
        pixels, kept = _pixels(entry, headers, failures)
        pixels, channels, warnings = name_channels(pixels, where=str(entry.sources[kept[0]]))
    except TumorsegError as error:
        failures = {**dict.fromkeys(entry.sources, str(error)), **failures}
        return Loaded(None, failures=_listed(failures))
    if failures:
        lost = len(failures)
        warnings = (
            *warnings,
            f"{lost} slice{'s' * (lost != 1)} could not be read and {'are' if lost > 1 else 'is'} missing",
        )
    scan = Scan(
        id=entry.id,
        patient=entry.id,
        channels=channels,
        read_pixels=lambda: pixels,
        slice_numbers=tuple(entry.slice_numbers[index] for index in kept) if entry.slice_numbers else (),
        sources=tuple(entry.sources[index] for index in kept),
    )
    return Loaded(scan, tuple(entry.targets[index] for index in kept), warnings, _listed(failures))


def _refuse_doubled(entry: InputScan) -> None:
    """Two files for one slice, such as x_1 and x_01: which one is meant cannot be known."""
    number, times = Counter(entry.slice_numbers).most_common(1)[0] if entry.slice_numbers else (0, 1)
    if times > 1:
        twice = [path.name for path, named in zip(entry.sources, entry.slice_numbers, strict=True) if named == number]
        raise DataError(
            f"slice {number} of {entry.id} is there {times} times ({', '.join(twice)})", next_step="keep one of them"
        )


def _headers(entry: InputScan, failures: dict[Path, str]) -> dict[int, Header]:
    """The header of each source that can be read, by its index; slices of another shape than most are failures."""
    headers: dict[int, Header] = {}
    for index, path in enumerate(entry.sources):
        try:
            header = entry.format.header(path)
            if header.dtype != np.uint8:
                raise FormatError(f"{path} is {header.dtype}, not 8-bit", next_step="convert it to 8 bits a channel")
            if entry.slice_numbers and header.slices != 1:
                raise FormatError(
                    f"{path} has {header.slices} pages, but its name says that it is one slice",
                    next_step="give it a name without a number at its end",
                )
            headers[index] = header
        except TumorsegError as error:
            failures[path] = str(error)
    if not headers:
        raise DataError(f"no slice of {entry.id} can be read", next_step="copy or export its files again")
    usual, _ = Counter(headers.values()).most_common(1)[0]
    for index, header in list(headers.items()):
        if header != usual:
            failures[entry.sources[index]] = (
                f"{entry.sources[index]} is {_in_words(header)}, but most slices of {entry.id} are {_in_words(usual)}; "
                "bring the slices of a scan to one size, or rename what is no slice of it"
            )
            del headers[index]
    return headers


def _pixels(entry: InputScan, headers: dict[int, Header], failures: dict[Path, str]) -> tuple[Pixels, list[int]]:
    """Slices one after the other, and the indices of the sources that they are of."""
    first = next(iter(headers.values()))
    pixels = allocate((first.slices * len(headers), *first.shape[1:]), first.dtype)
    kept: list[int] = []
    filled = 0
    for index in headers:
        path = entry.sources[index]
        try:
            slices = entry.format.read(path)
        except TumorsegError as error:
            failures[path] = str(error)
            continue
        pixels[filled : filled + first.slices] = slices
        filled += first.slices
        kept.append(index)
    if not kept:
        raise DataError(f"no slice of {entry.id} can be read", next_step="copy or export its files again")
    return pixels[:filled], kept


def _in_words(header: Header) -> str:
    return f"{header.width} x {header.height} with {header.channels} channel{'s' * (header.channels != 1)}"


def _listed(failures: dict[Path, str]) -> tuple[Failure, ...]:
    return tuple(Failure(path, reason) for path, reason in sorted(failures.items()))
