"""The demo: the model in the box on the example, held against its reference, on one page."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tumorseg.datasets.example import write_example
from tumorseg.datasets.lgg import read_lgg
from tumorseg.errors import ModelError
from tumorseg.evaluation.facts import Example
from tumorseg.evaluation.overlay import legend, overlay
from tumorseg.files import refuse_existing, write_text
from tumorseg.inference.batch import segment_listing
from tumorseg.inference.inputs import find_inputs
from tumorseg.inference.installed import describe_model
from tumorseg.inference.model import Model, read_model
from tumorseg.inference.outputs import Wanted
from tumorseg.inference.predictor import Predictor
from tumorseg.metrics.overlap import dice
from tumorseg.progress import Progress, silent
from tumorseg.scan import Mask, Scan
from tumorseg.studies.page import rendered

SCANS, MASKS, REPORT = "scans", "masks", "report.html"
_PICTURES = 4


@dataclass(frozen=True)
class Demonstration:
    """What the demo found.

    Attributes:
        report: its page.
        dice: of the mask and the reference; 0 to 1.
        warnings: what was said of the scan, one line each.
    """

    report: Path
    dice: float
    warnings: tuple[str, ...]


def demonstrate(model: Path, output: Path, *, progress: Progress = silent) -> Demonstration:
    """Draw the example, segment it as any scan would be, and write masks, overlays and a page.

    Args:
        model: what `read_model` takes.
        output: a folder that is new or empty: scans/, masks/ and report.html.
        progress: watches the scan go by.

    Raises:
        ModelError: the model cannot be read or computed.
        OutputError: the output is not empty or cannot be written.
    """
    refuse_existing(output)
    opened = read_model(model)
    predictor = Predictor(opened)
    if "flair" not in opened.spec.channels:
        raise ModelError(f"model {opened.spec.name} does not look at FLAIR", next_step="name another with --model")
    write_example(output / SCANS)
    listing = find_inputs([output / SCANS])
    outcome = segment_listing(listing, predictor, output / MASKS, wanted=Wanted(overlay=True), progress=progress)
    (scan,) = read_lgg(output / SCANS)
    (entry,) = listing.scans
    mask = np.concatenate([entry.format.read_mask(output / MASKS / target) for target in entry.targets])
    reference = scan.reference
    assert reference is not None  # the phantom draws one
    found = dice(mask > 0, reference > 0)
    warnings = tuple(outcome.warning_lines())
    report = output / REPORT
    write_text(report, _page(opened, scan, mask, reference, found, warnings))
    return Demonstration(report, found, warnings)


def _page(model: Model, scan: Scan, mask: Mask, reference: Mask, found: float, warnings: tuple[str, ...]) -> str:
    described = describe_model(model)
    shown = _shown(reference)
    context: dict[str, Any] = {
        "model": described,
        "scores": described.score_lines,
        "patient": scan.patient,
        "slices": len(mask),
        "dice": found,
        "voxels": int(np.count_nonzero(mask)),
        "reference_voxels": int(np.count_nonzero(reference)),
        "tumour_slices": int(np.count_nonzero(mask.any(axis=(1, 2)))),
        "warnings": warnings,
        "pictures": [
            (scan.slice_numbers[index], overlay(_example(scan, index, mask, reference, found), key=str(index)))
            for index in shown
        ],
        "legend": legend("legend"),
    }
    return rendered("example.html.j2", context)


def _shown(reference: Mask) -> list[int]:
    """Some slices from all over the tumour, in order."""
    inside = np.nonzero(reference.any(axis=(1, 2)))[0]
    places = np.linspace(0, len(inside) - 1, min(_PICTURES, len(inside))).round().astype(int)
    return [int(inside[place]) for place in places]


def _example(scan: Scan, index: int, mask: Mask, reference: Mask, found: float) -> Example:
    return Example(
        patient=scan.patient,
        institution=scan.institution,
        slice_number=scan.slice_numbers[index],
        image=scan.pixels[index],
        reference=reference[index] > 0,
        predicted=mask[index] > 0,
        dice=found,
    )
