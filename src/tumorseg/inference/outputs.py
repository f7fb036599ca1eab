"""Where masks go: what may be written over, what is whole already, and the writing itself."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from tumorseg.errors import OutputError, TumorsegError
from tumorseg.files import unwritable
from tumorseg.formats import Format
from tumorseg.inference.inputs import InputScan, Listing
from tumorseg.inference.summary import SUMMARY_CSV, SUMMARY_JSON
from tumorseg.scan import Mask

Existing = Literal["refuse", "overwrite", "resume"]
"""What happens to outputs that are there: an error, new ones in their place, or those that are whole stay."""


def check_output(listing: Listing, output: Path, existing: Existing) -> None:
    """Make the output folder, before anything is computed.

    Raises:
        OutputError: it cannot be made or written, or holds what is not to be replaced.
    """
    if output.exists() and not output.is_dir():
        raise OutputError(f"{output} is not a folder", next_step="choose another --output")
    if existing == "refuse":
        _refuse_existing(listing, output)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(output, error) from error
    if not os.access(output, os.W_OK | os.X_OK):
        raise OutputError(f"cannot write into {output}: no permission", next_step="choose another --output")


def kept_masks(entry: InputScan, output: Path) -> Mask | None:
    """The masks of a scan as one, (slices, height, width), where all are there and whole; else None."""
    targets = [output / target for target in entry.targets]
    if not all(target.is_file() for target in targets):
        return None
    masks = []
    for source, target in zip(entry.sources, targets, strict=True):
        try:
            mask, header = entry.format.read_mask(target), entry.format.header(source)
        except TumorsegError:
            return None
        if mask.shape != header.shape[:3]:
            return None
        masks.append(mask)
    if len({mask.shape[1:] for mask in masks}) > 1:
        return None
    return np.concatenate(masks)


def write_masks(mask: Mask, targets: Sequence[Path], kind: Format, output: Path) -> None:
    """Write a scan's mask, (slices, height, width), in equal parts to its targets.

    Raises:
        OutputError: a file cannot be written.
    """
    for target, part in zip(targets, np.split(mask, len(targets)), strict=True):
        assert kind.write_mask is not None  # inputs of other formats were refused
        kind.write_mask(output / target, part)


def _refuse_existing(listing: Listing, output: Path) -> None:
    targets = [*(target for scan in listing.scans for target in scan.targets), Path(SUMMARY_CSV), Path(SUMMARY_JSON)]
    there = [output / target for target in targets if os.path.lexists(output / target)]
    if there:
        named = f"{there[0]} exists" if len(there) == 1 else f"{there[0]} and {len(there) - 1} more exist"
        raise OutputError(
            f"{named} already",
            next_step="add --resume to keep what is whole, --overwrite to replace it, or choose another --output",
        )
