"""One DICOMweb archive: which series a study has (QIDO-RS), their files (WADO-RS), and a new object (STOW-RS)."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tumorseg.dicomweb.attributes import Entry, entries, is_uid, items, number, text, uid
from tumorseg.dicomweb.multipart import boundary_of, write_parts
from tumorseg.errors import FormatError, ServerError
from tumorseg.formats.dicom_file import named_damage, read_dataset
from tumorseg.progress import Progress, silent
from tumorseg.remote import Remote, readable

if TYPE_CHECKING:
    from httpx2 import Response

logger = logging.getLogger(__name__)

_JSON = {"Accept": "application/dicom+json"}
_AS_STORED = {"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'}
_PLAIN = {"Accept": 'multipart/related; type="application/dicom"'}

STUDY, SERIES, INSTANCE = "0020000D", "0020000E", "00080018"
_MODALITY, _DESCRIPTION, _NUMBER, _COUNT = "00080060", "0008103E", "00200011", "00201209"
_FAILED, _FAILURE = "00081198", "00081197"

_MOST_PAGES = 1000
_NOT_SO = (400, 406)
_FAILURES = {
    0xA700: "it is out of resources",
    0xA900: "the object does not fit its class",
    0xC000: "it cannot understand the object",
    0x0110: "processing failed",
    0x0111: "it has an object of this UID",
    0x0122: "it takes no objects of this class",
    0x0124: "it is not authorised",
}
"""Reasons that PS3.18 and PS3.4 give numbers."""


@dataclass(frozen=True)
class Limits:
    """What is taken from a server at most.

    Attributes:
        instances: of one series.
        bytes: of one series, as it comes.
    """

    instances: int = 5_000
    bytes: int = 2 * 2**30


@dataclass(frozen=True)
class StudySeries:
    """A series as a search finds it.

    Attributes:
        uid: the SeriesInstanceUID.
        modality: such as MR.
        description: what the scanner's operator called it.
        number: by which people order series; None where there is none.
        instances: how many it has; None where the server does not say.
    """

    uid: str
    modality: str
    description: str
    number: int | None
    instances: int | None

    def __str__(self) -> str:
        return f"{self.uid} ({self.modality or 'no modality'}, '{self.description}')"


class Archive:
    """A DICOMweb server.

    Args:
        remote: where its services begin, such as https://pacs.example/dicom-web.
    """

    def __init__(self, remote: Remote) -> None:
        self.remote = remote

    def series(self, study: str) -> tuple[StudySeries, ...]:
        """The series of a study, by their numbers.

        Raises:
            ServerError: there is no such study, or the server does not say.
        """
        try:
            found = self._search(f"/studies/{study}/series", [_DESCRIPTION, _NUMBER, _COUNT, _MODALITY])
        except ServerError as error:
            if error.status == 404:
                raise self._no_study(study) from error
            raise
        listed = [
            StudySeries(
                series,
                text(entry, _MODALITY).upper(),
                text(entry, _DESCRIPTION),
                number(entry, _NUMBER),
                number(entry, _COUNT),
            )
            for entry in found
            if (series := uid(entry, SERIES)) and uid(entry, STUDY) in ("", study)
        ]
        if not listed:
            raise self._no_study(study)
        return tuple(sorted(listed, key=lambda one: (one.number is None, one.number or 0, one.uid)))

    def instances(self, study: str, series: str) -> frozenset[str]:
        """The SOPInstanceUIDs of a series.

        Raises:
            ServerError: the server does not say.
        """
        found = self._search(f"/studies/{study}/series/{series}/instances", [])
        return frozenset(instance for entry in found if (instance := uid(entry, INSTANCE)))

    def metadata(self, study: str, series: str) -> list[Entry]:
        """All attributes of a series' instances but for their pixels.

        Raises:
            ServerError: the server does not say.
        """
        return entries(self.remote.json("GET", f"/studies/{study}/series/{series}/metadata", headers=_JSON))

    def retrieve(
        self, study: str, series: StudySeries, folder: Path, *, limits: Limits, progress: Progress = silent
    ) -> tuple[Path, ...]:
        """Pull a whole series into a folder, each file named after its SOPInstanceUID, as it lies in the archive.

        Args:
            study, series: which.
            folder: an existing one that is empty.
            limits: what is taken at most.
            progress: told of files.

        Raises:
            ServerError: it does not come, not whole, or something else does; or there is too much.
            FormatError: what comes is no DICOM.
        """
        expected = self.instances(study, series.uid)
        count = max(len(expected), series.instances or 0)
        if count > limits.instances:
            raise ServerError(
                f"series {series.uid} has {count:,} instances, more than the {limits.instances:,} that are taken",
                next_step="raise --max-instances, or name another series",
            )
        came = self.remote.patiently(lambda: self._attempt(study, series, folder, limits, progress, count))
        if not came:
            raise ServerError(f"series {series.uid} is empty", next_step="name another series")
        if missing := len(expected - came.keys()):
            raise ServerError(
                f"of series {series.uid} {len(came):,} instances came and {missing:,} did not",
                next_step="try again later; a part of a scan is not segmented",
            )
        return tuple(came[instance] for instance in sorted(came))

    def store(self, study: str, path: Path) -> None:
        """Store one DICOM file in a study; to do so twice changes nothing.

        Raises:
            ServerError: the server does not take it.
        """
        content = path.read_bytes()
        boundary = f"tumorseg-{os.urandom(16).hex()}"
        headers = {**_JSON, "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}'}
        head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        body = head + content + f"\r\n--{boundary}--\r\n".encode()
        try:
            answer = self.remote.json("POST", f"/studies/{study}", headers=headers, content=body)
        except ServerError as error:
            if error.status in (405, 501):
                raise ServerError(
                    f"{self.remote.origin} takes nothing to store", next_step="use --no-store and --output"
                ) from error
            if error.status == 409:
                raise ServerError(
                    f"{self.remote.origin} does not store the segmentation", next_step="ask who runs it", status=409
                ) from error
            raise
        for entry in entries(answer):
            for item in items(entry, _FAILED):
                code = number(item, _FAILURE) or 0
                reason = _FAILURES.get(code, f"reason {code:#06x}")
                raise ServerError(
                    f"{self.remote.origin} does not store the segmentation: {reason}", next_step="ask who runs it"
                )

    def _attempt(
        self, study: str, series: StudySeries, folder: Path, limits: Limits, progress: Progress, count: int
    ) -> dict[str, Path]:
        """One request for all of a series: its files by their SOPInstanceUIDs."""
        came: dict[str, Path] = {}
        with self._asking_for(f"/studies/{study}/series/{series.uid}") as answer:
            for old in folder.iterdir():
                old.unlink()
            files = self._files(answer, folder, limits)
            for path in progress.track(files, what="Receiving files", total=count or None):
                instance = self._checked(path, study, series.uid)
                came[instance] = path.replace(folder / f"{instance}.dcm")
        return came

    @contextmanager
    def _asking_for(self, path: str) -> Iterator["Response"]:
        """Ask for files as they lie in the archive; where that cannot be asked for, as it likes to send them."""
        try:
            with self.remote.asking("GET", path, headers=_AS_STORED) as answer:
                yield answer
                return
        except ServerError as error:
            if error.status not in _NOT_SO:
                raise
            logger.info("%s does not send files as they are stored; asking for any form", self.remote.origin)
        with self.remote.asking("GET", path, headers=_PLAIN) as answer:
            yield answer

    def _files(self, answer: "Response", folder: Path, limits: Limits) -> Iterator[Path]:
        kind = answer.headers.get("Content-Type", "")
        chunks = self.remote.parts(answer, most=limits.bytes)
        boundary = boundary_of(kind)
        if boundary is not None:
            return write_parts(chunks, boundary, folder, most=limits.instances)
        if kind.partition(";")[0].strip().lower() == "application/dicom":
            return _one_file(chunks, folder)
        raise ServerError(
            f"{self.remote.origin} sends {readable(kind) or 'something'} where DICOM was asked for",
            next_step=f"check {self.remote.option}",
        )

    def _checked(self, path: Path, study: str, series: str) -> str:
        """The SOPInstanceUID of a file that came.

        Raises:
            ServerError: it is no DICOM, or of another study or series than was asked for.
        """
        try:
            dataset = read_dataset(path, pixels=False)
            with named_damage(path):
                found = str(dataset.StudyInstanceUID), str(dataset.SeriesInstanceUID)
                instance = str(dataset.SOPInstanceUID)
        except FormatError as error:
            raise ServerError(
                f"{self.remote.origin} sends a file that is no DICOM, or damaged", next_step="ask who runs it"
            ) from error
        if found != (study, series) or not is_uid(instance):
            raise ServerError(
                f"{self.remote.origin} sends a file of another study or series than {series}",
                next_step="ask who runs it",
            )
        return instance

    def _search(self, path: str, fields: list[str]) -> list[Entry]:
        """All that a search finds, page by page where the server says that there is more."""
        found: list[Entry] = []
        for _ in range(_MOST_PAGES):
            params = {"includefield": fields, **({"offset": len(found)} if found else {})}
            answer, headers = self.remote.json_and_headers("GET", path, params=params, headers=_JSON)
            page = entries(answer)
            found += page
            if not page or not headers.get("Warning", "").startswith("299") or page == found[: len(page)] != found:
                return found
        raise ServerError(f"{self.remote.origin} never ends its list", next_step="ask who runs it")

    def _no_study(self, study: str) -> ServerError:
        return ServerError(
            f"{self.remote.origin} has no study {study}", next_step=f"check --study and {self.remote.option}"
        )


def _one_file(chunks: Iterator[bytes], folder: Path) -> Iterator[Path]:
    """A lone file without a multipart around it, which some servers send of a series of one."""
    path = folder / "part-000001"
    with open(path, "xb") as file:
        for chunk in chunks:
            file.write(chunk)
    yield path
