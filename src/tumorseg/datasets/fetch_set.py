"""What is known of a published data set before a byte of it is here."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tumorseg.answer import Patience, RemoteFile
from tumorseg.progress import Progress

_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Packed:
    """One file of a data set in what was downloaded.

    Attributes:
        place: where it belongs in the data set's folder, with forward slashes.
        size: in bytes, unpacked.
        read: gives its bytes; raises FormatError where they are damaged.
    """

    place: str
    size: int
    read: Callable[[], bytes]


@dataclass(frozen=True)
class Contents:
    """All files of a data set in what was downloaded, and what is odd about it."""

    files: Sequence[Packed]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Holding:
    """What a whole data set holds, in words.

    Attributes:
        text: such as "110 patients, 3,929 slices".
        warnings: what could not be made sure of.
    """

    text: str
    warnings: tuple[str, ...] = ()


class Verify(Protocol):
    """Says what a folder holds."""

    def __call__(self, folder: Path, *, strict: bool, progress: Progress) -> Holding:
        """Read the whole set.

        Args:
            folder: where it lies.
            strict: whether it must be the published set, whole; otherwise what is missing is a warning.
            progress: told of the files.

        Raises:
            DataError: it is damaged, differs from what was published, or is not whole.
        """
        ...


@dataclass(frozen=True)
class PublishedSet:
    """A data set that can be fetched.

    Attributes:
        name: as on the command line.
        licence: what the licence asks for, in a sentence or two.
        page: the web page on which a person finds it.
        by_hand: what to download there.
        address: of the files, or of the list of them.
        offered: the files to download by their names, read from an address; small lists go to the folder.
        contents: the data set's files in a downloaded archive, or in a folder with what was downloaded.
        verify: what a folder with the unpacked set holds.
        account: what to do where the server wants to know who asks; "" where it never does.
    """

    name: str
    licence: str
    page: str
    by_hand: str
    address: str
    offered: Callable[[str, Path, Patience, bool], Mapping[str, RemoteFile]]
    contents: Callable[[Path], Contents]
    verify: Verify
    account: str = ""


def is_plain_name(name: str) -> bool:
    """Whether a file may be written under a name that a server chose."""
    return bool(_PLAIN_NAME.fullmatch(name))
