"""A cross-validation in numbers: crossval.json, patients.csv, and the tables that the page shows."""

import csv
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from tumorseg import __version__
from tumorseg.evaluation.definitions import cut
from tumorseg.evaluation.judgement import json_ready
from tumorseg.evaluation.means import over_patients
from tumorseg.files import atomic_write
from tumorseg.metrics import aggregate
from tumorseg.metrics.bootstrap import RESAMPLES, SEED
from tumorseg.metrics.detectable import LEVEL, POWER, detectable_difference
from tumorseg.studies.comparison import interval
from tumorseg.studies.out_of_fold import CrossValidation, FoldScores
from tumorseg.studies.rivals import Held, deviation_of, held_against

CORRELATIONS = (0.5, 0.8, 0.9, 0.95)
"""Between two models' scores of the same patients, assumed where nothing was measured."""

WORST = 10


@dataclass(frozen=True)
class Detectable:
    """How small a difference to another model these patients can show.

    Attributes:
        basis: where the scatter of the differences comes from.
        measured: whether it was measured here, or is assumed.
        deviation: standard deviation of the paired differences between patients.
        difference: the smallest mean difference that is found with the usual power.
    """

    basis: str
    measured: bool
    deviation: float
    difference: float


def detectable(found: CrossValidation) -> tuple[Detectable, ...]:
    """Smallest differences that show, by rivals where there are some, by seeds, and by assumed correlations."""
    patients = int(np.count_nonzero(~np.isnan(found.score)))
    rows = [(f"differences to {held.rival}", True, held.deviation) for held in against(found)]
    pairs = [found.dice[:, one] - found.dice[:, other] for one, other in combinations(range(len(found.seeds)), 2)]
    if pairs:
        spread = math.sqrt(float(np.mean([deviation_of(pair) ** 2 for pair in pairs])))
        rows.append(("two seeds of this recipe", True, spread))
    own = deviation_of(found.score)
    rows += [
        (f"assumed: scores of two models correlate by {r:g}", False, own * math.sqrt(2 * (1 - r))) for r in CORRELATIONS
    ]
    return tuple(Detectable(*row, detectable_difference(row[2], patients)) for row in rows)


def against(found: CrossValidation) -> tuple[Held, ...]:
    """This study held against each rival."""
    return held_against(found.patients, found.score, found.rivals)


def pooled(found: CrossValidation, seed: int) -> dict[str, float]:
    """Scores over all slices and voxels of all folds together under one seed."""
    counts = found.slices_of(seed).counts
    together, empty = counts.pooled(), counts.all_empty()
    return {
        "dice_pooled": float(together.dice),
        "dice_slice_positive": aggregate.slice_positive(counts),
        "dice_slice_all": aggregate.slice_all(counts),
        "dice_slice_all_of_all_empty": aggregate.slice_all(empty),
        **{name: float(getattr(together, name)) for name in ("precision", "recall", "specificity", "accuracy")},
        "empty_slice_fpr": aggregate.empty_slice_fpr(counts),
    }


def over_seeds(found: CrossValidation) -> dict[str, float]:
    """The mean over seeds of each of `pooled`."""
    each = [pooled(found, seed) for seed in found.seeds]
    return {name: float(np.mean([scores[name] for scores in each])) for name in each[0]}


def by_group(found: CrossValidation, groups: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Dice by patient within each group, in the order of their first patient, sorted by name.

    Args:
        groups: of each patient.
    """
    labels = np.array(groups)
    return {str(name): over_patients(found.score[labels == name]) for name in sorted(set(groups))}


def worst(found: CrossValidation, most: int = WORST) -> list[int]:
    """Indices of the patients with the lowest scores, from the lowest on."""
    order = sorted(range(len(found.patients)), key=lambda index: (found.score[index], found.patients[index]))
    return [index for index in order if not math.isnan(found.score[index])][:most]


def as_json(found: CrossValidation) -> dict[str, Any]:
    """The content of crossval.json; null where a number is undefined."""
    variance = {**asdict(found.variance), "total": found.variance.total} if len(found.seeds) > 1 else None
    content: dict[str, Any] = {
        "tumorseg": __version__,
        "dataset": found.dataset,
        "store_digest": found.tested[0].arm.environment.get("store_digest"),
        "recipe": found.recipe.model_dump(mode="json", exclude={"seed"}),
        "by": found.by,
        "seeds": list(found.seeds),
        "dice_patient": over_patients(found.score),
        "dice_patient_single_slice": over_patients(found.score_lone),
        **over_seeds(found),
        "patients": len(found.patients),
        "never_tested": list(found.never),
        "folds": by_group(found, found.folds),
        "institutions": by_group(found, found.institutions),
        "by_seed": {
            str(seed): {"dice_patient": over_patients(found.dice[:, index]), **pooled(found, seed)}
            for index, seed in enumerate(found.seeds)
        },
        "runs": [_run(one) for one in found.tested],
        "variance": variance,
        "detectable": [asdict(row) for row in detectable(found)],
        "against": {held.rival: _held(held) for held in against(found)},
        "statistics": {
            "interval": {"resamples": RESAMPLES, "seed": SEED, "unit": "patient", "level": 0.95},
            "test": "Wilcoxon signed-rank, two-sided, against each other study, Holm-corrected",
            "detectable": {"power": POWER, "level": LEVEL, "comparisons": 1},
            "variance": "moments, within folds",
        },
        "command": found.command,
    }
    ready: dict[str, Any] = json_ready(content)
    return ready


def summary_rows(found: CrossValidation) -> list[tuple[str, ...]]:
    """The table that people read on the terminal, its heading first."""
    head = (
        "by institution" if found.by == "institution" else "by fold",
        "patients",
        "Dice by patient (95 %)",
        "median",
    )
    groups = [("all", over_patients(found.score)), *by_group(found, found.folds).items()]
    return [head, *((name, str(score["n"]), *mean_and_median(score)) for name, score in groups)]


def mean_and_median(score: Mapping[str, Any]) -> tuple[str, str]:
    """What `over_patients` gives, as text: the mean with its interval, of one patient without, and the median."""
    known = all(math.isfinite(end) for end in score["ci95"])
    return f"{cut(score['mean'])} ({interval(*score['ci95']) if known else 'no interval'})", cut(score["median"])


def write_patients(path: Path, found: CrossValidation) -> None:
    """Write patients.csv: the rows of all evaluations, one for each patient and seed, with the fold before them."""
    rows = list(_rows(found))
    with atomic_write(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def _rows(found: CrossValidation) -> Iterator[dict[str, Any]]:
    ordered = sorted(
        ((row["patient"], found.seeds.index(one.seed), one, row) for one in found.tested for row in one.rows),
        key=lambda item: item[:2],
    )
    for patient, _, one, row in ordered:
        yield {"patient": patient, "fold": one.fold.name, "seed": one.seed, "run": one.run.name, **row}


def _run(one: FoldScores) -> dict[str, Any]:
    split = one.fold.split
    return {
        "fold": one.fold.name,
        "seed": one.seed,
        "run": one.run.name,
        "patients": {part: len(split.keys(part)) for part in ("train", "val", "test")},
        "threshold": one.threshold,
        "best_epoch": one.best_epoch.get("epoch"),
        "val_dice_patient": one.best_epoch.get("val_dice_patient"),
        "dice_patient": one.judged.metrics["dice_patient"],
        "training_seconds": one.arm.environment.get("training_seconds"),
        "test_readings": one.readings,
    }


def _held(held: Held) -> dict[str, Any]:
    found = held.difference
    return {
        "mean": found.mean,
        "ci95": list(found.interval),
        "p": found.p,
        "p_holm": held.p_holm,
        "n": found.n,
        "equal": found.equal,
        "left_out": found.left_out,
        "deviation": held.deviation,
    }
