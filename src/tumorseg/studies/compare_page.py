"""report.html of a comparison."""

import math
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

from markupsafe import Markup

from tumorseg.evaluation.charts import Axis, Frame, Point
from tumorseg.evaluation.definitions import cut
from tumorseg.progress import duration
from tumorseg.recipe_file import dump_recipe
from tumorseg.studies.arm import Arm
from tumorseg.studies.charts import STYLES, Bar, Curve, around, curves, forest
from tumorseg.studies.comparison import Comparison, behind_text, interval, p_text, part_name
from tumorseg.studies.differences import recipe_differences
from tumorseg.studies.page import rendered
from tumorseg.studies.panels import panels
from tumorseg.studies.score_tables import tables_of
from tumorseg.studies.standings import Standings

_WIDE, _NARROW = 1040, 350
"""Widths in pixels of the charts, for a screen and for a phone; CSS shows one of them."""

FEW = 30
"""Patients below which the page warns that intervals are wide."""


def render(comparison: Comparison) -> str:
    """The page as HTML: pictures, charts and style within it, no script, nothing from outside."""
    best = comparison.parts[0].best
    patient = best.judged.metrics["dice_patient"]
    context: dict[str, object] = {
        "dataset": comparison.dataset,
        "arms": [{"label": arm.label, "yaml": dump_recipe(arm.recipe)} for arm in comparison.arms],
        "letters": comparison.letters,
        "summary": _summary(comparison),
        "first": {"value": cut(patient["mean"]), "label": best.arm.label, "interval": interval(*patient["ci95"])},
        "tiles": _tiles(comparison),
        "cautions": list(_cautions(comparison)),
        "parts": [_part(comparison, found) for found in comparison.parts],
        "costs": [_cost(comparison, arm) for arm in comparison.arms],
        "cost_said": _cost_said(comparison),
        "not_run": comparison.not_run,
        "curves": _curves(comparison),
        "keys": [{"label": arm.label, "style": index % STYLES} for index, arm in enumerate(comparison.arms)],
        "scenes": [_scene(comparison, index) for index in range(len(comparison.scenes))],
        "differences": recipe_differences([arm.recipe for arm in comparison.arms]),
        "command": comparison.command,
    }
    return rendered("compare.html.j2", context)


def _summary(comparison: Comparison) -> str:
    parts = ", ".join(f"{len(found.patients)} {part_name(found.part)} patients" for found in comparison.parts)
    split = comparison.arms[0].recipe.split
    dealt = "by patient" if split.unit == "patient" else "by slice, so that parts share patients"
    time = (
        f"Each trained for about {comparison.minutes:g} minutes."
        if comparison.minutes
        else "Each trained for the epochs of its recipe."
    )
    return f"Every model is judged on the same {parts}. The split is {dealt}, seed {split.seed}. {time}"


def _tiles(comparison: Comparison) -> list[dict[str, str]]:
    found = comparison.parts[0]
    tiles = []
    if len(found.rows) > 1:
        second = found.rows[1]
        assert second.behind is not None
        tiles.append(
            {
                "name": "The next",
                "value": cut(second.mean),
                "note": f"{second.arm.label}; {behind_text(second)}, p {p_text(second.p_holm)}",
            }
        )
    tiles.append(
        {"name": "patients", "value": str(len(found.patients)), "note": f"{part_name(found.part)}, the same for all"}
    )
    time = f"{comparison.minutes:g} min" if comparison.minutes else "as given"
    tiles.append(
        {"name": "training time", "value": time, "note": "equal for all" if comparison.minutes else "see Cost"}
    )
    return tiles


def _cautions(comparison: Comparison) -> Iterator[str]:
    found = comparison.parts[0]
    if len(found.patients) < FEW:
        yield (
            f"{len(found.patients)} patients: differences within the intervals are chance until more patients say "
            "otherwise. A p value above 0.05 is no proof that two models are alike."
        )
    yield (
        "The best model was found on the same patients that score it, so its own score is a little too high; the "
        "more models compete, the more so."
    )
    if any(row.judged.metrics.get("protocol", {}).get("trained_on") for row in found.rows):
        yield "Some of the judged scans were trained on; their scores are memory, not skill."
    devices = {comparison.costs[arm.label].device for arm in comparison.arms}
    if len(devices) > 1:
        named = ", ".join(sorted(devices))
        yield f"The models were trained on different devices ({named}); their times do not compare."
    if comparison.arms[0].recipe.split.unit != "patient":
        yield "The split is by slice: slices of one patient lie in several parts, and every score here is too high."
    for missing in comparison.not_run:
        yield f"{missing.label} was not run: {missing.reason}."


def _part(comparison: Comparison, found: Standings) -> dict[str, Any]:
    name = part_name(found.part)
    count = len(found.patients)
    return {
        "key": f"part-{found.part}",
        "title": f"{name.capitalize()} patients",
        "said": f"{count} {name} patient{'s' * (count != 1)}, the best model first. The line is the 95 % interval of "
        "the mean over patients. Decimals are cut, never rounded in a model's favour.",
        "forest": {"wide": _forest(comparison, found, _WIDE), "narrow": _forest(comparison, found, _NARROW)},
        "behind": {"wide": _behind(comparison, found, _WIDE), "narrow": _behind(comparison, found, _NARROW)}
        if len(found.rows) > 1
        else None,
        "tables": tables_of(found),
    }


def _forest(comparison: Comparison, found: Standings, width: int) -> Markup:
    bars = []
    for row in found.rows:
        low, high = (math.nan if end is None else end for end in row.judged.metrics["dice_patient"]["ci95"])
        letter = comparison.letters[row.arm.label]
        bars.append(Bar(letter, row.arm.label, row.mean, low, high, cut(row.mean)))
    axis = around(
        [value for bar in bars for value in (bar.value, bar.low, bar.high)],
        label="Dice by patient, mean (0 to 1)",
        within=(0.0, 1.0),
    )
    return forest(axis, bars, alt="Mean Dice by patient; the same numbers are in the table below.", width=width)


def _behind(comparison: Comparison, found: Standings, width: int) -> Markup:
    bars = [
        Bar(
            comparison.letters[row.arm.label],
            row.arm.label,
            row.behind.mean,
            *row.behind.interval,
            behind_text(row) if width == _WIDE else behind_text(row).partition(" ")[0],
        )
        for row in found.rows
        if row.behind
    ]
    values = [value for bar in bars for value in (bar.value, bar.low, bar.high)]
    axis = around([0.0, *values], label=f"Dice minus that of {found.best.arm.label}", within=(-1.0, 1.0))
    if width == _NARROW:
        axis = Axis(f"Dice minus that of {comparison.letters[found.best.arm.label]}", axis.low, axis.high)
    alt = "Differences to the best model; the same numbers are in the table below."
    return forest(axis, bars, alt=alt, width=width, zero=True)


def _cost(comparison: Comparison, arm: Arm) -> dict[str, str]:
    cost = comparison.costs[arm.label]
    planned = arm.recipe.total_epochs
    spent, epoch, slice_ = cost.training_seconds, cost.seconds_per_epoch, cost.milliseconds_per_slice
    return {
        "label": arm.label,
        "weights": "–" if cost.parameters is None else f"{cost.parameters / 1e6:.2f} M",
        "epochs": str(cost.epochs) if cost.epochs == planned else f"{cost.epochs} of {planned}",
        "training": "–" if spent is None else duration(spent),
        "epoch": "–" if epoch is None else f"{epoch:.1f} s" if epoch < 60 else duration(epoch),
        "slice": "–" if slice_ is None else f"{slice_:.1f} ms",
        "device": cost.device,
    }


def _cost_said(comparison: Comparison) -> str:
    said = "Training time includes validation."
    if comparison.timed_slices:
        said += (
            f" Segmenting was timed for all models in turns on the same {comparison.timed_slices} slices, from pixels "
            f"to finished mask, on {comparison.timed_on}."
        )
    return said


def _curves(comparison: Comparison) -> list[tuple[str, Markup]]:
    by_epoch = [_dice_points(arm, [row["epoch"] for row in arm.log]) for arm in comparison.arms]
    by_minute = [
        _dice_points(arm, [seconds / 60 for seconds in accumulate(row.get("seconds", 0.0) for row in arm.log)])
        for arm in comparison.arms
    ]
    if not any(by_epoch):
        return []
    drawn = [("Validation Dice over training time", by_minute, "training time, minutes")]
    drawn.append(("Validation Dice over epochs", by_epoch, "epoch"))
    return [(title, _chart(comparison, points, x)) for title, points, x in drawn]


def _dice_points(arm: Arm, places: Sequence[float]) -> list[Point]:
    return [
        (place, row["val_dice_patient"])
        for place, row in zip(places, arm.log, strict=True)
        if "val_dice_patient" in row
    ]


def _chart(comparison: Comparison, points: Sequence[Sequence[Point]], x: str) -> Markup:
    furthest = max(place for line in points for place, _ in line)
    frame = Frame(
        Axis(x, 0.0, furthest or 1.0), Axis("Dice by patient, validation", 0.0, 1.0), width=500, height=320, right=30
    )
    drawn = [
        Curve(comparison.letters[arm.label], index, line)
        for index, (arm, line) in enumerate(zip(comparison.arms, points, strict=True))
    ]
    ends = ", ".join(
        f"{arm.label} {line[-1][1]:.3f}" for arm, line in zip(comparison.arms, points, strict=True) if line
    )
    return curves(frame, drawn, alt=f"Validation Dice by {x}. At the end: {ends}.")


def _scene(comparison: Comparison, index: int) -> dict[str, Any]:
    scene = comparison.scenes[index]
    drawn = panels(scene, key=str(index))
    return {
        "patient": scene.patient,
        "why": scene.why,
        "slice_number": scene.slice_number,
        "panels": drawn,
        "shots": [
            {"label": arm.label, "picture": drawn.models[arm.label], "dice": cut(scene.dice[arm.label])}
            for arm in comparison.arms
        ],
    }
