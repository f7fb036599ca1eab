"""Whether an archive has our segmentation of a study already: who drew it, with what, and on which images."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tumorseg.dicomweb.archive import INSTANCE, SERIES, Archive, StudySeries
from tumorseg.dicomweb.attributes import Entry, items, text, uid
from tumorseg.formats.dicom_file import SEGMENTATION
from tumorseg.formats.dicom_seg_object import MANUFACTURER
from tumorseg.inference.model import ModelSpec

SEG = "SEG"

_CLASS, _MANUFACTURER = "00080016", "00080070"
_SEGMENTS, _ALGORITHM, _NAME, _VERSION = "00620002", "00620007", "00660036", "00660031"
_REFERENCED_SERIES, _REFERENCED_INSTANCES, _REFERENCED = "00081115", "0008114A", "00081155"


@dataclass(frozen=True)
class StoredSegmentation:
    """A DICOM-SEG in an archive.

    Attributes:
        series: its SeriesInstanceUID.
        instance: its SOPInstanceUID.
    """

    series: str
    instance: str


@dataclass(frozen=True)
class Derivation:
    """What a segmentation was made by and of, as it stands in the DICOM-SEG.

    Attributes:
        algorithm: the model's name.
        version: of the package, and a digest of the model and of which series was which sequence.
    """

    algorithm: str
    version: str

    @classmethod
    def of(cls, spec: ModelSpec, chosen: Mapping[str, StudySeries]) -> "Derivation":
        """How this package, with this model, derives a mask from these series."""
        from tumorseg import __version__

        facts = [spec.model_dump(mode="json"), {name: series.uid for name, series in chosen.items()}]
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
        return cls(spec.name[:64], f"{__version__[:40]} {digest[:16]}")


def find_stored(
    archive: Archive, study: str, found: Iterable[StudySeries], grid: StudySeries, derivation: Derivation
) -> StoredSegmentation | None:
    """The segmentation of this derivation that refers to all images of `grid` and to no others; None without one.

    Raises:
        ServerError: the archive does not say what its segmentations are.
    """
    images: frozenset[str] | None = None
    for series in found:
        if series.modality != SEG:
            continue
        for entry in archive.metadata(study, series.uid):
            if not _drawn_by(entry, derivation):
                continue
            if images is None:
                images = archive.instances(study, grid.uid)
            if _referred(entry, grid.uid) == images:
                return StoredSegmentation(uid(entry, SERIES) or series.uid, uid(entry, INSTANCE))
    return None


def _drawn_by(entry: Entry, derivation: Derivation) -> bool:
    if text(entry, _CLASS) != SEGMENTATION or text(entry, _MANUFACTURER) != MANUFACTURER:
        return False
    named = {
        (text(algorithm, _NAME), text(algorithm, _VERSION))
        for segment in items(entry, _SEGMENTS)
        for algorithm in items(segment, _ALGORITHM)
    }
    return named == {(derivation.algorithm, derivation.version)}


def _referred(entry: Entry, series: str) -> frozenset[str]:
    """The images of one series that a segmentation refers to."""
    return frozenset(
        uid(instance, _REFERENCED)
        for referred in items(entry, _REFERENCED_SERIES)
        if uid(referred, SERIES) == series
        for instance in items(referred, _REFERENCED_INSTANCES)
    )
