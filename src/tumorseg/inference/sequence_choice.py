"""What `--channels` says: which channel of a file, or which file of a scan, is which sequence."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from tumorseg.errors import DataError

_NEXT = "give for example --channels pre=0 flair=1 post=2, or --channels flair=FILE post=FILE"
_NAME = re.compile(r"[a-z][a-z0-9_-]*")


@dataclass(frozen=True)
class SequenceChoice:
    """Sequences by name; of the three kinds at most one is there.

    Attributes:
        indices: the channel of each file that is the sequence, from 0.
        files: the file, or the folder of a DICOM series, of one scan that is the sequence.
        patterns: what the names of the files look like that are the sequence, with at most one `*`.
    """

    indices: Mapping[str, int] = field(default_factory=dict)
    files: Mapping[str, Path] = field(default_factory=dict)
    patterns: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The sequences that were named."""
        return (*self.indices, *self.files, *self.patterns)

    def matching(self, path: PurePath) -> tuple[str, str] | None:
        """The sequence that a file's name says it is, and what stands for `*`; None where no pattern fits."""
        for name, pattern in self.patterns.items():
            before, star, after = pattern.partition("*")
            fits = path.name.startswith(before) and path.name.endswith(after)
            if star and fits and len(path.name) > len(before) + len(after):
                return name, path.name[len(before) : len(path.name) - len(after)]
            if path.name == pattern:
                return name, ""
        return None


NO_CHOICE = SequenceChoice()


def parse_choice(words: Sequence[str], *, inputs: Sequence[Path] = ()) -> SequenceChoice:
    """Read the words `name=value` of `--channels`.

    A number is the index of a channel; a path that exists is a file, or the folder of a DICOM series, of the one scan
    there is; anything else is what the names of files look like, among the inputs or in the folders that they name.

    Raises:
        DataError: a word is not of this form, a name is given twice, kinds are mixed, or a file is not there.
    """
    values: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        name = name.strip().lower()
        if not equals or not value or not _NAME.fullmatch(name):
            raise DataError(f"--channels {word} is not of the form NAME=VALUE", next_step=_NEXT)
        if name in values:
            raise DataError(f"--channels names {name} twice", next_step=_NEXT)
        values[name] = value
    if all(value.isdecimal() for value in values.values()):
        return _indices({name: int(value) for name, value in values.items()})
    for name, value in values.items():
        if value.isdecimal():
            raise DataError(f"--channels mixes numbers and files at {name}={value}", next_step=_NEXT)
    if all(os.path.lexists(value) for value in values.values()):
        return _files({name: Path(value) for name, value in values.items()})
    for name, value in values.items():
        if not inputs:
            if not os.path.lexists(value):
                raise DataError(f"--channels {name}={value}: {value} does not exist", next_step="check the path")
        elif value.count("*") > 1 or "/" in value:
            raise DataError(
                f"--channels {name}={value} is neither a file that exists nor what a file's name looks like",
                next_step="give for example flair=*_flair.nii.gz, with one * at most",
            )
    return SequenceChoice(patterns=values)


def refuse_useless(choice: SequenceChoice, wanted: Sequence[str]) -> None:
    """Raise DataError where a choice names what the model knows nothing of, or nothing that it can do with.

    Args:
        wanted: the model's channels.
    """
    known = tuple(dict.fromkeys((*wanted, "flair")))
    for name in choice.names:
        if name not in known:
            raise DataError(f"--channels names '{name}', which the model does not use", next_step=f"name {_or(known)}")
    if choice.names and "flair" not in choice.names and not set(wanted) <= set(choice.names):
        raise DataError(
            f"--channels names {', '.join(choice.names)}, but the model needs {', '.join(wanted)}",
            next_step="name FLAIR as well, which takes the place of what is missing: --channels flair=…",
        )


def _indices(indices: dict[str, int]) -> SequenceChoice:
    for name, index in indices.items():
        if list(indices.values()).count(index) > 1:
            raise DataError(f"--channels gives channel {index} to {name} and to another", next_step=_NEXT)
    return SequenceChoice(indices=indices)


def _files(files: dict[str, Path]) -> SequenceChoice:
    places = [os.path.realpath(path) for path in files.values()]
    for (name, path), place in zip(files.items(), places, strict=True):
        if places.count(place) > 1:
            raise DataError(f"--channels gives {path} to {name} and to another", next_step=_NEXT)
    return SequenceChoice(files=files)


def _or(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
