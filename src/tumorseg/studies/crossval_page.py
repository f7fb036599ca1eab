"""report.html of a cross-validation."""

import math
from typing import Any

import numpy as np
from markupsafe import Markup

from tumorseg.evaluation.charts import Axis, Dot, Frame, strips
from tumorseg.evaluation.definitions import cut
from tumorseg.evaluation.means import over_patients
from tumorseg.metrics.detectable import LEVEL, POWER
from tumorseg.progress import duration
from tumorseg.recipe_file import dump_recipe
from tumorseg.studies.comparison import interval, p_text, signed
from tumorseg.studies.crossval_tables import (
    Detectable,
    against,
    by_group,
    detectable,
    mean_and_median,
    over_seeds,
    pooled,
    worst,
)
from tumorseg.studies.fold_chart import Ranked, key, ranked
from tumorseg.studies.out_of_fold import CrossValidation, FoldScores
from tumorseg.studies.page import rendered

_WIDE, _NARROW = 1040, 350
_ASSUMED = 0.8
"""The correlation whose row heads the page where no difference was measured."""


def render(found: CrossValidation) -> str:
    """The page as HTML: charts and style within it, no script, nothing from outside."""
    headline, rows = over_patients(found.score), detectable(found)
    context: dict[str, object] = {
        "dataset": found.dataset,
        "recipe": found.recipe.name,
        "kind": "Leave one institution out" if found.by == "institution" else "Cross-validation",
        "lead": _lead(found),
        "headline": {
            "mean": cut(headline["mean"]),
            "interval": interval(*headline["ci95"]),
            "median": cut(headline["median"]),
            "n": headline["n"],
            "left_out": headline["left_out"],
        },
        "tiles": _tiles(found, rows),
        "cautions": _cautions(found),
        "ranked": {"wide": _ranked(found, _WIDE), "narrow": _ranked(found, _NARROW)},
        "keys": [(key(index), name) for index, name in enumerate(found.fold_names)],
        "several_seeds": len(found.seeds) > 1,
        "scores": _scores(found),
        "folds": [_fold(found, one) for one in found.tested],
        "fold_strips": {width: _strips(found, found.folds, size) for width, size in _SIZES.items()},
        "institutions": _groups(found) if any(found.institutions) else [],
        "institution_strips": {width: _strips(found, found.institutions, size) for width, size in _SIZES.items()},
        "seeds": _seeds(found),
        "variance": _variance(found),
        "rivals": _rivals(found),
        "detectable": [
            {"basis": row.basis, "deviation": _three(row.deviation), "difference": _three(row.difference)}
            for row in rows
        ],
        "power": f"{100 * POWER:g}",
        "level": f"{100 * LEVEL:g}",
        "worst": _worst(found),
        "protocol": _protocol(found),
        "recipe_yaml": dump_recipe(found.recipe),
        "command": found.command,
    }
    return rendered("crossval.html.j2", context)


_SIZES = {"wide": _WIDE, "narrow": _NARROW}


def _lead(found: CrossValidation) -> str:
    count, folds = len(found.patients), len(found.fold_names)
    what = f"{folds} institutions, each held out once" if found.by == "institution" else f"{folds} folds"
    several = f", {len(found.seeds)} seeds each" if len(found.seeds) > 1 else ""
    return (
        f"Recipe {found.recipe.name} on {found.dataset}: {what}{several}. Each of {count} patients was scored once"
        f"{' under each seed' if several else ''}, by a model that neither trained nor was chosen on that patient."
    )


def _tiles(found: CrossValidation, rows: tuple[Detectable, ...]) -> list[dict[str, str]]:
    names = by_group(found, found.folds)
    means = {name: score["mean"] for name, score in names.items() if math.isfinite(score["mean"])}
    lowest, highest = min(means, key=means.__getitem__), max(means, key=means.__getitem__)
    shown = next((row for row in rows if row.measured), None)
    shown = shown or next(row for row in rows if f"{_ASSUMED:g}" in row.basis)
    return [
        {"name": "Median", "value": cut(over_patients(found.score)["median"]), "note": "over patients"},
        {
            "name": "Lowest and highest fold" if found.by == "fold" else "Lowest and highest institution",
            "value": f"{cut(means[lowest])} – {cut(means[highest])}",
            "note": f"{lowest} and {highest}",
        },
        {"name": "Smallest difference that shows", "value": _three(shown.difference), "note": shown.basis},
    ]


def _cautions(found: CrossValidation) -> list[str]:
    said = [
        "The interval says how far the mean would move with other patients, these models given. Folds share most of "
        "their training patients, so their means are not independent."
    ]
    if found.never:
        names = ", ".join(found.never)
        said.append(f"Never tested, always trained on, since alone at an institution: {names}.")
    if left_out := over_patients(found.score)["left_out"]:
        said.append(f"Patients left out because both masks are empty: {left_out}.")
    if more := [one for one in found.tested if one.readings > 1]:
        most = max(one.readings for one in more)
        said.append(f"Held-out patients of {more[0].run.name} were looked at {most} times; every look is a temptation.")
    if len(found.seeds) == 1:
        said.append("One seed only: how much of the result is luck of the training is not known. See --seeds.")
    return said


def _ranked(found: CrossValidation, width: int) -> Markup:
    score, numbers = found.score, {name: index for index, name in enumerate(found.fold_names)}
    finite = found.dice[np.isfinite(found.dice)]
    low = math.floor(10 * float(finite.min())) / 10 if finite.size else 0.0
    frame = Frame(
        Axis("patients, from the lowest score", 0, len(found.patients) + 1),
        Axis("Dice by patient", low, 1.0),
        width=width,
        height=340 if width > 600 else 260,
        top=12,
    )
    several = len(found.seeds) > 1
    dots = [
        Ranked(
            float(score[index]),
            numbers[found.folds[index]],
            f"{patient}: Dice {cut(float(score[index]))}, {found.folds[index]}",
            float(found.dice[index].min()) if several else math.nan,
            float(found.dice[index].max()) if several else math.nan,
        )
        for index, patient in enumerate(found.patients)
    ]
    whole = over_patients(score)
    return ranked(
        frame,
        dots,
        alt="Dice of every patient in rising order, by fold; the numbers are in patients.csv.",
        mean=whole["mean"],
        interval=(whole["ci95"][0], whole["ci95"][1]),
    )


def _strips(found: CrossValidation, groups: tuple[str, ...], width: int) -> Markup:
    score = found.score
    rows = [
        (
            name.removeprefix("fold-") if name.startswith("fold-") else name,
            [
                Dot(float(score[index]), 0.0, f"{patient}: Dice {cut(float(score[index]))}")
                for index, patient in enumerate(found.patients)
                if groups[index] == name and math.isfinite(score[index])
            ],
        )
        for name in sorted(set(groups))
    ]
    values = [dot.x for _, dots in rows for dot in dots]
    whole = over_patients(score)
    return strips(
        Axis("Dice by patient", math.floor(10 * min(values, default=0.0)) / 10, 1.0),
        [row for row in rows if row[1]],
        alt="Dice of every patient by group; the means are in the table.",
        width=width,
        mean=whole["mean"],
        interval=(whole["ci95"][0], whole["ci95"][1]),
        note="mean of all, 95 % interval",
    )


def _scores(found: CrossValidation) -> list[tuple[str, str, str]]:
    """Name, value and what to know of it."""
    values, lone = over_seeds(found), over_patients(found.score_lone)
    rows = [
        ("Dice, all voxels together", cut(values["dice_pooled"]), "large tumours weigh most"),
        ("Dice by slice, slices with tumour", cut(values["dice_slice_positive"]), ""),
        (
            "Dice by slice, all slices",
            cut(values["dice_slice_all"]),
            f"an empty prediction scores {cut(values['dice_slice_all_of_all_empty'])}",
        ),
        ("Precision", cut(values["precision"]), "all voxels together"),
        ("Recall", cut(values["recall"]), "all voxels together"),
        ("Tumour-free slices with anything marked", cut(values["empty_slice_fpr"], lower_is_better=True), "share"),
    ]
    if lone["n"]:
        rows.insert(0, ("Dice by patient, every slice given alone", cut(lone["mean"]), f"{lone['n']} patients"))
    return rows


def _fold(found: CrossValidation, one: FoldScores) -> dict[str, Any]:
    split, best = one.fold.split, one.best_epoch
    score = one.judged.metrics["dice_patient"]
    spent = one.arm.environment.get("training_seconds")
    nothing = math.nan
    mean, median = mean_and_median(
        {name: nothing if value is None else value for name, value in score.items() if name != "ci95"}
        | {"ci95": [nothing if end is None else end for end in score["ci95"]]}
    )
    return {
        "key": key(found.fold_names.index(one.fold.name)),
        "name": one.fold.name,
        "seed": one.seed,
        "patients": " / ".join(str(len(split.keys(part))) for part in ("train", "val", "test")),
        "mean": mean,
        "median": median,
        "validation": cut(best["val_dice_patient"]) if best else "–",
        "epoch": f"{best['epoch']:g} of {one.arm.recipe.total_epochs}" if best else "–",
        "threshold": f"{one.threshold:.2f}",
        "training": duration(spent) if spent else "–",
        "readings": str(one.readings),
    }


def _groups(found: CrossValidation) -> list[dict[str, str]]:
    rows = []
    for name, score in by_group(found, found.institutions).items():
        mean, median = mean_and_median(score)
        rows.append({"name": name, "patients": str(score["n"]), "mean": mean, "median": median})
    return rows


def _seeds(found: CrossValidation) -> list[dict[str, str]]:
    rows = []
    for index, seed in enumerate(found.seeds):
        mean, median = mean_and_median(over_patients(found.dice[:, index]))
        rows.append(
            {"seed": str(seed), "mean": mean, "median": median, "pooled": cut(pooled(found, seed)["dice_pooled"])}
        )
    return rows


def _variance(found: CrossValidation) -> dict[str, Any]:
    if len(found.seeds) < 2:
        return {}
    split = found.variance
    named = (("patient", split.patient), ("seed", split.seed), ("patient and seed together", split.rest))
    return {
        "rows": [
            {
                "name": name,
                "deviation": _three(math.sqrt(value)),
                "share": f"{100 * value / split.total:.0f} %" if split.total else "–",
            }
            for name, value in named
        ],
        "moves": _three(split.mean_moves_by),
        "clipped": split.clipped,
        "patients": split.patients,
    }


def _rivals(found: CrossValidation) -> list[dict[str, str]]:
    rows = []
    for held, rival in zip(against(found), found.rivals, strict=True):
        low, high = held.difference.interval
        rows.append(
            {
                "name": held.rival,
                "recipe": rival.recipe,
                "difference": signed(held.difference.mean),
                "interval": f"{signed(low)} to {signed(high)}",
                "p": p_text(held.p_holm),
                "patients": str(held.difference.n),
            }
        )
    return rows


def _worst(found: CrossValidation) -> list[dict[str, str]]:
    numbers = {name: index for index, name in enumerate(found.fold_names)}
    return [
        {
            "patient": found.patients[index],
            "key": key(numbers[found.folds[index]]),
            "fold": found.folds[index],
            "institution": found.institutions[index] or "–",
            "dice": cut(float(found.score[index])),
            "lone": cut(float(found.score_lone[index])) if math.isfinite(found.score_lone[index]) else "–",
            "voxels": f"{found.reference_voxels[index]:,}",
        }
        for index in worst(found)
    ]


def _protocol(found: CrossValidation) -> list[tuple[str, str]]:
    """What a reader must know to trust the numbers, as label and text."""
    shares, recipe = found.recipe.split, found.recipe
    held = "one institution after the other" if found.by == "institution" else f"{len(found.fold_names)} folds"
    selected = (
        "the checkpoint (highest Dice by patient)" if recipe.select_by == "dice_patient" else "the checkpoint (loss)"
    )
    threshold = recipe.postprocessing.threshold
    selected += " and the threshold" if threshold == "validation" else f"; the threshold was fixed at {threshold:g}"
    digest = str(found.tested[0].arm.environment.get("store_digest", ""))
    facts = [
        ("Unit of the split", "patient; no patient is on two sides of any fold"),
        ("Held out", f"{held}, dealt with seed {shares.seed}, alike in institution and tumour burden"),
        ("Validation part", f"about {100 * shares.validation:g} % of all patients, drawn from those not held out"),
        ("Chosen on each fold's validation part", selected),
        ("Chosen on held-out patients", "nothing"),
        ("Each patient scored", "once" + (" under each seed" if len(found.seeds) > 1 else "") + ", checked by name"),
        ("Copies across a fold", "none: every slice compared pixel for pixel before training, blank slices aside"),
        ("Seeds of training", ", ".join(map(str, found.seeds))),
        ("Intervals", "percentile bootstrap over patients, 10,000 resamples"),
        ("Data digest", digest[:16]),
    ]
    if found.by == "institution":
        facts[1] = ("Held out", f"{', '.join(found.fold_names)}, one after the other, as a whole")
    return [(label, text) for label, text in facts if text]


def _three(value: float) -> str:
    """Three decimals, not cut: of deviations and of differences that could be."""
    return f"{value:.3f}" if math.isfinite(value) else "undefined"
