"""Which DICOM files belong together: by SeriesInstanceUID, whatever they are called, in folders and in ZIPs."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tumorseg.errors import FormatError, TumorsegError
from tumorseg.formats.archive import Archive
from tumorseg.formats.dicom_file import LABEL_MAP, SEGMENTATION, is_dicom, named_damage, read_dataset
from tumorseg.formats.limits import MAX_BYTES

_DIRECTORY = "DICOMDIR"
_PART = 2**20


@dataclass(frozen=True)
class Series:
    """Files of one series; those of one geometry are one volume.

    Attributes:
        uid: the SeriesInstanceUID; of a file without one, its path.
        paths: sorted by name, which says nothing of their order in space.
        description: what the scanner's operator called it, a hint for people.
        modality: such as MR.
        patient: the PatientID; "" where it was removed.
        is_segmentation: whether it is a DICOM-SEG, not an image.
    """

    uid: str
    paths: tuple[Path, ...]
    description: str
    modality: str
    patient: str
    is_segmentation: bool


@dataclass(frozen=True)
class SeriesListing:
    """What is DICOM among some files.

    Attributes:
        series: in the order of their first file.
        failures: what looked like DICOM and cannot be read, with the error.
    """

    series: tuple[Series, ...]
    failures: tuple[tuple[Path, TumorsegError], ...]


def find_series(paths: Iterable[Path]) -> SeriesListing:
    """Group files by their series, by their headers alone; a DICOMDIR is passed over.

    Args:
        paths: files that are named as DICOM, or that `is_dicom` knows by their first bytes.
    """
    groups: dict[str, list[Path]] = defaultdict(list)
    known: dict[str, tuple[str, str, str, bool]] = {}
    failures: list[tuple[Path, TumorsegError]] = []
    for path in map(Path, paths):
        if path.name.upper() == _DIRECTORY:
            continue
        try:
            uid, facts = _facts(path)
        except TumorsegError as error:
            failures.append((path, error))
            continue
        groups[uid].append(path)
        known.setdefault(uid, facts)
    series = (Series(uid, tuple(sorted(files)), *known[uid]) for uid, files in groups.items())
    return SeriesListing(tuple(sorted(series, key=lambda one: one.paths[0])), tuple(failures))


def unpack_series(archive: Path, folder: Path) -> SeriesListing:
    """The DICOM series in a ZIP, unpacked into a folder under names of our own.

    Args:
        archive: the ZIP.
        folder: an existing folder, such as a temporary one; the series' paths lie in it.

    Raises:
        FormatError: no ZIP, damaged, encrypted, too large, or without DICOM.
        UnsafeArchive: it holds links, names that point out of it, or unpacks to more than scans do.
    """
    packed = Archive(archive)
    packed.unpacked_size(packed.names)
    left = MAX_BYTES
    paths: list[Path] = []
    for number, name in enumerate(packed.names):
        if Path(name).name.upper() == _DIRECTORY or Path(name).name.startswith("."):
            continue
        path = folder / f"{number:06d}.dcm"
        with packed.opened(name) as content, open(path, "wb") as file:
            while part := content.read(min(_PART, left + 1)):
                left -= len(part)
                if left < 0:
                    raise FormatError(
                        f"{archive} would unpack to more than {MAX_BYTES // 2**30} GiB",
                        next_step="unpack the series that is wanted",
                    )
                file.write(part)
        if is_dicom(path):
            paths.append(path)
        else:
            path.unlink()
    if not paths:
        raise FormatError(f"{archive} holds no DICOM file", next_step="give a ZIP of a DICOM series")
    return find_series(paths)


def _facts(path: Path) -> tuple[str, tuple[str, str, str, bool]]:
    dataset = read_dataset(path, pixels=False)
    with named_damage(path):
        kind = str(dataset.get("SOPClassUID", ""))
        return str(dataset.get("SeriesInstanceUID") or path), (
            str(dataset.get("SeriesDescription") or dataset.get("ProtocolName") or ""),
            str(dataset.get("Modality") or ""),
            str(dataset.get("PatientID") or ""),
            kind in (SEGMENTATION, LABEL_MAP),
        )
