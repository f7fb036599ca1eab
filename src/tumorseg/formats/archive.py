"""Files read straight from a ZIP, one in another where need be; nothing is unpacked to where the archive says."""

import io
import shutil
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO

from tumorseg.errors import FormatError, UnsafeArchive
from tumorseg.formats.limits import MAX_BYTES, refuse_irregular

MAX_MEMBERS = 100_000
DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError, ValueError, OSError)
"""What `zipfile` raises on a ZIP that is damaged, encrypted, packed in an unknown way, or has names in no letters."""

MAX_MEMBER_BYTES = 256 * 2**20
"""No slice is larger; what calls itself so is not unpacked into memory."""

MAX_UNPACKED_BYTES = 32 * 2**30
MAX_RATIO = 200
"""How many times larger than packed the files may be as a whole; scans shrink to a third at best."""


class Archive:
    """An open ZIP. Its members may be read from several threads.

    Args:
        path: of the file; with `content`, its name for people.
        content: the archive's bytes, where it lies in another one.

    Raises:
        FormatError: not a ZIP, damaged or encrypted.
        UnsafeArchive: it holds links, or names that point out of it.
    """

    def __init__(self, path: Path, content: IO[bytes] | None = None) -> None:
        self.path = Path(path)
        if content is None:
            refuse_irregular(self.path)
        try:
            self._zip = zipfile.ZipFile(content or self.path)
        except DAMAGE as error:
            raise FormatError(
                f"{self.path} is not a ZIP, or is damaged or truncated", next_step="download it again"
            ) from error
        members = [member for member in self._zip.infolist() if not member.is_dir()]
        if len(members) > MAX_MEMBERS:
            raise FormatError(f"{self.path} holds {len(members):,} files", next_step="unpack what is needed of it")
        for member in members:
            place = PurePosixPath(member.filename.replace("\\", "/"))
            if not place.parts or place.is_absolute() or ".." in place.parts or ":" in place.parts[0]:
                raise UnsafeArchive(
                    f"{self.path} holds {member.filename!r}, which points out of it", next_step="download it again"
                )
            if stat.S_ISLNK(member.external_attr >> 16):
                raise UnsafeArchive(
                    f"{self.path} holds {member.filename}, which is a link", next_step="download it again"
                )
        self._members = {member.filename: member for member in members}

    @property
    def names(self) -> tuple[str, ...]:
        """Files in the archive, in its order."""
        return tuple(self._members)

    def checksum(self, name: str) -> int:
        """CRC-32 of one file, as the archive's own table has it; `read` compares it with what it unpacks."""
        return self._members[name].CRC

    def size(self, name: str) -> int:
        """Bytes of one file, unpacked."""
        return self._members[name].file_size

    def unpacked_size(self, names: Iterable[str]) -> int:
        """Bytes that these files unpack to, all together.

        Raises:
            UnsafeArchive: more than such an archive can honestly hold, so that it is a bomb.
        """
        members = [self._members[name] for name in names]
        size, packed = sum(member.file_size for member in members), sum(member.compress_size for member in members)
        if size > min(MAX_UNPACKED_BYTES, MAX_RATIO * packed):
            raise UnsafeArchive(
                f"{self.path} would unpack from {packed / 2**20:,.1f} to {size / 2**20:,.1f} MiB, which no scans do",
                next_step="download it again",
            )
        return size

    def read(self, name: str) -> BinaryIO:
        """One file, unpacked into memory.

        Raises:
            FormatError: encrypted, damaged, or larger than any slice.
        """
        member = self._checked(name, MAX_MEMBER_BYTES)
        try:
            return io.BytesIO(self._zip.read(member))
        except DAMAGE as error:
            raise self._damaged(name) from error

    @contextmanager
    def opened(self, name: str) -> Iterator[IO[bytes]]:
        """One file, unpacked as it is read; whatever is damaged in it becomes a FormatError."""
        member = self._checked(name, MAX_BYTES)
        try:
            with self._zip.open(member) as content:
                yield content
        except DAMAGE as error:
            raise self._damaged(name) from error

    def nested(self, name: str) -> "Archive":
        """An archive within this one; its packed bytes go to an unnamed temporary file for as long as it is used."""
        member = self._checked(name, MAX_BYTES)
        unpacked = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the Archive lives
        try:
            with self._zip.open(member) as packed:
                shutil.copyfileobj(packed, unpacked, 2**20)
        except DAMAGE as error:
            unpacked.close()
            raise self._damaged(name) from error
        return Archive(self.path / name, unpacked)

    def _checked(self, name: str, most: int) -> zipfile.ZipInfo:
        member = self._members[name]
        if member.flag_bits & 1:
            raise FormatError(f"{self.path / name} is encrypted", next_step="unpack the archive with its password")
        if member.file_size > most:
            raise FormatError(
                f"{self.path / name} would unpack to {member.file_size / 2**20:,.0f} MiB, more than {most // 2**20:,}",
                next_step="download the archive again",
            )
        return member

    def _damaged(self, name: str) -> FormatError:
        return FormatError(f"{self.path / name} is damaged", next_step="download the archive again")
