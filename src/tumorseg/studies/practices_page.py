"""report.html of published practices, re-judged."""

import math
from typing import Any

from tumorseg.evaluation.definitions import cut
from tumorseg.evaluation.practices import PRACTICES
from tumorseg.evaluation.practices_page import practice_section
from tumorseg.studies.comparison import part_name, signed
from tumorseg.studies.page import rendered
from tumorseg.studies.practices import Rejudged


def render(found: Rejudged) -> str:
    """The page as HTML: charts and style within it, no script, nothing from outside."""
    by_key = {one.key: one for one in found.practices}
    headline = by_key["dice_patient"]
    low, high = headline.interval or (math.nan, math.nan)
    smooth, positive = by_key["dice_smooth100_b1"], by_key["dice_slice_all"]
    pooled = by_key["dice_pooled"]
    context: dict[str, object] = {
        "lead": _lead(found),
        "headline": {"value": cut(headline.value), "low": cut(low), "high": cut(high, lower_is_better=True)},
        "patients": found.patients,
        "tiles": [
            {"name": "smooth = 100", "value": cut(smooth.value), "note": f"nothing marked: {_cut(smooth.all_empty)}"},
            {"name": "empty = 1", "value": cut(positive.value), "note": f"nothing marked: {_cut(positive.all_empty)}"},
            {
                "name": "split by slice",
                "value": _cut(pooled.copied),
                "note": "pooled Dice of copied masks, nothing learnt",
            },
        ],
        "cautions": _cautions(found),
        "practices": practice_section(found.practices),
        "audit": _audit(found),
        "command": found.command,
    }
    return rendered("practices.html.j2", context)


def _lead(found: Rejudged) -> str:
    what = f"{found.patients:,} patient{'' if found.patients == 1 else 's'}, {found.slices:,} slices"
    where = f" of {found.protocol['dataset']}" if found.protocol.get("dataset") else ""
    if found.expected_folds > 1:
        each = f", the mean over {found.seeds} seeds" if found.seeds > 1 else ""
        return f"Masks of {found.folds} of {found.expected_folds} folds{each}: {what}{where}, one model for each fold."
    part = found.protocol.get("part")
    return f"Masks of {found.source}: {what}{where}" + (f", part: {part_name(part)}." if part else ".")


def _cautions(found: Rejudged) -> list[str]:
    said = []
    if found.folds < found.expected_folds:
        said.append(f"{found.folds} of {found.expected_folds} folds are judged so far: these are not all patients.")
    if found.protocol.get("part") == "val":
        said.append("These patients chose the checkpoint and the threshold: the scores flatter the model.")
    if found.protocol.get("part") == "train":
        said.append("These patients were trained on: the scores say how well they were learnt.")
    if found.protocol.get("split_unit") == "slice-with-leakage":
        said.append("The model was trained on other slices of these patients: every score here is inflated.")
    return said


def _audit(found: Rejudged) -> list[dict[str, str]]:
    rows = []
    for key, one in found.audit.items():
        ends = one["ci95"]
        numbers: dict[str, Any] = {name: math.nan if one[name] is None else one[name] for name in one if name != "ci95"}
        rows.append(
            {
                "name": PRACTICES.get(key, key),
                "by_slice": _cut(numbers["by_slice"]),
                "by_patient": _cut(numbers["by_patient"]),
                "leakage": signed(numbers["leakage"]),
                "interval": "–" if not ends or None in ends else f"{signed(ends[0])} to {signed(ends[1])}",
            }
        )
    return rows


def _cut(value: float) -> str:
    return cut(value) if math.isfinite(value) else "–"
