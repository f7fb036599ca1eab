"""Where in the output folder a scan's mask lies: the input's tree, and what keeps two of one name apart."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tumorseg.errors import DataError
from tumorseg.formats import FORMATS, Format
from tumorseg.inference.walking import MASK

OutputFormat = str
"""One of `OUTPUT_FORMATS`."""

OUTPUT_FORMATS = ("same", "nifti", "dicom-seg", "png")
NIFTI, DICOM_SEG, PNG, MATLAB = ".nii.gz", ".dcm", ".png", ".mat"


@dataclass(frozen=True)
class Draft:
    """A scan whose place is not settled yet.

    Attributes:
        root: the folder below which it is mirrored.
        stem: its place below `root`, without a suffix.
        stems: the same of each slice, where each slice has a file of its own; else empty.
        suffixes: of the source of each stem, or of the one file.
    """

    root: Path
    stem: Path
    stems: tuple[Path, ...]
    suffixes: tuple[str, ...]
    format: Format

    def targets(self, wanted: OutputFormat, *, with_suffix: bool = False) -> tuple[Path, ...]:
        """The mask files, below `root`.

        Args:
            with_suffix: whether the stem keeps the source's suffix, as in x_jpg_mask.png.
        """
        whole = wanted in ("nifti", "dicom-seg")
        stems = (self.stem,) if whole or not self.stems else self.stems
        return tuple(
            stem.with_name(
                stem.name
                + (suffix.replace(".", "_").rstrip("_").lower() if with_suffix else "")
                + MASK
                + mask_suffix(self.format, suffix, wanted)
            )
            for stem, suffix in zip(stems, self.suffixes[:1] if whole else self.suffixes, strict=True)
        )


def mask_suffix(kind: Format, suffix: str, wanted: OutputFormat) -> str:
    """How a mask's file name ends.

    Args:
        kind: of the source, whose name ends in `suffix`.
        wanted: "same" is the source's own format; JPEG, which blurs a mask's edges, gives PNG.
    """
    if wanted != "same":
        return {"nifti": NIFTI, "dicom-seg": DICOM_SEG, "png": PNG}[wanted]
    if kind is FORMATS["jpeg"]:
        return PNG
    return DICOM_SEG if kind is FORMATS["dicom"] else suffix


def settle(drafts: Sequence[Draft], wanted: OutputFormat) -> list[tuple[Path, bool]]:
    """What the place of each draft begins with, and whether it keeps its source's suffix, so that all masks differ.

    Two roots whose masks would have one name keep their parent folder, and as many more as it takes.

    Raises:
        DataError: two masks would still have one name.
    """
    depths = dict.fromkeys((draft.root for draft in drafts), 0)
    kept: set[int] = set()
    while True:
        owners: dict[str, set[int]] = defaultdict(set)
        for index, draft in enumerate(drafts):
            prefix = _tail(draft.root, depths[draft.root])
            for target in draft.targets(wanted, with_suffix=index in kept):
                # Some file systems do not tell X from x.
                owners[str(prefix / target).casefold()].add(index)
        clashes = [clash for clash in owners.values() if len(clash) > 1]
        if not clashes:
            return [(_tail(draft.root, depths[draft.root]), index in kept) for index, draft in enumerate(drafts)]
        growing: set[Path] = set()
        renamed: set[int] = set()
        for clash in clashes:
            roots = {drafts[index].root for index in clash}
            if len(roots) > 1:
                growing |= {root for root in roots if _tail(root, depths[root] + 1) != _tail(root, depths[root])}
            elif len({drafts[index].suffixes[0].lower() for index in clash}) == len(clash):
                renamed |= clash - kept
        if not growing and not renamed:
            names = " and ".join(sorted(str(drafts[index].root / drafts[index].stem) for index in clashes[0]))
            raise DataError(f"two inputs would share one mask: {names}", next_step="segment them into two folders")
        for root in growing:
            depths[root] += 1
        kept |= renamed


def _tail(root: Path, depth: int) -> Path:
    """The last `depth` folders of a path."""
    parts = root.resolve().parts[1:]
    return Path(*parts[len(parts) - min(depth, len(parts)) :])
