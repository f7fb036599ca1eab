"""The examination of one patient's files: what they hold, and what is wrong with them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorseg.datasets.lgg import CHANNELS, SliceFiles, identify
from tumorseg.datasets.store import digest_of_pixels
from tumorseg.errors import FormatError
from tumorseg.formats.tiff import read_tiff

FLAIR = CHANNELS.index("flair")

MANY_BLANK = 0.2
"""Share of a patient's slices from which blank ones are worth a note of their own."""


class Level(StrEnum):
    """How bad a finding is: an error would spoil training, a note is worth knowing."""

    ERROR = "error"
    NOTE = "note"


@dataclass(frozen=True)
class Finding:
    """One thing that the check found.

    Attributes:
        level: error or note.
        kind: a short name that programs may rely on, such as "mask-missing".
        patient: the patient's folder name; "" where it concerns the whole set.
        message: what is wrong or worth knowing, in one line.
        files: those that it concerns.
    """

    level: Level
    kind: str
    patient: str
    message: str
    files: tuple[Path, ...] = ()


class Findings:
    """What was found, with the errors apart from the notes."""

    findings: tuple[Finding, ...]

    @property
    def errors(self) -> tuple[Finding, ...]:
        """What would spoil training."""
        return tuple(finding for finding in self.findings if finding.level is Level.ERROR)

    @property
    def notes(self) -> tuple[Finding, ...]:
        """What is worth knowing."""
        return tuple(finding for finding in self.findings if finding.level is Level.NOTE)


@dataclass
class PatientFacts:
    """What one patient's files hold.

    Attributes:
        id: the folder's name.
        institution: two letters, "" where unknown.
        slices: numbers that an image or a mask has.
        pairs: slices with a readable image and a readable mask that fit each other.
        tumour_slices, tumour_pixels: of the readable masks.
        frames: how many images there are of each kind, such as "256 x 256 x 3 uint8".
        mask_values: how many masks there are of each set of values, such as "0 and 255".
        missing: sequences whose pixels are FLAIR's in every slice.
        blank: slices in which a sequence has one value throughout, by sequence.
        digest: of all pixels and masks; "" where not every slice is whole.
        findings: in the order of the slices.
    """

    id: str
    institution: str
    slices: int
    pairs: int = 0
    tumour_slices: int = 0
    tumour_pixels: int = 0
    frames: Counter[str] = field(default_factory=Counter)
    mask_values: Counter[str] = field(default_factory=Counter)
    missing: tuple[str, ...] = ()
    blank: Counter[str] = field(default_factory=Counter)
    digest: str = ""
    findings: list[Finding] = field(default_factory=list)

    def add(self, level: Level, kind: str, message: str, *files: Path) -> None:
        """Note a finding."""
        self.findings.append(Finding(level, kind, self.id, message, files))


def examine(name: str, slices: Sequence[SliceFiles]) -> PatientFacts:
    """Read all files of one patient.

    Args:
        name: of the patient's folder.
        slices: in the order of their numbers.
    """
    facts = PatientFacts(name, identify(name)[1], len(slices))
    images: list[NDArray[np.uint8]] = []
    masks: list[NDArray[np.uint8]] = []
    for entry in slices:
        _look_at_names(facts, entry)
        image = _image(facts, entry.image) if entry.image else None
        mask = _mask(facts, entry.mask) if entry.mask else None
        if image is not None and entry.image and images and image.shape != images[0].shape:
            facts.add(
                Level.ERROR, "size-varies", f"{entry.image.name} is {_size(image)}, others are {_size(images[0])}",
                entry.image,
            )  # fmt: skip
        if image is None or mask is None or entry.mask is None:
            if image is not None:
                images.append(image)
            continue
        if mask.shape != image.shape[:2]:
            message = f"{entry.mask.name} is {_size(mask)} but its image is {_size(image)}"
            facts.add(Level.ERROR, "size-mismatch", message, entry.mask)
        else:
            facts.pairs += 1
            masks.append(mask)
        images.append(image)
    _gaps(facts, [entry.number for entry in slices])
    facts.tumour_pixels = sum(int(mask.sum()) for mask in masks)
    facts.tumour_slices = sum(bool(mask.any()) for mask in masks)
    _sequences(facts, images)
    if facts.pairs and not facts.tumour_pixels:
        facts.add(Level.NOTE, "no-tumour", "no mask shows tumour")
    if facts.pairs == facts.slices and len({image.shape for image in images}) == 1:
        facts.digest = digest_of_pixels(np.stack(images), np.stack(masks))
    return facts


def _look_at_names(facts: PatientFacts, entry: SliceFiles) -> None:
    if entry.image and not entry.mask:
        facts.add(Level.ERROR, "mask-missing", f"{entry.image.name} has no mask beside it", entry.image)
    if entry.mask and not entry.image:
        facts.add(Level.ERROR, "image-missing", f"{entry.mask.name} has no image beside it", entry.mask)
    for path in (entry.image, entry.mask):
        stem = path.stem.removesuffix("_mask").rpartition("_")[0] if path else facts.id
        if path and identify(stem) != identify(facts.id) and identify(stem)[1]:
            facts.add(Level.ERROR, "misplaced", f"{path.name} lies in the folder of another patient", path)


def _frame(facts: PatientFacts, path: Path) -> NDArray[Any] | None:
    """A file's pixels; None, and a finding, where it cannot be read."""
    try:
        if path.stat().st_size == 0:
            facts.add(Level.ERROR, "unreadable", f"{path.name} has zero bytes", path)
            return None
        return read_tiff(path)
    except FormatError as error:
        facts.add(Level.ERROR, "unreadable", error.what.replace(str(path), path.name), path)
    except OSError as error:
        facts.add(Level.ERROR, "unreadable", f"{path.name} cannot be read: {error.strerror}", path)
    return None


def _image(facts: PatientFacts, path: Path) -> NDArray[np.uint8] | None:
    frame = _frame(facts, path)
    if frame is None:
        return None
    channels = frame.shape[2] if frame.ndim == 3 else 1
    facts.frames[f"{_size(frame)} x {channels} {frame.dtype}"] += 1
    if frame.dtype != np.uint8:
        facts.add(Level.ERROR, "image-type", f"{path.name} is {frame.dtype}, not 8-bit", path)
        return None
    if channels != 3:
        word = "channel" if channels == 1 else "channels"
        facts.add(Level.ERROR, "image-channels", f"{path.name} has {channels} {word}, not 3", path)
        return None
    return frame


def _mask(facts: PatientFacts, path: Path) -> NDArray[np.uint8] | None:
    """(height, width) uint8, 0 and 1."""
    frame = _frame(facts, path)
    if frame is None:
        return None
    if frame.ndim == 3 and frame.shape[2] in (3, 4) and np.array_equal(frame[..., 0], frame[..., 1]):
        frame = frame[..., 0]
    if frame.ndim != 2:
        facts.add(Level.ERROR, "mask-channels", f"{path.name} has {frame.shape[2]} channels, not 1", path)
        return None
    top = frame.max(initial=0)
    inside: NDArray[np.bool_] = frame != 0
    if top not in (0, 1, 255) or np.any(inside & (frame != top)):
        facts.mask_values["grey"] += 1
        facts.add(Level.ERROR, "mask-values", f"{path.name} holds grey values, not 0 and 255", path)
        return None
    facts.mask_values["0 alone" if top == 0 else f"0 and {int(top)}"] += 1
    return inside.astype(np.uint8)


def _gaps(facts: PatientFacts, numbers: Sequence[int]) -> None:
    absent = sorted(set(range(min(1, *numbers), max(numbers) + 1)) - set(numbers)) if numbers else []
    if absent:
        word = "number" if len(absent) == 1 else "numbers"
        facts.add(Level.NOTE, "gap", f"slice {word} {_ranges(absent)} missing")


def _sequences(facts: PatientFacts, images: Sequence[NDArray[np.uint8]]) -> None:
    """Sequences that FLAIR stands in for, and blank ones.

    A blank slice or two at the ends of a volume is usual, and only counted. A patient without any FLAIR is an
    error, since nothing can be learned from it.
    """
    if not images:
        return
    shown = [image for image in images if image[..., FLAIR].any()]
    facts.missing = tuple(
        name
        for channel, name in enumerate(CHANNELS)
        if channel != FLAIR and shown and all(np.array_equal(image[..., channel], image[..., FLAIR]) for image in shown)
    )
    for name in facts.missing:
        facts.add(Level.NOTE, f"{name}-missing", f"no {name}-contrast images; FLAIR stands in for them")
    for channel, name in enumerate(CHANNELS):
        count = sum(bool((image[..., channel] == image[0, 0, channel]).all()) for image in images)
        if not count:
            continue
        facts.blank[name] = count
        if channel == FLAIR and count == len(images):
            facts.add(Level.ERROR, "blank", "FLAIR is blank in every slice")
        elif count >= MANY_BLANK * len(images):
            facts.add(Level.NOTE, "blank", f"{name} is blank in {count} of {len(images)} slices")


def _ranges(numbers: Sequence[int]) -> str:
    """1, 2, 3, 7 as 1-3, 7."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(f"{low}-{high}" if high > low else str(low) for low, high in runs)


def _size(frame: NDArray[Any]) -> str:
    return f"{frame.shape[1]} x {frame.shape[0]}"
