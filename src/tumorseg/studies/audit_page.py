"""report.html of a leakage audit."""

import math
from typing import Any

from markupsafe import Markup

from tumorseg.evaluation.definitions import cut
from tumorseg.progress import duration
from tumorseg.recipe_file import dump_recipe
from tumorseg.studies.audit import Audit
from tumorseg.studies.charts import Bar, around, forest
from tumorseg.studies.comparison import signed
from tumorseg.studies.cost import Cost
from tumorseg.studies.leakage import SCORES, Leak
from tumorseg.studies.page import rendered
from tumorseg.studies.score_tables import published_text

_WIDE, _NARROW = 1040, 350


def render(audit: Audit) -> str:
    """The page as HTML: charts and style within it, no script, nothing from outside."""
    headline = {leak.key: leak for leak in audit.leaks}["dice_patient"]
    context: dict[str, object] = {
        "dataset": audit.dataset,
        "recipe": audit.recipe.name,
        "headline": {
            "gap": signed(headline.gap),
            "by_slice": cut(headline.by_slice),
            "by_patient": cut(headline.by_patient),
            "interval": gap_interval(headline),
        },
        "copied": cut({leak.key: leak for leak in audit.leaks}["dice_pooled"].copied),
        "finding": finding(audit),
        "patients": {
            "by_patient": len(audit.by_patient.judged["test"].patients),
            "by_slice": len(audit.by_slice.judged["test"].patients),
            "shared": audit.shared_patients,
        },
        "shares": audit.recipe.split,
        "charts": {"wide": _chart(audit, _WIDE), "narrow": _chart(audit, _NARROW)},
        "rows": [_row(audit, leak) for leak in audit.leaks],
        "notes": [f"{published_text(figure)}: {figure.note}." for figure in audit.published if figure.note],
        "arms": [
            _arm("split by patient", audit.costs[0], audit.by_patient.judged["test"].metrics),
            _arm("split by slice", audit.costs[1], audit.by_slice.judged["test"].metrics),
        ],
        "recipe_yaml": dump_recipe(audit.recipe),
        "command": audit.command,
    }
    return rendered("audit.html.j2", context)


def finding(audit: Audit) -> str:
    """How much was leakage, in a sentence."""
    leak = next(leak for leak in audit.leaks if leak.key == "dice_patient")
    said = (
        f"Dealing slices instead of patients moves Dice by patient from {cut(leak.by_patient)} to {cut(leak.by_slice)}"
    )
    if leak.difference is None or not math.isfinite(leak.difference.interval.low):
        return f"{said}."
    low, high = leak.difference.interval
    if low > 0:
        return f"{said}: {signed(leak.gap)} of that score is leakage (95 % interval {signed(low)} to {signed(high)})."
    crossing = "these test patients cannot tell that from chance" if high >= 0 else "the leaking split did worse here"
    return f"{said} ({signed(leak.gap)}, 95 % interval {signed(low)} to {signed(high)}): {crossing}."


def gap_interval(leak: Leak) -> str:
    """The interval of a difference; "" where there is none."""
    if leak.difference is None:
        return ""
    low, high = leak.difference.interval
    return f"{signed(low)} to {signed(high)}"


def _row(audit: Audit, leak: Leak) -> dict[str, Any]:
    return {
        "name": SCORES[leak.key],
        "by_slice": cut(leak.by_slice),
        "by_patient": cut(leak.by_patient),
        "gap": signed(leak.gap),
        "interval": gap_interval(leak) or "–",
        "copied": cut(leak.copied),
        "all_empty": "–" if math.isnan(leak.all_empty) else cut(leak.all_empty),
        "published": [published_text(figure) for figure in audit.published if figure.metric == leak.key],
    }


def _chart(audit: Audit, width: int) -> Markup:
    bars = []
    for index, leak in enumerate(audit.leaks, start=1):
        low, high = leak.difference.interval if leak.difference else (leak.gap, leak.gap)
        bars.append(Bar(str(index), SCORES[leak.key], leak.gap, low, high, signed(leak.gap)))
    axis = around(
        [0.0, *(value for bar in bars for value in (bar.value, bar.low, bar.high))],
        label="score by slice minus score by patient",
        within=(-1.0, 1.0),
    )
    return forest(axis, bars, alt="Leakage by definition; the numbers are in the table.", width=width, zero=True)


def _arm(name: str, cost: Cost, metrics: Any) -> dict[str, str]:
    spent = cost.training_seconds
    return {
        "name": name,
        "patients": str(metrics["patients"]),
        "slices": str(metrics["slices"]),
        "epochs": str(cost.epochs),
        "training": "–" if spent is None else duration(spent),
        "device": cost.device,
    }
