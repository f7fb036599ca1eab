"""Reading the scans that were named: what cannot be read is listed, and the rest goes on."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tumorseg.errors import DataError, FormatError, TumorsegError
from tumorseg.formats import Header
from tumorseg.formats.volume import Volume, join_sequences
from tumorseg.inference.inputs import Failure, InputScan
from tumorseg.inference.scratch import allocate
from tumorseg.inference.sequence_choice import NO_CHOICE, SequenceChoice
from tumorseg.inference.sequences import UNNAMED, name_channels, pick_channels
from tumorseg.scan import Caution, Pixels, Scan


@dataclass(frozen=True)
class Loaded:
    """An input scan with its pixels in hand.

    Attributes:
        scan: without the slices that could not be read; None where none could.
        targets: its masks, relative to the output folder: of each source of `scan`, or one for all.
        warnings: about its files.
        failures: the files that could not be read.
    """

    scan: Scan | None
    targets: tuple[Path, ...] = ()
    warnings: tuple[Caution, ...] = ()
    failures: tuple[Failure, ...] = ()


def load(
    entry: InputScan,
    *,
    choice: SequenceChoice = NO_CHOICE,
    wanted: Sequence[str] = UNNAMED,
    named: Callable[[str], str] = str,
) -> Loaded:
    """Read one input scan; nothing that is wrong with its files raises.

    Args:
        entry: what `find_inputs` lists.
        choice: which channel is which sequence.
        wanted: the model's channels.
        named: gives files the names in messages that people know them by.
    """
    failures: dict[Path, str] = {}
    try:
        if entry.problem:
            raise DataError(f"{entry.sources[0]}: {entry.problem}")
        if entry.slice_numbers:
            volume, kept = _slices(entry, failures)
        else:
            volume, kept = _volume(entry), list(range(len(entry.sources)))
        _refuse_odd(volume.pixels, str(entry.sources[kept[0]]))
        pixels, channels, warnings = _sequences(volume, entry, choice, wanted)
    except TumorsegError as error:
        # A series that cannot be read is one failure, not one for each of its files.
        concerned = entry.sources if entry.slice_numbers else entry.sources[:1]
        failures = {**dict.fromkeys(concerned, str(error)), **failures}
        return Loaded(None, failures=_listed(failures, named))
    warnings = (*(Caution("file", text) for text in volume.warnings), *warnings)
    if failures:
        lost = len(failures)
        verb = "are" if lost > 1 else "is"
        text = f"{lost} slice{'s' * (lost != 1)} could not be read and {verb} missing"
        warnings = (*warnings, Caution("lost", text, "copy or export them again"))
    scan = Scan(
        id=entry.id,
        patient=entry.id,
        channels=channels,
        read_pixels=lambda: pixels,
        slice_numbers=tuple(entry.slice_numbers[index] for index in kept) if entry.slice_numbers else (),
        sources=volume.sources or entry.sources,
        geometry=volume.geometry,
    )
    each = len(entry.targets) == len(entry.sources)
    targets = tuple(entry.targets[index] for index in kept) if each else entry.targets
    return Loaded(scan, targets, tuple(warning.reworded(named) for warning in warnings), _listed(failures, named))


def _sequences(
    volume: Volume, entry: InputScan, choice: SequenceChoice, wanted: Sequence[str]
) -> tuple[Pixels, tuple[str, ...], tuple[Caution, ...]]:
    """The channels with their names: as the caller named them, as the file does, or as unnamed ones are taken."""
    where = str(entry.sources[0])
    if choice.indices:
        return *pick_channels(volume.pixels, choice.indices, where=where), ()
    if volume.channel_names:
        return volume.pixels, tuple(name.lower() for name in volume.channel_names), ()
    pixels, channels, warnings = name_channels(volume.pixels, where=where, wanted=wanted)
    hint = f", though the file says '{volume.description}'" if volume.description else ""
    return pixels, channels, tuple(Caution(each.code, each.text + hint, each.advice) for each in warnings)


def _volume(entry: InputScan) -> Volume:
    """A scan of one file, of one series, or of several sequences."""
    if not entry.sequences:
        return _read(entry, entry.sources)
    return join_sequences({name: _read(entry, files) for name, files in entry.sequences})


def _read(entry: InputScan, files: Sequence[Path]) -> Volume:
    if entry.format.read_volume is not None:
        return entry.format.read_volume(files)
    return Volume(entry.format.read(files[0]), sources=tuple(files))


def _refuse_odd(pixels: Pixels, where: str) -> None:
    """Raise FormatError where pixels are no real numbers, or numbers without a value."""
    if pixels.dtype.kind not in "uif":
        raise FormatError(f"{where} holds {pixels.dtype} values", next_step="convert it to 8 or 16 bits a channel")
    if pixels.dtype.kind == "f" and not all(np.isfinite(frame).all() for frame in pixels):
        raise FormatError(f"{where} holds numbers without a value (NaN or infinite)", next_step="replace them")


def _slices(entry: InputScan, failures: dict[Path, str]) -> tuple[Volume, list[int]]:
    """Numbered files as one volume, and the indices of those that could be read."""
    _refuse_doubled(entry)
    headers = _headers(entry, failures)
    pixels, kept = _pixels(entry, headers, failures)
    return Volume(pixels, sources=tuple(entry.sources[index] for index in kept)), kept


def _refuse_doubled(entry: InputScan) -> None:
    """Two files for one slice, such as x_1 and x_01: which one is meant cannot be known."""
    number, times = Counter(entry.slice_numbers).most_common(1)[0]
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
            if header.slices != 1:
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
    pixels = allocate((len(headers), *first.shape[1:]), first.dtype)
    kept: list[int] = []
    for index in headers:
        path = entry.sources[index]
        try:
            pixels[len(kept)] = entry.format.read(path)[0]
        except TumorsegError as error:
            failures[path] = str(error)
            continue
        kept.append(index)
    if not kept:
        raise DataError(f"no slice of {entry.id} can be read", next_step="copy or export its files again")
    return pixels[: len(kept)], kept


def _in_words(header: Header) -> str:
    kind = "" if header.dtype == np.uint8 else f" of {header.dtype}"
    return f"{header.width} x {header.height} with {header.channels} channel{'s' * (header.channels != 1)}{kind}"


def _listed(failures: dict[Path, str], named: Callable[[str], str]) -> tuple[Failure, ...]:
    return tuple(Failure(Path(named(str(path))), named(reason)) for path, reason in sorted(failures.items()))
