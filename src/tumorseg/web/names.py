"""Names on the disk that say nothing about anybody, and yet keep together what belongs together."""

import re
import unicodedata
from pathlib import Path, PurePosixPath

from tumorseg.errors import TumorsegError
from tumorseg.formats import split_name

MOST_LENGTH = 255
MOST_PARTS = 16

_NUMBERED = re.compile(r"(?P<stem>.+)_(?P<number>\d{1,6})")
_KEPT_ENDINGS = ("_mask", "_overlay")
_ZIP = ".zip"


def shown_name(given: str) -> PurePosixPath:
    """What a person called a file, as a harmless relative path that is for showing alone.

    Returns:
        At least one part; without drives, "..", control characters, and what is longer than any real name.
    """
    text = unicodedata.normalize("NFC", given.replace("\\", "/"))
    text = "".join(char for char in text if unicodedata.category(char)[0] != "C")
    parts = [part.strip() for part in text.split("/")]
    kept = [part[-MOST_LENGTH:] for part in parts if part not in ("", ".", "..") and not part.endswith(":")]
    return PurePosixPath(*kept[-MOST_PARTS:]) if kept else PurePosixPath("file")


def is_zip(name: PurePosixPath) -> bool:
    """Whether a name says that it is an archive."""
    return name.name.lower().endswith(_ZIP)


def is_hidden(name: PurePosixPath) -> bool:
    """Whether it is what systems leave in folders and no scan."""
    return any(part.startswith(".") or part == "__MACOSX" for part in name.parts)


class NeutralNames:
    """Gives each file a place below the inputs' folder.

    Files of one folder stay in one folder, `<stem>_<number>` of one stem keep their numbers and a common stem, suffixes
    stay; of what people call things nothing else does.
    """

    def __init__(self) -> None:
        self._folders: dict[tuple[PurePosixPath, int], str] = {}
        self._stems: dict[tuple[str, str, str], str] = {}
        self._seen: dict[PurePosixPath, int] = {}

    def place(self, name: PurePosixPath) -> PurePosixPath:
        """Where a file is kept; a second file of one name comes into another folder."""
        times = self._seen.get(name, 0)
        self._seen[name] = times + 1
        folder = self._folders.setdefault((name.parent, times), f"d{len(self._folders) + 1:06}")
        return PurePosixPath(folder, self._file(folder, name))

    def _file(self, folder: str, name: PurePosixPath) -> str:
        if name.name.lower() == "dicomdir":
            return "DICOMDIR"
        stem, suffix = _split(name)
        ending = next((end for end in _KEPT_ENDINGS if stem.lower().endswith(end)), "")
        bare = stem[: len(stem) - len(ending)]
        match = _NUMBERED.fullmatch(bare)
        if match:
            return f"{self._stem(folder, match['stem'], suffix)}_{match['number']}{ending}{suffix}"
        return f"{self._stem(folder, bare, suffix)}{ending}{suffix}"

    def _stem(self, folder: str, stem: str, suffix: str) -> str:
        return self._stems.setdefault((folder, stem, suffix), f"s{len(self._stems) + 1:06}")


def _split(name: PurePosixPath) -> tuple[str, str]:
    """Stem and suffix; a suffix that promises no known format is no suffix."""
    try:
        stem, suffix = split_name(Path(name.name))
    except TumorsegError:
        return name.name, ""
    return stem or "x", suffix.lower()
