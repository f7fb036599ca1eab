"""report.html of a robustness study."""

import base64
import math
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from tumorseg.disturbances import HIGH_PERCENTILE, LOW_PERCENTILE
from tumorseg.evaluation.charts import Axis, Frame
from tumorseg.evaluation.definitions import cut
from tumorseg.evaluation.means import over_patients
from tumorseg.evaluation.overlay import outline, panel
from tumorseg.studies.arm import Arm
from tumorseg.studies.charts import STYLES, Bar, Curve, around, curves, forest
from tumorseg.studies.comparison import interval, part_name, signed
from tumorseg.studies.page import rendered
from tumorseg.studies.robustness_cases import Case, Family
from tumorseg.studies.robustness_result import BORNE, UNDISTURBED, Robustness, Shot

_WIDE, _NARROW = 1040, 350
_FEW = 30
_LONGEST = 320
"""Side in pixels above which an embedded picture is scaled down; outlines are not."""


def render(found: Robustness) -> str:
    """The page as HTML: pictures, charts and style within it, no script, nothing from outside."""
    graded = [family for family in found.families if family.graded]
    missing = next((family for family in found.families if not family.graded), None)
    context: dict[str, object] = {
        "dataset": found.dataset,
        "title": f"{found.arms[0].label} on worse scans" if len(found.arms) == 1 else "Models on worse scans",
        "lead": _lead(found),
        "tiles": _tiles(found),
        "cautions": list(_cautions(found)),
        "letters": found.letters,
        "several": len(found.arms) > 1,
        "keys": [{"label": arm.label, "style": index % STYLES} for index, arm in enumerate(found.arms)],
        "models": [_model(found, arm) for arm in found.arms],
        "borne": f"{BORNE:g}",
        "curves": _curves(found, graded),
        "missing": _missing(found, missing) if missing else None,
        "worst": [row for family in found.families for row in _worst(found, family)],
        "steps": range(1, 1 + max((len(family.cases) for family in graded), default=0)),
        "means": [row for family in graded for row in _means(found, family)],
        "pictures": _pictures(found, graded),
        "shown": {"patient": found.shown[0], "slice": found.shown[2], "label": found.arms[0].label},
        "families": found.families,
        "protocol": _protocol(found),
        "command": found.command,
    }
    return rendered("robustness.html.j2", context)


def _lead(found: Robustness) -> str:
    count, cases = len(found.patients), sum(len(family.cases) for family in found.families)
    models = "One model was" if len(found.arms) == 1 else f"{len(found.arms)} models were"
    return (
        f"{models} judged on {count} {part_name(found.part)} patient{'s' * (count != 1)} of {found.dataset}: on their "
        f"scans as they are, and on the same scans made worse in {cases} ways. Every score is the mean Dice by patient."
    )


def _tiles(found: Robustness) -> list[dict[str, str]]:
    best = max(found.arms, key=lambda arm: _rank(found.mean(arm.label)))
    lowest = min(found.arms, key=lambda arm: _rank(_worst_mean(found, arm)))
    least = max(found.arms, key=lambda arm: _rank(found.mean_change(arm.label)))
    family, case = found.worst(lowest.label)
    named = {arm.label: f"{arm.label}; " if len(found.arms) > 1 else "" for arm in found.arms}
    undisturbed = over_patients(found.dice(best.label))
    tiles = [
        {
            "name": "Undisturbed" if len(found.arms) == 1 else "Undisturbed, the highest",
            "value": cut(undisturbed["mean"]),
            "note": f"{named[best.label]}95 % interval {interval(*undisturbed['ci95'])}",
        },
        {
            "name": "Worst strength" if any(each.graded for each in found.families) else "Worst case",
            "value": cut(_worst_mean(found, lowest)),
            "note": f"{named[lowest.label]}{family.label.lower()}, {_in_words(family, case)}",
        },
    ]
    if math.isfinite(change := found.mean_change(least.label)):
        tiles.append(
            {
                "name": "Mean change" if len(found.arms) == 1 else "Mean change, the smallest",
                "value": signed(change),
                "note": f"{named[least.label]}over all strengths",
            }
        )
        most = max(found.arms, key=lambda arm: _borne_everywhere(found, arm))
        graded = sum(family.graded for family in found.families)
        tiles.append(
            {
                "name": "Borne at every strength",
                "value": f"{_borne_everywhere(found, most)} of {graded}",
                "note": f"{named[most.label]}disturbances that cost at most {BORNE:g}",
            }
        )
    return tiles


def _cautions(found: Robustness) -> Iterator[str]:
    if found.part == "val":
        yield (
            "Validation patients chose the checkpoint and the threshold, so the undisturbed score is a little too "
            "high. The changes are what this page is for."
        )
    if found.part == "train":
        yield "Training patients: these scores are memory as much as skill."
    if len(found.patients) < _FEW:
        yield (
            f"{len(found.patients)} patients: intervals are wide, and a small change within its interval may be chance."
        )
    if len(found.arms) > 1:
        yield "A model that scores low has little to lose: read a change beside the undisturbed score."
    for label, times in found.readings.items():
        yield f"The test part of {label} was read {times} time{'s' * (times != 1)}, this one included."
    for label, scans in found.trained_on.items():
        if scans:
            yield f"{label} was trained on {len(scans)} of these scans, pixel for pixel."
    if found.missing_patients:
        yield f"Patients of the part who are not in this data set: {len(found.missing_patients)}."
    yield (
        "Simulated disturbances, each by itself. Real scans have several at once, and no simulation covers another "
        "scanner or another hospital."
    )


def _model(found: Robustness, arm: Arm) -> dict[str, str]:
    whole = over_patients(found.dice(arm.label))
    family, case = found.worst(arm.label)
    change = found.mean_change(arm.label)
    return {
        "label": arm.label,
        "undisturbed": f"{cut(whole['mean'])} ({interval(*whole['ci95'])})",
        "change": signed(change) if math.isfinite(change) else "–",
        "worst": cut(_worst_mean(found, arm)),
        "where": f"{family.label.lower()}, {_in_words(family, case)}",
        "borne": ", ".join(
            each.label.lower()
            for each in found.families
            if each.graded and found.borne(arm.label, each) is each.cases[-1]
        )
        or "none",
    }


def _curves(found: Robustness, graded: list[Family]) -> list[tuple[str, Markup]]:
    values = [found.mean(arm.label, case.key) for arm in found.arms for family in graded for case in family.cases]
    values += [found.mean(arm.label) for arm in found.arms]
    dice = around(values, label="Dice by patient, mean", within=(0.0, 1.0))
    return [(family.label, _curve(found, family, dice)) for family in graded]


def _curve(found: Robustness, family: Family, dice: Axis) -> Markup:
    several = len(found.arms) > 1
    frame = Frame(
        Axis(family.unit, family.neutral, family.cases[-1].strength), dice, top=10, right=26 if several else 14
    )
    drawn = []
    for index, arm in enumerate(found.arms):
        places = [(family.neutral, UNDISTURBED, "undisturbed")]
        places += [(case.strength, case.key, f"{family.label} {case.label}") for case in family.cases]
        drawn.append(
            Curve(
                found.letters[arm.label] if several else "",
                index,
                [(x, found.mean(arm.label, key)) for x, key, _ in places],
                [f"{arm.label}, {name}: Dice {cut(found.mean(arm.label, key))}" for _, key, name in places],
            )
        )
    last = family.cases[-1]
    ends = ", ".join(f"{arm.label} {cut(found.mean(arm.label, last.key))}" for arm in found.arms)
    alt = f"Mean Dice by {family.unit}, from undisturbed to {last.label}. At the end: {ends}. All numbers are below."
    return curves(frame, drawn, alt=alt)


def _missing(found: Robustness, family: Family) -> dict[str, Any]:
    rows = [("undisturbed", UNDISTURBED), *((case.label, case.key) for case in family.cases)]
    bars = []
    for name, key in rows:
        for arm in found.arms:
            score = over_patients(found.dice(arm.label, key))
            head = f"{found.letters[arm.label]} {name}" if len(found.arms) > 1 else name
            low, high = score["ci95"]
            bars.append(Bar(head, "", score["mean"], low, high, cut(score["mean"])))
    axis = Axis("Dice by patient, mean", 0.0, 1.0)
    alt = "Mean Dice by patient with sequences missing; the numbers are written beside the marks."
    return {width: forest(axis, bars, alt=alt, width=size) for width, size in (("wide", _WIDE), ("narrow", _NARROW))}


def _worst(found: Robustness, family: Family) -> Iterator[dict[str, Any]]:
    for arm in found.arms:
        case = found.worst_of(arm.label, family)
        score, change = over_patients(found.dice(arm.label, case.key)), found.change(arm.label, case.key)
        hit = found.hardest_hit(arm.label, case.key)
        borne = found.borne(arm.label, family)
        counts = found.counts[arm.label, case.key]
        yield {
            "family": family.label,
            "unit": family.unit,
            "label": arm.label,
            "borne": "–" if not family.graded else borne.label if borne else "none",
            "case": case.label,
            "mean": cut(score["mean"]),
            "mean_interval": interval(*score["ci95"]),
            "change": signed(change.mean),
            "change_interval": f"{signed(change.interval.low)} to {signed(change.interval.high)}",
            "nothing": str(int(np.count_nonzero(counts.predicted == 0))),
            "patient": hit[0] if hit else "–",
            "patient_change": f"{cut(hit[1])} → {cut(hit[2])}" if hit else "",
        }


def _means(found: Robustness, family: Family) -> Iterator[dict[str, Any]]:
    for arm in found.arms:
        yield {
            "family": family.label,
            "unit": family.unit,
            "label": arm.label,
            "undisturbed": cut(found.mean(arm.label)),
            "cells": [{"mean": cut(found.mean(arm.label, case.key)), "at": case.label} for case in family.cases],
        }


def _pictures(found: Robustness, graded: list[Family]) -> list[dict[str, Any]]:
    plain = found.shots.get(UNDISTURBED)
    if plain is None:
        return []
    # One window for all, or a change of brightness would not be seen.
    low, high = (float(value) for value in np.percentile(plain.image, (LOW_PERCENTILE, HIGH_PERCENTILE)))
    return [
        {
            "label": family.label,
            "unit": family.unit,
            "shots": [
                {
                    "picture": _picture(shot, low, high, f"{family.label} {name}"),
                    "name": name,
                    "dice": cut(shot.dice),
                }
                for name, shot in [
                    ("undisturbed", plain),
                    *((case.label, found.shots[case.key]) for case in family.cases),
                ]
            ],
        }
        for family in graded
    ]


def _picture(shot: Shot, low: float, high: float, name: str) -> Markup:
    height, width = shot.reference.shape
    grey = np.clip((shot.image.astype(np.float32) - low) * (255 / max(high - low, 1e-6)), 0, 255).astype(np.uint8)
    under = f'<image width="{width}" height="{height}" preserveAspectRatio="none" href="{_data_uri(grey)}"/>'
    lines = f'<g class="outlines">{outline(shot.reference, "reference")}{outline(shot.predicted, "predicted")}</g>'
    said = (
        f"{name}: the reference marks {int(shot.reference.sum()):,} pixels, the prediction "
        f"{int(shot.predicted.sum()):,}, {int((shot.reference & shot.predicted).sum()):,} in common."
    )
    return panel((0, 0, width, height), under + lines, said)


def _data_uri(grey: NDArray[np.uint8]) -> str:
    """A JPEG of (height, width) uint8 within the page itself: noise would make a PNG three times as large."""
    scale = _LONGEST / max(grey.shape)
    shown = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else grey
    _, encoded = cv2.imencode(".jpg", shown, [cv2.IMWRITE_JPEG_QUALITY, 85])
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode("ascii")


def _protocol(found: Robustness) -> list[tuple[str, str]]:
    facts = [
        ("Judged", f"{len(found.patients)} {part_name(found.part)} patients of {found.dataset}, scans as wholes"),
        ("Disturbed", "pixels as stored, before anything that the model does to them; stored again in their own type"),
        ("Scale of strengths", "0 and 1 are the 0.5th and 99.5th percentile of a sequence in a scan"),
        ("Randomness", "one draw for each scan and disturbance, the same at every strength and for every model"),
        ("Intervals", "percentile bootstrap over patients, 10,000 resamples; of changes, over differences by patient"),
        ("Borne", f"the strongest case up to which the mean loses at most {BORNE:g}"),
        ("Data digest", found.store_digest[:16]),
    ]
    facts += [(f"Recipe of {arm.label}", arm.recipe.name) for arm in found.arms]
    return facts


def _in_words(family: Family, case: Case) -> str:
    return f"{case.label} ({family.unit})" if family.graded else case.label


def _worst_mean(found: Robustness, arm: Arm) -> float:
    return found.mean(arm.label, found.worst(arm.label)[1].key)


def _borne_everywhere(found: Robustness, arm: Arm) -> int:
    return sum(family.graded and found.borne(arm.label, family) is family.cases[-1] for family in found.families)


def _rank(value: float) -> float:
    return value if math.isfinite(value) else -math.inf
