"""What people name on the command line, as scans: files, folders with all that is in them, ZIPs.

Files `<stem>_<number>.<suffix>` of one slice each in one folder are one scan, ordered by the number; DICOM files with
one SeriesInstanceUID are one scan, ordered by position; any other file is its own scan, unless `--channels` says that
several are the sequences of one. `_mask` files are never inputs. The tree below a folder that was named is mirrored
in the output.
"""

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tumorseg.errors import DataError, TumorsegError
from tumorseg.formats import FORMATS, Format, split_name
from tumorseg.formats.dicom_series import Series, find_series
from tumorseg.inference.places import Draft, OutputFormat, settle
from tumorseg.inference.sequence_choice import NO_CHOICE, SequenceChoice
from tumorseg.inference.unpacking import Unpacked
from tumorseg.inference.walking import Failure, Found, distinct, files_of, outermost_first

__all__ = ["Failure", "InputScan", "Listing", "find_inputs"]

_NUMBERED = re.compile(r"(?P<stem>.+)_(?P<number>\d+)")
_MOST_BYTES = 230
"""Of a mask's name: file systems take 255, and its temporary name and its overlay's are longer."""


@dataclass(frozen=True)
class InputScan:
    """One scan to segment, by names alone; `load` reads it.

    Attributes:
        id: its place below the output folder, such as "a/b/x" for a/b/x_1.tif, a/b/x_2.tif, …
        sources: its files, in the order of their numbers, or of the sequences.
        slice_numbers: as the files name them; of other scans, none.
        targets: its masks, relative to the output folder: of each source, or one for all.
        format: of all of them.
        sequences: the files of each sequence by its name, where `--channels` named them; else empty.
        problem: why it cannot be segmented, known before it is read; "" where nothing is known.
    """

    id: str
    sources: tuple[Path, ...]
    slice_numbers: tuple[int, ...]
    targets: tuple[Path, ...]
    format: Format
    sequences: tuple[tuple[str, tuple[Path, ...]], ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class Listing:
    """What the inputs name.

    Attributes:
        scans: sorted by id.
        failures: what could not be looked into.
        output_format: of the masks.
        left_out: files that no pattern of `--channels` fits.
        unpacked: holds what was unpacked from ZIPs, for as long as it lives.
    """

    scans: tuple[InputScan, ...]
    failures: tuple[Failure, ...] = ()
    output_format: OutputFormat = "same"
    left_out: tuple[Path, ...] = ()
    unpacked: Unpacked = field(default_factory=Unpacked)


@dataclass(frozen=True)
class _Group:
    """Files that are one scan, and where it is mirrored."""

    draft: Draft
    files: tuple[Path, ...]
    numbers: tuple[int, ...] = ()
    sequences: tuple[tuple[str, tuple[Path, ...]], ...] = ()
    problem: str = ""


def find_inputs(
    inputs: Sequence[Path], *, choice: SequenceChoice = NO_CHOICE, output_format: OutputFormat = "same"
) -> Listing:
    """The scans that `inputs` name; of most files nothing is opened yet.

    Two inputs whose masks would have one name keep their parent folder, and as many more as it takes.

    Args:
        inputs: files, folders and ZIPs; may be empty where `choice` names files.
        choice: what `parse_choice` gives.
        output_format: "same", "nifti", "dicom-seg" or "png".

    Raises:
        DataError: an input does not exist, is of no format that is read, there is nothing to segment, or masks of
            this format cannot be written for it.
    """
    failures: list[Failure] = []
    unpacked = Unpacked()
    named = _inputs_of(inputs, choice)
    found = list(distinct(file for path in outermost_first(named) for file in files_of(path, unpacked, failures)))
    left_out: list[Path] = []
    if choice.files:
        groups = [_one_scan(found, choice)]
    elif choice.patterns:
        groups = _by_pattern(found, choice, left_out)
    else:
        groups = _by_name_and_series(found, failures)
    if not groups:
        raise _nothing(named, choice, failures, unpacked)
    if output_format == "dicom-seg":
        for group in groups:
            if group.draft.format is not FORMATS["dicom"]:
                raise DataError(
                    f"{unpacked.named(str(group.files[0]))} is {group.draft.format.name}, and a DICOM-SEG refers to "
                    "DICOM files",
                    next_step="choose another --format",
                )
    scans = []
    for group, (prefix, with_suffix) in zip(
        groups, settle([group.draft for group in groups], output_format), strict=True
    ):
        draft = group.draft
        kept = draft.suffixes[0].replace(".", "_").lower() if with_suffix else ""
        targets = tuple(prefix / target for target in draft.targets(output_format, with_suffix=with_suffix))
        scans.append(
            InputScan(
                id=(prefix / draft.stem).as_posix() + kept,
                sources=group.files,
                slice_numbers=group.numbers,
                targets=targets,
                format=draft.format,
                sequences=group.sequences,
                problem=group.problem or _too_long(targets),
            )
        )
    scans.sort(key=lambda scan: (scan.id, scan.sources[0].name))
    readable = tuple(Failure(Path(unpacked.named(str(each.path))), unpacked.named(each.reason)) for each in failures)
    return Listing(tuple(scans), readable, output_format, tuple(left_out), unpacked)


def _inputs_of(inputs: Sequence[Path], choice: SequenceChoice) -> list[Path]:
    """The inputs, and the files that `--channels` names; where it names files, nothing else is an input."""
    if not choice.files:
        return list(inputs)
    files = {os.path.realpath(path) for path in choice.files.values()}
    for path in inputs:
        if not any(place == os.path.realpath(path) or _below(place, path) for place in files):
            raise DataError(
                f"--channels names the files of one scan, and {path} is none of them",
                next_step="leave it out, or say what the names look like: --channels flair='*_flair.nii.gz'",
            )
    return list(choice.files.values())


def _below(place: str, folder: Path) -> bool:
    return Path(place).is_relative_to(os.path.realpath(folder))


def _nothing(
    inputs: Sequence[Path], choice: SequenceChoice, failures: Sequence[Failure], unpacked: Unpacked
) -> DataError:
    if not inputs:
        return DataError("no INPUT was given", next_step="give image files, folders or ZIPs")
    named = ", ".join(str(path) for path in inputs[:3]) + (", …" if len(inputs) > 3 else "")
    if choice.patterns:
        looks = " ".join(f"{name}={pattern}" for name, pattern in choice.patterns.items())
        return DataError(f"no file in {named} has a name like {looks}", next_step="check --channels")
    why = f" ({unpacked.named(failures[0].reason)})" if failures else ""
    return DataError(f"no scan in {named}{why}", next_step="give image files such as .tif; masks are never inputs")


def _by_name_and_series(found: Sequence[Found], failures: list[Failure]) -> list[_Group]:
    """Numbered slices, DICOM series and lone files."""
    groups = list(_series([file for file in found if file.format is FORMATS["dicom"]], failures))
    numbered: dict[tuple[str, str, str], list[tuple[int, Found]]] = defaultdict(list)
    for file in found:
        if file.format is FORMATS["dicom"]:
            continue
        stem, suffix = split_name(file.path)
        match = _NUMBERED.fullmatch(stem)
        if match and _is_slice(file):
            numbered[os.path.realpath(file.path.parent), match["stem"], suffix].append((int(match["number"]), file))
        else:
            groups.append(_Group(_draft(file), (file.path,)))
    for (_, stem, _), members in numbered.items():
        members.sort(key=lambda member: (member[0], member[1].path.name))
        first = members[0][1]
        draft = Draft(
            first.root,
            first.mirrored.parent / stem,
            tuple(_bare(file) for _, file in members),
            tuple(split_name(file.path)[1] for _, file in members),
            first.format,
        )
        groups.append(_Group(draft, tuple(file.path for _, file in members), tuple(number for number, _ in members)))
    return groups


def _series(files: Sequence[Found], failures: list[Failure]) -> Iterable[_Group]:
    """DICOM images by the series that they say they are of; segmentations are masks, and so no inputs."""
    if not files:
        return
    by_path = {file.path: file for file in files}
    listing = find_series(by_path)
    failures.extend(Failure(path, str(error)) for path, error in listing.failures)
    homes: dict[tuple[Path, Path], list[Series]] = defaultdict(list)
    for series in listing.series:
        members = [by_path[path] for path in series.paths]
        if series.is_segmentation:
            continue
        if len(members) == 1 and members[0].lone:
            yield _Group(_draft(members[0]), series.paths)
        else:
            homes[members[0].root, _home(members)].append(series)
    for (root, home), together in homes.items():
        for series, name in zip(together, _names(together), strict=True):
            draft = _folder_draft(root, home)
            stem = draft.stem.with_name(f"{draft.stem.name}_{name}") if name else draft.stem
            yield _Group(replace(draft, stem=stem), series.paths)


def _names(together: Sequence[Series]) -> list[str]:
    """What tells the series of one folder apart: their descriptions, or where these are not enough their UIDs."""
    if len(together) == 1:
        return [""]
    names = [re.sub(r"[^A-Za-z0-9]+", "-", series.description).strip("-")[:40] for series in together]
    if all(names) and len({name.casefold() for name in names}) == len(names):
        return names
    return [re.sub(r"[^A-Za-z0-9.]+", "-", series.uid).strip("-.")[-64:] for series in together]


def _folder_draft(root: Path, home: Path) -> Draft:
    """A series is named after its folder."""
    if home == Path():
        root = root.resolve()
        root, home = root.parent, Path(root.name or "series")
    return Draft(root, home, (), (".dcm",), FORMATS["dicom"])


def _home(members: Sequence[Found]) -> Path:
    """The folder that a series lies in, below its root."""
    return Path(os.path.commonpath([str(Path("/") / file.mirrored.parent) for file in members])).relative_to("/")


def _one_scan(found: Sequence[Found], choice: SequenceChoice) -> _Group:
    """The files that `--channels` names, as one scan."""
    members: dict[str, list[Found]] = {}
    for name, path in choice.files.items():
        home = os.path.realpath(path)
        places = {os.path.realpath(file.path): file for file in found}
        members[name] = [
            file for place, file in places.items() if place == home or (path.is_dir() and _below(place, path))
        ]
        if not members[name]:
            raise DataError(f"--channels {name}={path}: there is no scan in it", next_step="check the path")
    return _joined(members)


def _by_pattern(found: Sequence[Found], choice: SequenceChoice, left_out: list[Path]) -> list[_Group]:
    """Files in one folder whose names fit the patterns with the same in the place of `*`, as one scan each."""
    scans: dict[tuple[Path, str], dict[str, list[Found]]] = defaultdict(dict)
    for file in found:
        fit = choice.matching(file.path)
        if fit is None:
            left_out.append(file.path)
        else:
            scans[file.path.parent, fit[1]].setdefault(fit[0], []).append(file)
    return [_joined({name: members[name] for name in choice.names if name in members}) for members in scans.values()]


def _joined(members: dict[str, list[Found]]) -> _Group:
    """One scan of several sequences; its mask lies on the grid, and beside the name, of the first: FLAIR if there."""
    order = sorted(members, key=lambda name: name != "flair")
    formats = {file.format.name for files in members.values() for file in files}
    problem = ""
    if len(formats) > 1:
        problem = f"the sequences of a scan are of several formats, {', '.join(sorted(formats))}; convert them to one"
    for name, files in members.items():
        if len(files) > 1 and files[0].format is not FORMATS["dicom"]:
            problem = f"{files[0].path.parent} holds {len(files)} files for {name}; name one of them"
    sequences = tuple((name, tuple(file.path for file in members[name])) for name in order)
    first = members[order[0]]
    draft = _draft(first[0])
    if len(first) > 1:
        draft = _folder_draft(first[0].root, _home(first))
    return _Group(draft, tuple(path for _, paths in sequences for path in paths), (), sequences, problem)


def _draft(file: Found) -> Draft:
    return Draft(file.root, _bare(file), (), (_suffix(file),), file.format)


def _bare(file: Found) -> Path:
    """Its mirrored place without the suffix of its format."""
    suffix = _suffix(file)
    name = file.mirrored.name
    return file.mirrored.with_name(name[: len(name) - len(suffix)]) if suffix else file.mirrored


def _suffix(file: Found) -> str:
    """The suffix of its format; "" for a DICOM file that has none."""
    try:
        return split_name(file.path)[1]
    except TumorsegError:
        return ""


def _too_long(targets: Sequence[Path]) -> str:
    """Why no mask can be written under these names; "" where nothing is wrong with them."""
    longest = max(len(os.fsencode(target.name)) for target in targets)
    return f"a mask's name would have {longest} bytes, more than {_MOST_BYTES}; give it a shorter name" * (
        longest > _MOST_BYTES
    )


def _is_slice(file: Found) -> bool:
    """Whether a numbered file is one slice of a scan: NIfTI never is, and of NumPy its header says."""
    if file.format.read_volume is None:
        return True
    if file.format is not FORMATS["numpy"]:
        return False
    try:
        return file.format.header(file.path).slices == 1
    except TumorsegError:
        return False
