"""ZIPs of scans, unpacked into a private folder that vanishes with whoever holds it."""

import shutil
import stat
import tempfile
import weakref
import zipfile
from pathlib import Path, PurePosixPath

from tumorseg.errors import FormatError, OutputError
from tumorseg.formats.archive import DAMAGE
from tumorseg.formats.limits import refuse_irregular

SUFFIX = ".zip"
MOST_MEMBERS = 100_000
MOST_BYTES = 16 * 2**30
_PLAIN_BYTES = 256 * 2**20
_MOST_RATIO = 200
"""Above so many bytes, no scans pack so well."""


class Unpacked:
    """Where ZIPs are unpacked to: a temporary folder, deleted when this object goes or the program ends."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._origins: dict[str, str] = {}

    def unpack(self, path: Path) -> Path:
        """Unpack one ZIP into a folder of its own and return that.

        Raises:
            FormatError: not a ZIP, damaged, encrypted, with links or names that point out of it, or one that would
                grow beyond measure.
            OutputError: the temporary folder is full.
        """
        refuse_irregular(path)
        try:
            with zipfile.ZipFile(path) as archive:
                members = _checked(path, archive)
                home = self._home() / str(len(self._origins)) / path.name[: -len(SUFFIX)]
                home.mkdir(parents=True)
                self._origins[str(home)] = str(path)
                for member, place in members:
                    target = home / place
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with archive.open(member) as packed, open(target, "xb") as file:
                        shutil.copyfileobj(packed, file, 2**20)
        except FileExistsError as error:
            raise FormatError(f"{path} holds two files of one name", next_step="unpack it by hand") from error
        except DAMAGE as error:
            raise FormatError(
                f"{path} is not a ZIP, or is damaged or truncated", next_step="download or pack it again"
            ) from error
        return home

    def holds(self, path: Path) -> bool:
        """Whether a file came out of a ZIP."""
        return self._folder is not None and path.is_relative_to(self._folder)

    def named(self, text: str) -> str:
        """A message in which unpacked files have the names that they have in their ZIP."""
        for home, origin in self._origins.items():
            text = text.replace(home, origin)
        return text

    def _home(self) -> Path:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="tumorseg-"))
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        return self._folder


def _checked(path: Path, archive: zipfile.ZipFile) -> list[tuple[zipfile.ZipInfo, PurePosixPath]]:
    """The files of an archive and their places in it, after all has been refused that should be."""
    members = [member for member in archive.infolist() if not member.is_dir()]
    if len(members) > MOST_MEMBERS:
        raise FormatError(f"{path} holds {len(members):,} files", next_step="unpack what is needed of it")
    found = []
    for member in members:
        place = PurePosixPath(member.filename.replace("\\", "/"))
        if not place.parts or place.is_absolute() or ".." in place.parts or ":" in place.parts[0]:
            raise FormatError(f"{path} holds {member.filename}, which points out of it", next_step="do not use it")
        mode = member.external_attr >> 16
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            raise FormatError(f"{path} holds {member.filename}, which is a link", next_step="pack the file itself")
        if member.flag_bits & 1:
            raise FormatError(f"{path} is encrypted", next_step="unpack it with its password")
        found.append((member, place))
    size = sum(member.file_size for member in members)
    packed = max(1, sum(member.compress_size for member in members))
    if size > MOST_BYTES or (size > _PLAIN_BYTES and size / packed > _MOST_RATIO):
        raise FormatError(
            f"{path} would unpack to {size / 2**30:,.1f} GiB from {packed / 2**20:,.1f} MiB",
            next_step="unpack what is needed of it by hand, if you trust it",
        )
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if size > free:
        raise OutputError(
            f"{tempfile.gettempdir()} has no room to unpack {path}, {size / 2**30:.1f} GiB",
            next_step="free some space, or name another folder in the environment variable TMPDIR",
        )
    return found
