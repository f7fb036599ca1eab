"""An upload as a folder of inputs: ZIPs unpacked, files under neutral names, sequences as the user assigned them."""

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from tumorseg.errors import FormatError, TumorsegError
from tumorseg.formats.archive import Archive
from tumorseg.inference.sequence_choice import NO_CHOICE, SequenceChoice, parse_choice
from tumorseg.web.names import NeutralNames, is_hidden, is_zip, shown_name
from tumorseg.web.problems import Refused

_WORD = re.compile(r"[a-z][a-z0-9_-]*")
_NUMBER = re.compile(r"_\d+$")
_BETWEEN = re.compile(r"\s+(?=[A-Za-z][\w-]*=)")
"""Between two words; names of files may hold blanks."""

_STEP = "give for example pre=0 flair=1 post=2, or flair=*_flair.nii.gz"


@dataclass(frozen=True)
class Upload:
    """One file as it came.

    Attributes:
        name: what the user calls it; may be the path in a folder that was dropped.
        path: where it lies now.
    """

    name: str
    path: Path


@dataclass
class Arranged:
    """The files of an upload, those in ZIPs counted as they are found.

    Attributes:
        folder: of all of them.
        names: what the user calls each, by its path below `folder`.
        numbers: of each, from 1, by which messages name it.
        choice: which file or channel is which sequence.
        failures: archives that could not be unpacked: their number, and why.
    """

    folder: Path
    names: dict[Path, PurePosixPath] = field(default_factory=dict)
    numbers: dict[Path, int] = field(default_factory=dict)
    choice: SequenceChoice = NO_CHOICE
    failures: list[tuple[PurePosixPath, int, TumorsegError]] = field(default_factory=list)

    def known(self) -> dict[str, str]:
        """What stands in messages for each file, and for each scan that rooms below name after its files."""
        found: dict[str, str] = {}
        for path, number in self.numbers.items():
            place = path.relative_to(self.folder)
            stem = path.name.partition(".")[0]
            for name in (stem, _NUMBER.sub("", stem), place.parent.name):
                found.setdefault(f"{place.parent.name}/{name}", "the scan")
            found.setdefault(str(path.parent), "the folder")
            for name in (str(path), str(place), path.name):
                found[name] = f"file {number}"
        return found


def arrange(uploads: Sequence[Upload], channels: str, folder: Path, *, max_files: int, max_bytes: int) -> Arranged:
    """Move an upload into `folder`, from where `find_inputs` reads it.

    Args:
        uploads: as they came.
        channels: words as of `--channels`; names and patterns are those that the user knows.
        folder: is made.
        max_files, max_bytes: of all files, unpacked.

    Raises:
        Refused: more files or bytes than allowed, or channels that fit nothing.
        FormatError: the only file is an archive that cannot be unpacked.
    """
    folder.mkdir(mode=0o700)
    arranged = Arranged(folder)
    waiting = folder.with_name(folder.name + ".waiting")
    waiting.mkdir(mode=0o700)
    found: list[tuple[PurePosixPath, Path]] = []
    room = max_bytes
    for upload in uploads:
        name = shown_name(upload.name)
        if is_hidden(name):
            upload.path.unlink()
        elif is_zip(name):
            try:
                members = _unpacked(upload, name, waiting, len(found), max_files=max_files, room=room)
            except FormatError as error:
                if len(uploads) == 1:
                    raise
                arranged.failures.append((name, len(found) + len(arranged.failures) + 1, error))
                continue
            finally:
                upload.path.unlink(missing_ok=True)
            room -= sum(path.stat().st_size for _, path in members)
            found += members
        else:
            found.append((name, upload.path))
            room -= upload.path.stat().st_size
        if len(found) > max_files:
            raise _too_many(max_files)
    _place(found, channels, arranged)
    shutil.rmtree(waiting)
    return arranged


def _unpacked(
    upload: Upload, archive_name: PurePosixPath, waiting: Path, first: int, *, max_files: int, room: int
) -> list[tuple[PurePosixPath, Path]]:
    """The files of a ZIP, by the names that they have in it, under numbers."""
    archive = Archive(upload.path)
    names = [name for name in archive.names if not is_hidden(shown_name(name)) and not is_zip(shown_name(name))]
    if first + len(names) > max_files:
        raise _too_many(max_files)
    if archive.unpacked_size(names) > room:
        raise Refused(413, "the files of the ZIP are larger than this server takes", next_step="send fewer at once")
    home = archive_name.with_name(archive_name.name[:-4] or "zip")
    members = []
    for offset, name in enumerate(names):
        target = waiting / str(first + offset)
        with archive.opened(name) as packed, open(target, "xb") as file:
            shutil.copyfileobj(packed, file, 2**20)
        members.append((home / shown_name(name), target))
    return members


def _place(found: Sequence[tuple[PurePosixPath, Path]], channels: str, arranged: Arranged) -> None:
    """Give every file its neutral name, and let the choice of sequences speak of these."""
    patterns, indices = _parsed(channels)
    neutral = NeutralNames()
    stars: dict[tuple[PurePosixPath, str], int] = {}
    used: dict[str, str] = {}
    for number, (name, path) in enumerate(found, start=1):
        place = neutral.place(name)
        fit = _fitting(patterns, name)
        if fit is not None:
            sequence, star = fit
            count = stars.setdefault((name.parent if star else PurePosixPath(), star), len(stars) + 1)
            if sequence in patterns.patterns:
                # All that one scan's files have in common is their number, which stands for the `*`.
                suffix = "".join(place.suffixes)
                place = PurePosixPath(f"c{count:06}", f"{sequence}__{count:06}{suffix}")
                used[sequence] = f"{sequence}__*"
            else:
                place = PurePosixPath(f"c-{sequence}") / place.name
                used[sequence] = str(arranged.folder / f"c-{sequence}")
        target = arranged.folder / place
        while target in arranged.numbers:
            target = target.with_name(f"{number}-{target.name}")
        target.parent.mkdir(mode=0o700, exist_ok=True, parents=True)
        path.rename(target)
        arranged.names[target], arranged.numbers[target] = name, number
    for sequence in patterns.names:
        if sequence not in used:
            raise Refused(422, f"channels: no file has a name that fits {sequence}", next_step=_STEP)
    folders = {name: Path(value) for name, value in used.items() if name in patterns.files}
    plain = {name: value for name, value in used.items() if name in patterns.patterns}
    if folders and plain:
        raise Refused(422, "channels: folders and names of files are mixed", next_step="name folders, or files, alone")
    arranged.choice = SequenceChoice(indices=indices, files=folders, patterns=plain)


def _parsed(channels: str) -> tuple[SequenceChoice, dict[str, int]]:
    """What the words say, in the user's own names: patterns of files, folders, or indices of channels."""
    words = _BETWEEN.split(channels.strip())
    if words == [""]:
        return NO_CHOICE, {}
    values: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        name = name.strip().lower()
        if not equals or not value or not _WORD.fullmatch(name) or name in values or value.count("*") > 1:
            raise Refused(422, "channels is not of the form NAME=WHICH NAME=WHICH", next_step=_STEP)
        values[name] = value
    if all(value.isdecimal() for value in values.values()):
        return NO_CHOICE, dict(parse_choice(words).indices)
    if any(value.isdecimal() for value in values.values()):
        raise Refused(422, "channels mixes numbers and names", next_step=_STEP)
    folders = {name: Path(value.strip("/")) for name, value in values.items() if "*" not in value and "." not in value}
    return SequenceChoice(
        files=folders, patterns={name: value for name, value in values.items() if name not in folders}
    ), {}


def _fitting(patterns: SequenceChoice, name: PurePosixPath) -> tuple[str, str] | None:
    """The sequence that a file is of, and what stands for `*`; None where no word speaks of it."""
    for sequence, folder in patterns.files.items():
        if any(str(parent) == str(folder) or str(parent).endswith(f"/{folder}") for parent in name.parents):
            return sequence, ""
    return patterns.matching(name)


def _too_many(most: int) -> Refused:
    return Refused(413, f"there are more than {most:,} files", next_step="send fewer at once")
