"""Where answers go: what may be written over, what is whole already, and the writing itself."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tumorseg.errors import OutputError
from tumorseg.files import unwritable, write_json
from tumorseg.inference.contours import contours
from tumorseg.inference.inputs import InputScan, Listing
from tumorseg.inference.loading import Loaded
from tumorseg.inference.mask_files import Grid, picture_folder, read_mask_files, write_mask_files, write_pictures
from tumorseg.inference.model import ModelSpec
from tumorseg.inference.overlay import grey_window, overlay_slice
from tumorseg.inference.places import OutputFormat
from tumorseg.inference.summary import SUMMARY_CSV, SUMMARY_JSON
from tumorseg.inference.walking import MASK, OVERLAY
from tumorseg.scan import Mask, Segmentation

Existing = Literal["refuse", "overwrite", "resume"]
"""What happens to outputs that are there: an error, new ones in their place, or those that are whole stay."""

CONTOURS = "_contours.json"


@dataclass(frozen=True)
class Wanted:
    """What is written for each scan.

    Attributes:
        format: of the masks.
        overlay: a picture of each slice with the outline as well.
        contours: the outlines as JSON as well.
    """

    format: OutputFormat = "same"
    overlay: bool = False
    contours: bool = False


def check_output(listing: Listing, output: Path, existing: Existing, wanted: Wanted | None = None) -> None:
    """Make the output folder, before anything is computed.

    Raises:
        OutputError: it cannot be made or written, or holds what is not to be replaced.
    """
    wanted = wanted or Wanted(listing.output_format)
    if output.exists() and not output.is_dir():
        raise OutputError(f"{output} is not a folder", next_step="choose another --output")
    if existing == "refuse":
        _refuse_existing(listing, output, wanted)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(output, error) from error
    if not os.access(output, os.W_OK | os.X_OK):
        raise OutputError(f"cannot write into {output}: no permission", next_step="choose another --output")


def kept_masks(entry: InputScan, output: Path, wanted: Wanted) -> Mask | None:
    """The masks of a scan as one, (slices, height, width), where all that is wanted is there and whole; else None."""
    mask = read_mask_files([output / target for target in entry.targets], grid_of(entry), wanted.format)
    if mask is None:
        return None
    if wanted.contours and not _is_json(output / contours_place(entry.id)):
        return None
    if wanted.overlay:
        pictures = [output / place for place in overlay_places(entry.targets)]
        if not all(path.is_file() for path in pictures) and not picture_folder(pictures[0]).is_dir():
            return None
    return mask


def write_answer(
    segmentation: Segmentation, loaded: Loaded, entry: InputScan, output: Path, wanted: Wanted, spec: ModelSpec
) -> tuple[Path, ...]:
    """Write all that is wanted of one scan, its masks last, each file whole or not at all.

    Returns:
        The masks, relative to the output folder.

    Raises:
        OutputError: a file cannot be written.
        DataError: this scan's mask cannot be of this format.
    """
    scan = segmentation.scan
    if wanted.contours:
        write_json(output / contours_place(entry.id), contours(segmentation, spec.classes))
    if wanted.overlay:
        window = grey_window(scan)
        pictures = (overlay_slice(segmentation, index, window) for index in range(len(segmentation.mask)))
        places = [output / place for place in overlay_places(loaded.targets)]
        write_pictures(places, pictures, scan.slice_numbers or range(1, len(segmentation.mask) + 1))
    written = write_mask_files(
        segmentation.mask,
        [output / target for target in loaded.targets],
        scan,
        grid_of(entry, loaded),
        wanted.format,
        spec.classes,
        spec.name,
    )
    return tuple(path.relative_to(output) for path in written)


def grid_of(entry: InputScan, loaded: Loaded | None = None) -> Grid:
    """The files that a scan's mask lies on: all, or those of the first sequence where each has its own."""
    if entry.sequences:
        return Grid(entry.format, entry.sequences[0][1])
    if loaded is not None and loaded.scan is not None:
        return Grid(entry.format, loaded.scan.sources, loaded.scan.slice_numbers)
    return Grid(entry.format, entry.sources, entry.slice_numbers)


def overlay_places(targets: tuple[Path, ...]) -> list[Path]:
    """x_overlay.png for x_mask.tif."""
    return [target.with_name(target.name.rpartition(MASK)[0] + OVERLAY + ".png") for target in targets]


def contours_place(scan: str) -> Path:
    """x_contours.json for the scan x."""
    return Path(scan + CONTOURS)


def _refuse_existing(listing: Listing, output: Path, wanted: Wanted) -> None:
    there = [output / place for place in _places(listing, wanted) if os.path.lexists(output / place)]
    if there:
        named = f"{there[0]} exists" if len(there) == 1 else f"{there[0]} and {len(there) - 1} more exist"
        raise OutputError(
            f"{named} already",
            next_step="add --resume to keep what is whole, --overwrite to replace it, or choose another --output",
        )


def _places(listing: Listing, wanted: Wanted) -> Iterator[Path]:
    """All that could be written, as far as it is known before the scans are read."""
    for entry in listing.scans:
        yield from entry.targets
        if wanted.format == "png":
            yield picture_folder(entry.targets[0])
        if wanted.overlay:
            places = overlay_places(entry.targets)
            yield from places
            yield picture_folder(places[0])
        if wanted.contours:
            yield contours_place(entry.id)
    yield from (Path(SUMMARY_CSV), Path(SUMMARY_JSON))


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True
